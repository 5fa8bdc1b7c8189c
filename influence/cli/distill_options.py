"""Options that the commands of `influence distill` share: which task, which model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from influence.cli.options import device_options

if TYPE_CHECKING:
    from influence.data.tasks.task import Task
    from influence.distill.sample import Plan
    from influence.distill.systems.base import System
    from influence.distill.tune import TuneSettings
    from influence.generate.request import Generator

Command = Callable[..., Any]

FILTERS = click.Choice(["majority", "usc", "orders", "none"])
PROMPTS = click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help="Folder with prompts of your own; `influence distill prompts DIR` writes all to edit.",
)

_SYSTEM = ("system", "prompts", "filter", "samples")
_SAMPLING = ("temperature", "top_p", "max_tokens")
_TUNE = ("way", "epochs", "lr", "lora_rank")
_STEPWISE = ("delta", "adaptive", "side", "keep_positions")
_TASK = ("task", "data", "field", "kind", "seed")
_MODEL = ("model", "batch_size", "concurrency", "per_minute", "device", "dtype")


def task_options(command: Command) -> Command:
    """Which task, and where it is read from."""
    for option in reversed(
        [
            click.option(
                "--task",
                required=True,
                help="last-letter, coin-flip; biased, judging, gsm8k or own, which are read from --data.",
            ),
            click.option(
                "--data", type=click.Path(path_type=Path), help="File or folder that the task is read from."
            ),
            click.option(
                "--field", multiple=True, metavar="PART=NAME", help="own: where a part of an item stands."
            ),
            click.option(
                "--kind",
                default="text",
                show_default=True,
                help="own: how an answer is read: letters, yes-no, number, option, verdict, text.",
            ),
            click.option("--seed", default=0, show_default=True, help="Of what is made or drawn."),
        ]
    ):
        command = option(command)
    return command


def model_options(command: Command) -> Command:
    """Which model, and how it is asked."""
    options: list[Command] = [
        click.option(
            "--model",
            required=True,
            help="A folder or hub name, or openai:URL#MODEL for a server; its key in OPENAI_API_KEY.",
        ),
        click.option(
            "--batch-size",
            default=32,
            show_default=True,
            type=click.IntRange(1),
            help="Local: prompts at a time.",
        ),
        click.option(
            "--concurrency",
            default=8,
            show_default=True,
            type=click.IntRange(1),
            help="Server: requests at a time.",
        ),
        click.option("--per-minute", type=float, help="Server: most requests a minute.  [default: no limit]"),
        device_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def system_options(command: Command) -> Command:
    """Which System 2, how it is sampled and filtered."""
    for option in reversed(
        [
            click.option(
                "--system",
                required=True,
                help="rar1, rar2: rephrase and respond in one or two steps. s2a: System 2 attention. bsm: branch, "
                "solve, merge. cot, cot8: chain of thought, without or after 8 examples. direct: System 1.",
            ),
            click.option(
                "--filter", type=FILTERS, help="What will choose among the samples.  [default: the system's]"
            ),
            click.option(
                "--samples", type=int, help="Samples of an input; orders of it.  [default: the system's]"
            ),
            click.option(
                "--temperature", type=float, help="0 takes the likeliest token.  [default: the system's]"
            ),
            click.option(
                "--top-p", type=float, help="Draw from so much probability.  [default: the system's]"
            ),
            click.option("--max-tokens", type=int, help="Most tokens of a reply.  [default: the system's]"),
            PROMPTS,
        ]
    ):
        command = option(command)
    return command


def taken_system(settings: dict[str, Any]) -> tuple[System, Plan]:
    """Take the arguments of `system_options` out of what a command got: the system, and what is not its default."""
    import dataclasses

    from influence.distill.prompt_texts import Prompts
    from influence.distill.sample import Plan
    from influence.distill.systems import named_system

    name, prompts, filter_, samples = (settings.pop(name) for name in _SYSTEM)
    given = {name: value for name in _SAMPLING if (value := settings.pop(name)) is not None}
    system = named_system(name, Prompts(prompts))
    sampling = dataclasses.replace(system.sampling, seed=settings["seed"], **given)
    return system, Plan(filter=filter_, samples=samples, sampling=sampling)


def taken_task(settings: dict[str, Any]) -> Task:
    """Take the arguments of `task_options` out of what a command got, and open the task."""
    from influence.data.tasks.named import named_task
    from influence.data.tasks.records import parse_fields

    task, data, field, kind, seed = (settings.pop(name) for name in _TASK)
    return named_task(task, data=data, fields=parse_fields(field), kind=kind, seed=seed)


def taken_generator(settings: dict[str, Any]) -> Generator:
    """Take the arguments of `model_options` out of what a command got, and open the model."""
    model, batch_size, concurrency, per_minute, device, dtype = (settings.pop(name) for name in _MODEL)
    kind, _, rest = model.partition(":")
    if kind == "openai":
        from influence.generate.client import ChatClient
        from influence.generate.server import ServerGenerator

        url, _, name = rest.partition("#")
        return ServerGenerator(ChatClient(url, name, concurrency=concurrency, per_minute=per_minute))
    from transformers.utils import logging

    from influence.generate.local import LocalGenerator
    from influence.models.load import load_model

    logging.disable_progress_bar()
    return LocalGenerator(load_model(model, device=device, dtype=dtype), batch_size)


def tune_options(command: Command) -> Command:
    """How the model is tuned."""
    for option in reversed(
        [
            click.option(
                "--way",
                type=click.Choice(["answer-only", "stepwise", "context"]),
                default="answer-only",
                show_default=True,
                help="answer-only: the answers, as in the paper. stepwise: remove the trace token by token. context: "
                "on its own answers, taught by itself with the trace in context.",
            ),
            click.option(
                "--epochs",
                default=3,
                show_default=True,
                help="Passes; stepwise: once the trace is gone, and with --adaptive the most after each token.",
            ),
            click.option("--lr", default=5e-4, show_default=True, help="Learning rate."),
            click.option(
                "--tune-batch", default=32, show_default=True, help="Examples of an optimizer step."
            ),
            click.option(
                "--delta",
                default=8.0,
                show_default=True,
                help="stepwise: tokens of the trace removed an epoch.",
            ),
            click.option(
                "--adaptive",
                is_flag=True,
                help="stepwise: remove the next token once the model has recovered from the last, instead.",
            ),
            click.option(
                "--side",
                type=click.Choice(["left", "right"]),
                default="left",
                show_default=True,
                help="stepwise: which end of the trace goes first.",
            ),
            click.option(
                "--keep-positions", is_flag=True, help="stepwise: what follows the cut keeps its positions."
            ),
            click.option(
                "--lora-rank", type=int, help="Train low-rank adapters only.  [default: all weights]"
            ),
            click.option(
                "--precision",
                type=click.Choice(["fp32", "bf16"]),
                default="fp32",
                show_default=True,
                help="Of the training; weights are kept in float32.",
            ),
        ]
    ):
        command = option(command)
    return command


def taken_tune(settings: dict[str, Any], seed: int, answer_tokens: int) -> TuneSettings:
    """Take the arguments of `tune_options` out of what a command got; an option without effect is refused."""
    from influence.distill.tune import TuneSettings

    chosen = {name: settings.pop(name) for name in (*_TUNE, *_STEPWISE)}
    _check_effect(chosen)
    return TuneSettings(
        **chosen,
        batch_size=settings.pop("tune_batch"),
        dtype=settings.pop("precision"),
        max_tokens=answer_tokens,
        seed=seed,
    )


def _check_effect(chosen: dict[str, Any]) -> None:
    """Refuse an option that another one leaves without effect."""
    context = click.get_current_context()
    given = [name for name in _STEPWISE if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given and chosen["way"] != "stepwise":
        name = given[0].replace("_", "-")
        raise click.UsageError(f"--{name} has an effect only with --way stepwise. Leave it out.")
    if "delta" in given and chosen["adaptive"]:
        raise click.UsageError("--adaptive waits for the model, so --delta has no effect. Leave one out.")
