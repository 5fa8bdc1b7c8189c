"""`influence verify`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("verify")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
def verify(folders: tuple[Path, ...]) -> None:
    """Read every file of FOLDERS (Hessians, score stores, pieces, indexes) and compare it with its SHA-256.

    A store that is opened has the sizes of its files compared, and the content of those up to 1 GiB; this reads all.
    """
    from influence.store.artefact import verify as run

    for folder in folders:
        files, size = run(folder)
        click.echo(f"{folder}: {files} files of {size / 1e6:,.1f} MB are as they were written.")
