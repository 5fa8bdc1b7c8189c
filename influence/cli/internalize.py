"""`influence train stepwise`, and its baselines `no-cot` and `explicit-cot`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

Command = Callable[..., Any]

TASK = click.option(
    "--task",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the task, such as `influence data` writes.",
)
BATCH_SIZE = click.option(
    "--batch-size", default=32, show_default=True, help="Examples of an optimizer step."
)
LR = click.option("--lr", default=5e-5, show_default=True, help="Learning rate, constant.")
MAX_TOKENS = click.option("--max-tokens", type=int, help="Leave out longer sequences, and count them.")
RESUME_SECONDS = click.option(
    "--resume-seconds", default=300.0, show_default=True, help="Seconds between two states to resume from."
)


def _run_options(command: Command) -> Command:
    """What every run has: task, model, how it is trained."""
    for option in reversed(
        [
            TASK,
            click.option(
                "--model",
                required=True,
                help="A folder or hub name, or a shape trained from scratch: tiny, laptop, laptop-wide, paper, "
                "gpt2-small.",
            ),
            click.option(
                "--out",
                required=True,
                type=click.Path(path_type=Path),
                help="Folder of the run, a checkpoint for each stage. The same command after a kill resumes.",
            ),
            BATCH_SIZE,
            click.option(
                "--accumulation",
                default=1,
                show_default=True,
                help="Parts a batch is computed in; the gradient is that of the whole batch.",
            ),
            LR,
            click.option("--weight-decay", default=0.01, show_default=True, help="Of AdamW."),
            click.option(
                "--dropout", default=0.0, show_default=True, help="Of a model trained from scratch."
            ),
            click.option(
                "--seed", default=0, show_default=True, help="Seeds weights, order, draws, dropout."
            ),
            click.option(
                "--dtype",
                type=click.Choice(["fp32", "bf16", "pure-bf16"]),
                default="fp32",
                show_default=True,
                help="bf16: computes in bfloat16, keeps weights in float32. pure-bf16: keeps them in bfloat16 too.",
            ),
            click.option(
                "--lora-rank", type=int, help="Train low-rank adapters only.  [default: all weights]"
            ),
            click.option("--gradient-checkpointing", is_flag=True, help="Less memory for a third more time."),
            click.option("--compile", is_flag=True, help="Compile the model; batches get static shapes."),
            MAX_TOKENS,
            click.option(
                "--check-every", type=int, help="Optimizer steps between checks.  [default: chosen]"
            ),
            click.option(
                "--check-examples", default=512, show_default=True, help="Held-out examples of a check."
            ),
            RESUME_SECONDS,
        ]
    ):
        command = option(command)
    return command


_EPOCHS = click.option("--epochs", "after_epochs", default=1.0, show_default=True, help="Epochs.")


@click.command()
@_run_options
@click.option("--delta", default=8.0, show_default=True, help="Tokens removed an epoch, linearly in time.")
@click.option("--adaptive", is_flag=True, help="Remove the next once the model has recovered from the last.")
@click.option(
    "--recovered",
    default=0.95,
    show_default=True,
    help="Adaptive: share of held-out examples whose whole target must be right, teacher-forced.",
)
@click.option("--patience", default=2, show_default=True, help="Adaptive: checks in a row that must show it.")
@click.option("--cap", default=1.0, show_default=True, help="Adaptive: most epochs at one stage.")
@click.option("--geometric", is_flag=True, help="Remove chunks of 1, 2, 4, 8, … instead of one at a time.")
@click.option("--by-step", is_flag=True, help="Remove whole steps of the chain instead of tokens.")
@click.option(
    "--smoothing",
    default="4",
    show_default=True,
    metavar="LAMBDA|off",
    help="Each example loses o more, P(o) ∝ exp(−λ·o).",
)
@click.option(
    "--random-cut", is_flag=True, help="Each example loses a random amount up to the scheduled one."
)
@click.option(
    "--side",
    type=click.Choice(["left", "right"]),
    default="left",
    show_default=True,
    help="Which end of the chain goes first.",
)
@click.option("--remove-all-beyond", type=int, help="Once so much is scheduled, everything goes.")
@click.option(
    "--reset-optimizer/--no-reset-optimizer",
    default=True,
    show_default=True,
    help="Throw AdamW's moments away at each removal.",
)
@click.option("--keep-positions", is_flag=True, help="What follows the cut keeps its positions.")
@click.option(
    "--explicit-epochs",
    default=0.0,
    show_default=True,
    help="Epochs with the whole chain before any removal.",
)
@click.option("--after-epochs", default=1.0, show_default=True, help="Epochs once everything is removed.")
@click.option("--stage-every", default=1, show_default=True, help="Stages between two kept checkpoints.")
def stepwise(smoothing: str, **options: Any) -> None:
    """Internalise a chain of thought: train while its tokens are removed, one stage after the other."""
    _check_effect(options)
    _train("stepwise", smoothing=_smoothing(smoothing), **options)


@click.command("no-cot")
@_run_options
@_EPOCHS
def no_cot(**options: Any) -> None:
    """Train to answer without a chain of thought."""
    _train("no-cot", **options)


@click.command("explicit-cot")
@_run_options
@_EPOCHS
def explicit_cot(**options: Any) -> None:
    """Train to write the whole chain of thought and then answer."""
    _train("explicit-cot", **options)


def _check_effect(options: dict[str, Any]) -> None:
    """Refuse an option that another one leaves without effect."""
    context = click.get_current_context()

    def given(name: str) -> bool:
        return context.get_parameter_source(name) is not ParameterSource.DEFAULT

    for name in ("recovered", "patience", "cap"):
        if given(name) and not options["adaptive"]:
            raise click.UsageError(
                f"--{name} has an effect only with --adaptive. Add it, or leave --{name} out."
            )
    if given("delta") and options["adaptive"]:
        raise click.UsageError(
            "--adaptive waits for the model, so --delta has no effect. Leave one out; --cap limits a stage."
        )
    if given("smoothing") and options["random_cut"]:
        raise click.UsageError("--random-cut is instead of smoothing. Leave --smoothing out.")


def _smoothing(text: str) -> float | None:
    if text == "off":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise click.BadParameter("a number, or off", param_hint="--smoothing") from error


def _train(mode: Any, task: Path, model: str, out: Path, resume_seconds: float, **settings: Any) -> None:
    from transformers.utils import logging

    from influence.data.tasks.folder import read_task
    from influence.train.stepwise.run import internalize
    from influence.train.stepwise.settings import Settings

    logging.disable_progress_bar()  # one for each checkpoint
    record = internalize(
        read_task(task),
        model,
        out,
        Settings(mode=mode, **settings),
        resume_seconds=resume_seconds,
        tell=lambda line: click.echo(line, err=True),
    )
    stages = "1 stage" if record["levels"] == 1 else f"{record['levels']} stages"
    steps = f"{'at most ' if settings.get('adaptive') else ''}{record['most_steps']:,} steps"
    click.echo(f"{stages}, {steps}, {record['seconds']:,.0f} s")
    click.echo(f"Run: {out}")
