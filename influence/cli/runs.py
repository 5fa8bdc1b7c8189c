"""`influence runs`, `show` and `verify`, and how a run is found that was not named exactly."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from influence.cli.command import Command
from influence.cli.options import json_option
from influence.errors import InputError, StoreError, plain
from influence.store.artefact import read_manifest
from influence.store.formats.manifest import MANIFEST

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
#: Where results lie that were given no place.
RUNS = Path("runs")


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder with a manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def kind(self) -> str:
        """What the folder holds."""
        return str(self.manifest["kind"])

    @property
    def finished(self) -> bool:
        """Whether the run is done."""
        return bool(self.manifest["status"] == "complete")

    @property
    def made(self) -> dict[str, Any]:
        """The provenance."""
        return dict(self.manifest.get("provenance", {}))

    def record(self) -> dict[str, Any]:
        """The columns of `influence runs`: sizes in bytes, age in seconds since the run was last written."""
        from influence.store.scores import QUERIES

        files = [path for path in self.folder.rglob("*") if path.is_file()]
        written = (self.folder / MANIFEST).stat().st_mtime
        return {
            "run": str(self.folder),
            "kind": self.kind,
            "state": "finished" if self.finished else "unfinished",
            "model": self.made.get("model_name"),
            "corpus": self.made.get("corpus_name"),
            "queries": _number_of_queries(self.folder / QUERIES),
            "age": max(0, round(datetime.now(UTC).timestamp() - written)),  # the clock may have been set back
            "bytes": sum(path.stat().st_size for path in files),
        }


def find_runs(folder: Path, kind: str | None = None) -> list[Run]:
    """Return all runs under a folder, of one kind if it is given, the latest last."""
    manifests = sorted(folder.rglob(MANIFEST), key=lambda path: path.stat().st_mtime_ns)
    runs = [Run(path.parent, manifest) for path in manifests if (manifest := _readable(path.parent))]
    return [run for run in runs if kind in (None, run.kind)]


def named_run(path: Path, kind: str) -> Path:
    """Return the run of this kind that a path means: itself, what it lies in, or the only one that lies in it.

    Raises:
        InputError: several runs lie in the folder.
    """
    if (path / MANIFEST).exists() or not path.exists():
        return path
    if (path.parent / MANIFEST).exists():
        return path.parent
    inside = find_runs(path, kind) if path.is_dir() else []
    if len(inside) > 1:
        names = ", ".join(str(run.folder) for run in inside[-8:])
        raise InputError(f"{path} holds several runs.", have=names, fix="Name one of them.")
    return inside[0].folder if inside else path


def latest_run(kind: str) -> Path:
    """Return the run of this kind that was finished last.

    Raises:
        InputError: there is none.
    """
    finished = [run for run in find_runs(RUNS, kind) if run.finished]
    if not finished:
        raise InputError(
            f"There are no finished {kind} under {RUNS}/.",
            fix="Make some, influence score --queries slopes, or name the folder.",
        )
    return finished[-1].folder


@click.command("runs", cls=Command, example="influence runs runs")
@click.argument("folder", required=False, default="runs", type=click.Path(path_type=Path))
@json_option("Print the list as JSON, for programs.")
def runs(folder: Path, as_json: bool) -> None:
    """List the runs under FOLDER, by default runs, the latest last: kind, state, model, corpus, queries, age, size."""
    records = [run.record() for run in find_runs(folder)]
    if as_json:
        click.echo(json.dumps(records, indent=1))
        return
    if not records:
        click.echo(f"There are no runs under {folder}.")
        return
    rows = [tuple(_cell(name, value) for name, value in record.items()) for record in records]
    click.echo(plain(_aligned([tuple("size" if name == "bytes" else name for name in records[0]), *rows])))


@click.command("show", cls=Command, example="influence show runs/miniworld/hessian")
@click.argument("run", type=click.Path(path_type=Path))
@json_option("Print the whole manifest as JSON, for programs.")
def show(run: Path, as_json: bool) -> None:
    """Say what RUN is, on what it was made, and by which command."""
    folder = _only_run(run)
    manifest = read_manifest(folder)
    assert manifest is not None
    if as_json:
        click.echo(json.dumps(manifest, indent=1))
        return
    found = Run(folder, manifest)
    lines = [(name, _cell(name, value)) for name, value in found.record().items()]
    facts = ("finished", "seconds", "command", "summary")
    lines += [(name, str(found.made[name])) for name in facts if name in found.made]
    lines += [
        (name, str(value)) for name, value in manifest["config"].items() if isinstance(value, (int, float))
    ]
    click.echo(plain(_aligned(lines)))


def _only_run(path: Path) -> Path:
    for place in (path, path.parent):
        if (place / MANIFEST).exists():
            return place
    inside = find_runs(path) if path.is_dir() else []
    if len(inside) == 1:
        return inside[0].folder
    names = ", ".join(str(run.folder) for run in (inside or find_runs(RUNS))[-8:])
    raise InputError(
        f"{path} is not a run.",
        have=f"runs: {names}" if names else None,
        fix="Name one of them." if names else "influence runs lists those under a folder.",
    )


def _readable(folder: Path) -> dict[str, Any] | None:
    try:
        return read_manifest(folder)
    except StoreError:  # a manifest of another program
        return None


def _number_of_queries(path: Path) -> int | None:
    return len(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name == "bytes":
        return f"{value / 1e6:,.1f} MB"
    if name == "age":
        unit, seconds = next((unit, seconds) for unit, seconds in _UNITS if value >= seconds or seconds == 1)
        return f"{value // seconds} {unit}"
    return str(value)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


#: Names of unchecked files that are printed.
_NAMED = 5


@click.command("verify", cls=Command, example="influence verify runs/x/hessian runs/x/scores")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option()
def verify(folders: tuple[Path, ...], as_json: bool) -> None:
    """Read every file of FOLDERS and compare it with its SHA-256.

    FOLDERS are results of any command, or folders that hold several of them: Hessians, scores, indexes, runs of
    stages, trained models, evaluations, distillations, samples, pairs and analyses. What no manifest lists is named
    as not checked. A command that opens a result compares the sizes of its files, and the content of those up to
    1 GiB; this reads all.
    """
    from influence.store.verify import verify as run

    results = [run(folder) for folder in folders]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(result) for result in results], indent=1, default=str))
        return
    for folder, result in zip(folders, results, strict=True):
        click.echo(
            plain(f"{folder}: {result.files} files of {result.bytes / 1e6:,.1f} MB are as they were written.")
        )
        if result.unchecked:
            shown = ", ".join(result.unchecked[:_NAMED])
            more = f", and {len(result.unchecked) - _NAMED:,} more" if len(result.unchecked) > _NAMED else ""
            click.echo(plain(f"  not checked, for no manifest lists them: {shown}{more}"))
