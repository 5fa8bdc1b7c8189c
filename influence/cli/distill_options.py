"""Options that the commands of `influence distill` share: which task, which model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.command import given
from influence.cli.options import device_options, options_from
from influence.config import field_help
from influence.distill.settings import TuneSettings
from influence.generate.request import Sampling

if TYPE_CHECKING:
    from influence.data.tasks.task import Task
    from influence.distill.sample import Plan
    from influence.distill.systems import System
    from influence.generate.request import Generator, Price

Command = Callable[..., Any]

FILTERS = click.Choice(["majority", "usc", "orders", "none"])
PROMPTS = click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help="Folder with prompts of your own; `influence distill prompts DIR` writes all to edit.",
)

PRICE = click.option(
    "--price",
    type=float,
    nargs=2,
    metavar="PROMPT GENERATED",
    help="Of a million tokens each; tells the cost.",
)

_SYSTEM = ("system", "prompts", "filter", "samples")
_SAMPLING = ("temperature", "top_p", "max_tokens")
_STEPWISE = ("delta", "adaptive", "side", "keep_positions")
_TASK = ("task", "data", "field", "kind", "seed")
_MODEL = ("model", "batch_size", "concurrency", "per_minute", "extra_body", "device", "dtype")


def task_options(command: Command) -> Command:
    """Which task, and where it is read from."""
    for option in reversed(
        [
            click.option(
                "--task",
                metavar="TASK",
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


def _json_object(context: click.Context, option: click.Parameter, text: str) -> str:
    """The text, which is that of a JSON object; run.toml keeps it as it is."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.BadParameter(f"{text!r} is not a JSON object.")
    return text


def inputs_options(split: str) -> Callable[[Command], Command]:
    """Which inputs of the task are asked.

    Args:
        split: The default of `--split`.
    """

    def decorate(command: Command) -> Command:
        limit = click.option(
            "--limit", type=click.IntRange(1), help="Number of inputs, from the first on.  [default: all]"
        )
        return click.option(
            "--split",
            type=click.Choice(["train", "valid", "test"]),
            default=split,
            show_default=True,
            help="Split of the task.",
        )(limit(command))

    return decorate


def model_options(command: Command) -> Command:
    """Which model, and how it is asked."""
    options: list[Command] = [
        click.option(
            "--model",
            metavar="MODEL",
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
        click.option(
            "--extra-body",
            metavar="JSON",
            default="{}",
            callback=_json_object,
            help='Server: fields added to each request, as {"reasoning_effort": "low", "temperature": null}; null '
            "leaves one of ours out.",
        ),
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
                metavar="SYSTEM",
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
            *(
                click.option(
                    "--" + name.replace("_", "-"),
                    type=type(getattr(Sampling(), name)),
                    help=f"{field_help(Sampling)[name]}  [default: the system's]",
                )
                for name in _SAMPLING
            ),
            PROMPTS,
        ]
    ):
        command = option(command)
    return command


def taken_system(settings: dict[str, Any]) -> tuple[System, Plan]:
    """Take the arguments of `system_options` out of what a command got: the system, and what is not its default."""
    from influence.distill.prompt_texts import Prompts
    from influence.distill.sample import Plan
    from influence.distill.systems import named_system

    name, prompts, filter_, samples = (settings.pop(name) for name in _SYSTEM)
    chosen = {name: value for name in _SAMPLING if (value := settings.pop(name)) is not None}
    system = named_system(name, Prompts(prompts))
    sampling = dataclasses.replace(system.sampling, seed=settings["seed"], **chosen)
    return system, Plan(filter=filter_, samples=samples, sampling=sampling)


def taken_price(settings: dict[str, Any]) -> Price | None:
    """Take the argument of `PRICE` out of what a command got."""
    from influence.generate.request import Price

    pair = settings.pop("price")
    return None if pair is None else Price(*pair)


def taken_task(settings: dict[str, Any]) -> Task:
    """Take the arguments of `task_options` out of what a command got, and open the task."""
    from influence.data.tasks.named import named_task
    from influence.data.tasks.records import parse_fields

    task, data, field, kind, seed = (settings.pop(name) for name in _TASK)
    return named_task(task, data=data, fields=parse_fields(field), kind=kind, seed=seed)


def taken_generator(settings: dict[str, Any]) -> Generator:
    """Take the arguments of `model_options` out of what a command got, and open the model."""
    model, batch_size, concurrency, per_minute, extra_body, device, dtype = map(settings.pop, _MODEL)
    kind, _, rest = model.partition(":")
    if kind == "openai":
        from influence.generate.client import ChatClient
        from influence.generate.server import ServerGenerator

        url, _, name = rest.partition("#")
        return ServerGenerator(
            ChatClient(
                url, name, concurrency=concurrency, per_minute=per_minute, extra_body=json.loads(extra_body)
            )
        )
    if json.loads(extra_body):
        raise click.UsageError("--extra-body has an effect only on a server: --model openai:URL#MODEL.")
    from transformers.utils import logging

    from influence.generate.local import LocalGenerator
    from influence.models.load import load_model

    logging.disable_progress_bar()
    return LocalGenerator(load_model(model, device=device, dtype=dtype), batch_size)


def tune_options(command: Command) -> Command:
    """How the model is tuned, as `tune`."""
    flags = {"batch_size": "--tune-batch", "dtype": "--precision"}
    without = ("seed", "max_tokens", "temperature")
    return options_from(TuneSettings, name="tune", without=without, flags=flags)(command)


def complete_tune(tune: TuneSettings, seed: int, answer_tokens: int) -> TuneSettings:
    """Settings of a tuning with what other options of the command say; an option without effect is refused."""
    context = click.get_current_context()
    without_effect = [name for name in _STEPWISE if given(context, name)]
    if without_effect and tune.way != "stepwise":
        name = without_effect[0].replace("_", "-")
        raise click.UsageError(f"--{name} has an effect only with --way stepwise. Leave it out.")
    if "delta" in without_effect and tune.adaptive:
        raise click.UsageError("--adaptive waits for the model, so --delta has no effect. Leave one out.")
    return dataclasses.replace(tune, seed=seed, max_tokens=answer_tokens)
