"""`influence distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.command import Group
from influence.cli.distill_options import (
    FILTERS,
    PRICE,
    PROMPTS,
    inputs_options,
    model_options,
    system_options,
    taken_generator,
    taken_price,
    taken_system,
    taken_task,
    task_options,
)
from influence.cli.distill_train import evaluate, run, tune
from influence.cli.options import out_option


class _Steps(Group):
    """Runs all steps where none is named: `influence distill --system rar2 …` is `influence distill run …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Steps)
def distill() -> None:
    """Distil System 2 into System 1 (arXiv 2407.06023).

    System 2 answers unlabelled inputs with intermediate text; its answers are filtered without labels; the same model
    is tuned to give them at once.
    """


for _command in (run, tune, evaluate):
    distill.add_command(_command)


@distill.command(
    "sample",
    shown={
        "What": ("system", "task", "data", "split", "model", "out"),
        "Settings": ("samples", "temperature", "limit"),
    },
    example="influence distill sample --system rar2 --task last-letter --model MODEL --out runs/samples",
)
@system_options
@task_options
@inputs_options(split="train")
@model_options
@PRICE
@out_option()
def sample(split: Any, limit: int | None, out: Path, **settings: Any) -> None:
    """Run a System 2 procedure on unlabelled inputs and keep every call it makes.

    OUT has traces.jsonl, one line an input with all samples and intermediate texts, summary.json, the prompts, and
    replies.jsonl, to which each reply is added when it arrives: the same command after a kill asks for the others only.
    """
    from influence.distill.sample import sample as run

    price = taken_price(settings)
    system, plan = taken_system(settings)
    task = taken_task(settings)
    items = task.split(split)[:limit]
    generator = taken_generator(settings)
    summary = run(
        items,
        system,
        generator,
        out,
        kind=task.kind,
        plan=plan,
        price=price,
    )
    click.echo(
        f"{summary.items:,} inputs, {summary.samples:,} samples, {summary.replies:,} replies, "
        f"{summary.tokens_per_input:,.1f} tokens an input"
    )
    if summary.cut_off:
        click.echo(f"{summary.cut_off:,} replies were cut off at the most tokens of a reply.")
    if summary.failed:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.failed.items())
        click.echo(f"{sum(summary.failed.values()):,} requests failed and count as no answer: {kinds}.")
    if summary.cost is not None:
        click.echo(f"Cost: {summary.cost:,.2f}")
    click.echo(f"Samples: {out}")


@distill.command("filter", example="influence distill filter runs/samples --filter majority --out runs/pairs")
@click.argument("samples", type=click.Path(path_type=Path))
@click.option("--filter", type=FILTERS, help="  [default: the one that was sampled for]")
@click.option(
    "--minimum-share",
    default=0.0,
    show_default=True,
    help="majority: least share of an input's samples that the winner must have.",
)
@click.option(
    "--target",
    type=click.Choice(["answer", "response"]),
    help="What is distilled: the answer alone, or the whole response with it.  [default: the system's]",
)
@PROMPTS
@out_option()
def filter_(samples: Path, prompts: Path | None, out: Path, **settings: Any) -> None:
    """Choose a target for each input of SAMPLES, or drop it, without looking at right answers.

    OUT has pairs.jsonl (prompt, completion) for those kept, outcomes.jsonl with what became of every input and why,
    and summary.json. Where right answers are known they only measure: the accuracy of the targets.
    """
    from influence.distill.filter import filter_traces
    from influence.distill.prompt_texts import Prompts

    own = None if prompts is None else Prompts(prompts)
    summary = filter_traces(samples, out, prompts=own, **settings)
    click.echo(summary.line())
    click.echo(f"Pairs: {out / 'pairs.jsonl'}")


@distill.command("trace", example="influence distill trace runs/letters/samples 17")
@click.argument("samples", type=click.Path(path_type=Path))
@click.argument("id_", metavar="ID")
def trace(samples: Path, id_: str) -> None:
    """Show all that was asked and written for the input ID of SAMPLES, and the answer read from each sample."""
    from influence.distill.trace_text import trace_text

    click.echo(trace_text(samples, id_))


@distill.command("prompts", example="influence distill prompts my-prompts")
@click.argument("folder", type=click.Path(path_type=Path))
def prompts(folder: Path) -> None:
    """Write all prompts into FOLDER, to edit and to use by --prompts FOLDER."""
    from influence.distill.prompt_texts import Prompts
    from influence.errors import InputError

    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} already holds files.", fix="Name a new folder.")
    Prompts().write(folder)
    click.echo(f"Prompts: {folder}")
