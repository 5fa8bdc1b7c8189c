"""`influence validate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from influence.cli.command import Command
from influence.cli.options import corpus_options, loss_option, options_from, taken_fields
from influence.cli.runs import named_run
from influence.errors import plain
from influence.validation.settings import ValidationConfig


@click.command(
    "validate",
    cls=Command,
    shown={
        "How the model is trained": ("train",),
        "Settings": ("subsets", "left_out"),
        "Before it begins": ("dry_run",),
    },
    example="""
    influence validate runs/x/scores --dry-run
    influence validate runs/x/scores --train 'python train.py {corpus} {out} {seed}'
    """,
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--train",
    metavar="COMMAND",
    help="A shell command with {corpus} (a JSONL file), {out} (a folder for save_pretrained, with the tokenizer) and "
    "{seed}.  [default: what influence train pretrain or sft did, by the training.json of the model]",
)
@corpus_options(required=False)
@loss_option
@options_from(ValidationConfig)
@click.option(
    "--only", metavar="NAME", help="Run the training of this name alone; any number of these may run at once."
)
@click.option("--collect", is_flag=True, help="Train nothing, make the tables of what is finished.")
@click.option(
    "--dry-run", is_flag=True, help="Only say time, disk and power, and the command of each training."
)
def validate(
    run: Path,
    train: str | None,
    corpus: str | None,
    config: ValidationConfig,
    only: str | None,
    collect: bool,
    dry_run: bool,
    **fields: Any,
) -> None:
    """Train again on random parts of the corpus of RUN, and see how well its scores predicted the outcome.

    LDS: Spearman's correlation, over the parts, of the true log p(completion | prompt) with the sum of the part's
    scores; mean over queries. Beside RUN stand the other runs in its folder, BM25, the presence of gold documents,
    random scores, and two seeds with each other, which bounds what can be reached. A killed command goes on.
    """
    from influence.data.corpus import read_corpus
    from influence.store.scores import open_scores
    from influence.validation import validate as validation
    from influence.validation.retraining import training_of

    scores = open_scores(named_run(run, "scores"))
    if collect:
        _show(validation.collect(scores), scores.folder)
        return
    training = training_of(scores, train)
    plan = validation.plan_validation(scores, training, config)
    click.echo(plan.text())
    if dry_run:
        words = [word for word in sys.argv[1:] if word != "--dry-run"]
        for job in plan.jobs:
            click.echo(validation.command_of(["influence", *words], job))
        return
    name = corpus or str(scores.manifest["provenance"].get("corpus_name"))
    documents = read_corpus(name, **taken_fields(fields))
    tables = validation.validate(
        scores, documents, training, config, only=only, say=lambda line: click.echo(line, err=True)
    )
    if tables is None:
        click.echo(f"Next, once all are done: influence validate {scores.folder} --collect")
    else:
        _show(tables, scores.folder)


def _show(tables: Any, folder: Path) -> None:
    lds = tables["lds"]
    for share, table in lds.groupby("left_out", sort=False):
        click.echo(f"Without {share:.0%} of the documents, LDS with 95 % intervals:")
        for gold, some in table.groupby("gold", sort=False):
            click.echo(f"  gold documents {gold}")
            for row in some.itertuples():
                value = f"{row.lds:6.3f} [{row.low:.3f}, {row.high:.3f}]"
                click.echo(f"    {plain(str(row.method)):<34} {value}")
    for row in tables["removal"].itertuples():
        click.echo(
            f"  without the top {row.k} of {plain(str(row.method))}: log p {row.change:+.3f} nats "
            f"[{row.low:+.3f}, {row.high:+.3f}] against random ones"
        )
    for row in tables["checks"].itertuples():
        click.echo(f"{row.check}: {row.state}. {row.why}.")
    click.echo(f"Tables: {folder / 'analysis' / 'validation'}")
    click.echo(f"Next: influence report {folder} --out report.html")
