"""`influence train icot-kd`: the baseline that distils a teacher's hidden states."""

from __future__ import annotations

from pathlib import Path

import click

from influence.cli.command import Command
from influence.cli.internalize import RESUME_SECONDS, RUN_MODEL, RUN_OUT, TASK
from influence.cli.options_from import options_from
from influence.train.kd.settings import KdSettings


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
        tell=lambda line: click.echo(line, err=True),
    )
    best = record["best"]
    for name in ("student", "coupled"):
        click.echo(
            f"{name}: {best[name]['answer_accuracy']:.1%} of held-out answers right, teacher-forced "
            f"(epoch {best[name]['epoch']})"
        )
    click.echo(f"emulator: {best['emulator']['unexplained']:.1%} of the variance of the states unexplained")
    click.echo(f"Run: {out}")
