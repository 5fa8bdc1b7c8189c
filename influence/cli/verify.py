"""`influence verify`."""

from __future__ import annotations

from pathlib import Path

import click

from influence.cli.command import Command
from influence.errors import plain

#: Names of unchecked files that are printed.
_NAMED = 5


@click.command("verify", cls=Command, example="influence verify runs/x/hessian runs/x/scores")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
def verify(folders: tuple[Path, ...]) -> None:
    """Read every file of FOLDERS and compare it with its SHA-256.

    FOLDERS are results of any command, or folders that hold several of them: Hessians, scores, indexes, runs of
    stages, trained models, evaluations, distillations, samples, pairs and analyses. What no manifest lists is named
    as not checked. A command that opens a result compares the sizes of its files, and the content of those up to
    1 GiB; this reads all.
    """
    from influence.store.verify import verify as run

    for folder in folders:
        result = run(folder)
        click.echo(
            plain(f"{folder}: {result.files} files of {result.bytes / 1e6:,.1f} MB are as they were written.")
        )
        if result.unchecked:
            shown = ", ".join(result.unchecked[:_NAMED])
            more = f", and {len(result.unchecked) - _NAMED:,} more" if len(result.unchecked) > _NAMED else ""
            click.echo(plain(f"  not checked, for no manifest lists them: {shown}{more}"))
