"""`influence labels`."""

from __future__ import annotations

from pathlib import Path

import click

from influence.cli.command import Command


@click.command(
    "labels",
    cls=Command,
    keeps_result=False,
    example="""
    influence labels ann.jsonl ben.jsonl
    influence labels ann.jsonl --run runs/x/scores
    """,
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    help="A score store on which influence analyze answers ran: compare with its keywords too.",
)
def labels(files: tuple[Path, ...], run: Path | None) -> None:
    """Say how far people agree who labelled documents in a report, each in one of FILES.

    kappa is Cohen's: 1 is full agreement, 0 that of chance. It is taken over the documents that both labelled.
    """
    from influence.analysis.labels import agreements, read_labels
    from influence.cli.analyze import as_text
    from influence.cli.runs import named_run
    from influence.errors import InputError, plain
    from influence.store.formats.tables import read_tables

    if len(files) < 2 and run is None:
        raise InputError(
            "One file agrees with nothing.", fix="Name the file of a second person, or --run RUN."
        )
    hits = None
    if run is not None:
        folder = named_run(run, "scores")
        answered = read_tables(folder, "answers", ("hits",))
        if answered is None:
            raise InputError(
                f"{folder} has no table of answers.", fix=f"Run influence analyze answers {folder}."
            )
        hits = answered["hits"]
    named = [(str(path), read_labels(path)) for path in files]
    click.echo(plain(as_text(agreements(named, hits))))
