"""`influence train stepwise`, and its baselines `no-cot`, `explicit-cot` and `icot-kd`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from influence.cli.command import Command, given
from influence.cli.options import options_from
from influence.train.stepwise.settings import KdSettings, Mode, Settings

Callback = Callable[..., Any]

TASK = click.option(
    "--task",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the task, such as `influence data` writes.",
)
RUN_OUT = click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the run. The same command after a kill resumes.",
)
RUN_MODEL = click.option(
    "--model",
    required=True,
    metavar="MODEL",
    help="A folder or hub name, or a shape trained from scratch: tiny, laptop, laptop-wide, paper, gpt2-small.",
)
_DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Only say what it will take: examples, steps, checkpoints and their disk."
)
RESUME_SECONDS = click.option(
    "--resume-seconds", default=300.0, show_default=True, help="Seconds between two states to resume from."
)
_WHAT = ("task", "model", "out")
#: Settings of the removal of a chain, which a baseline does not have.
_REMOVAL = (
    "delta",
    "adaptive",
    "recovered",
    "patience",
    "cap",
    "geometric",
    "by_step",
    "smoothing",
    "random_cut",
    "side",
    "remove_all_beyond",
    "reset_optimizer",
    "keep_positions",
    "explicit_epochs",
    "stage_every",
)


@click.command(
    "stepwise",
    cls=Command,
    shown={
        "What": _WHAT,
        "Removal": ("delta", "adaptive", "smoothing", "side", "after_epochs"),
        "Training": ("lr", "batch_size"),
    },
    example="influence train stepwise --task data/mult4 --model tiny --out runs/icot",
)
@TASK
@RUN_MODEL
@RUN_OUT
@options_from(Settings, name="settings", without=("mode",))
@RESUME_SECONDS
@_DRY_RUN
def stepwise(settings: Settings, **options: Any) -> None:
    """Internalise a chain of thought: train while its tokens are removed, one stage after the other."""
    _check_effect(settings)
    _train(settings, "stepwise", **options)


def _baseline(name: Mode) -> Callable[[Callback], click.Command]:
    """A command of a baseline, which has all settings but those of the removal."""

    def decorate(command: Callback) -> click.Command:
        flags = {"after_epochs": "--epochs"}
        for option in (
            _DRY_RUN,
            RESUME_SECONDS,
            options_from(Settings, name="settings", without=("mode", *_REMOVAL), flags=flags),
            RUN_OUT,
            RUN_MODEL,
            TASK,
        ):
            command = option(command)
        return click.command(
            name,
            cls=Command,
            shown={"What": _WHAT, "Training": ("epochs", "lr", "batch_size", "dtype")},
            example=f"influence train {name} --task data/mult4 --model tiny --out runs/{name}",
        )(command)

    return decorate


@_baseline("no-cot")
def no_cot(settings: Settings, **options: Any) -> None:
    """Train to answer without a chain of thought."""
    _train(settings, "no-cot", **options)


@_baseline("explicit-cot")
def explicit_cot(settings: Settings, **options: Any) -> None:
    """Train to write the whole chain of thought and then answer."""
    _train(settings, "explicit-cot", **options)


def _check_effect(settings: Settings) -> None:
    """Refuse an option that another one leaves without effect."""
    context = click.get_current_context()
    for name in ("recovered", "patience", "cap"):
        if given(context, name) and not settings.adaptive:
            raise click.UsageError(
                f"--{name} has an effect only with --adaptive. Add it, or leave --{name} out."
            )
    if given(context, "delta") and settings.adaptive:
        raise click.UsageError(
            "--adaptive waits for the model, so --delta has no effect. Leave one out; --cap limits a stage."
        )
    if given(context, "smoothing") and settings.random_cut:
        raise click.UsageError("--random-cut is instead of smoothing. Leave --smoothing out.")


def _train(
    settings: Settings,
    mode: Mode,
    task: Path,
    model: str,
    out: Path,
    resume_seconds: float,
    dry_run: bool,
) -> None:
    from transformers.utils import logging

    from influence.data.tasks.folder import read_task
    from influence.train.stepwise.run import internalize, opening, planned

    logging.disable_progress_bar()  # one for each checkpoint
    settings = dataclasses.replace(settings, mode=mode)
    if dry_run:
        facts = planned(read_task(task), model, settings)
        click.echo(f"{opening(facts, settings)} · at most {facts['most_steps']:,} steps")
        return
    record = internalize(read_task(task), model, out, settings, resume_seconds=resume_seconds)
    stages = "1 stage" if record["levels"] == 1 else f"{record['levels']} stages"
    steps = f"{'at most ' if settings.adaptive else ''}{record['most_steps']:,} steps"
    click.echo(f"{stages}, {steps}, {record['seconds']:,.0f} s")
    click.echo(f"Run: {out}")


@click.command(
    "icot-kd",
    cls=Command,
    shown={
        "What": ("task", "model", "out", "teacher"),
        "Settings": ("delta", "mixture", "teacher_epochs", "epochs", "lr", "batch_size"),
    },
    example="influence train icot-kd --task data/mult4 --model tiny --out runs/kd",
)
@TASK
@RUN_MODEL
@RUN_OUT
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    help="A run of `influence train explicit-cot` on this task, instead of training a teacher.",
)
@options_from(KdSettings, name="settings")
@RESUME_SECONDS
def icot_kd(
    task: Path, model: str, out: Path, teacher: Path | None, settings: KdSettings, resume_seconds: float
) -> None:
    """Distil a chain of thought: a student learns to read a teacher's hidden states, an emulator to predict them."""
    from influence.data.tasks.folder import read_task
    from influence.train.kd.run import icot_kd as run

    record = run(
        read_task(task),
        model,
        out,
        settings,
        teacher=teacher,
        resume_seconds=resume_seconds,
    )
    best = record["best"]
    for name in ("student", "coupled"):
        click.echo(
            f"{name}: {best[name]['answer_accuracy']:.1%} of held-out answers right, teacher-forced "
            f"(epoch {best[name]['epoch']})"
        )
    click.echo(f"emulator: {best['emulator']['unexplained']:.1%} of the variance of the states unexplained")
    click.echo(f"Run: {out}")
