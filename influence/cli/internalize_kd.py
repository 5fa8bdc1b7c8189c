"""`influence train icot-kd`: the baseline that distils a teacher's hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.internalize import BATCH_SIZE, LR, MAX_TOKENS, RESUME_SECONDS, TASK


@click.command("icot-kd")
@TASK
@click.option(
    "--model",
    required=True,
    help="What teacher, student and emulator begin as: a folder or hub name, or a shape trained from scratch: tiny, "
    "laptop, laptop-wide, paper, gpt2-small.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run: teacher, student, emulator, coupled. The same command after a kill resumes.",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    help="A run of `influence train explicit-cot` on this task, instead of training a teacher.",
)
@click.option(
    "--delta",
    type=click.IntRange(1),
    help="Tokens of the chain a layer, along the diagonal.  [default: the layers are spread over each chain]",
)
@click.option(
    "--mixture",
    is_flag=True,
    help="The emulator chooses a token of the chain at each layer: for chains that do not follow from the input.",
)
@click.option("--teacher-epochs", default=1.0, show_default=True, help="Epochs of the teacher.")
@click.option(
    "--epochs",
    default=40,
    show_default=True,
    type=click.IntRange(1),
    help="Epochs of each of the three trainings; the best on held-out examples counts.",
)
@BATCH_SIZE
@LR
@click.option("--seed", default=0, show_default=True, help="Seeds weights and order.")
@click.option(
    "--dtype",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="bf16: computes in bfloat16, keeps weights in float32.",
)
@MAX_TOKENS
@RESUME_SECONDS
def icot_kd(
    task: Path, model: str, out: Path, teacher: Path | None, resume_seconds: float, **settings: Any
) -> None:
    """Distil a chain of thought: a student learns to read a teacher's hidden states, an emulator to predict them."""
    from influence.data.tasks.folder import read_task
    from influence.train.kd.run import icot_kd as run
    from influence.train.kd.settings import KdSettings

    record = run(
        read_task(task),
        model,
        out,
        KdSettings(**settings),
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
