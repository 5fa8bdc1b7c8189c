"""`run.toml`: the options of a finished run, which repeats it and tells whether it need not run again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from influence.errors import InputError
from influence.files import whole_file
from influence.ready import Kind, ready_path
from influence.store.artefact import add_files, open_complete, read_manifest

NAME = "run.toml"


def read_run_file(file: Path) -> dict[str, Any]:
    """Options by name, with underscores.

    Raises:
        InputError: the file is not TOML, or an option is a table.
    """
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} is not a TOML file.", have=str(error), fix="Write lines such as damping = 0.1."
        ) from error
    for name, value in table.items():
        if isinstance(value, dict):
            raise InputError(
                f"{name} in {file} is a table.", fix="Write all options at the top, without [headings]."
            )
    return {name.replace("-", "_"): value for name, value in table.items()}


def write_run_file(out: Path, command: str, options: Mapping[str, Any]) -> None:
    """Write the options of a finished command beside its result; those that have no value are left out."""
    path = run_file(out)
    lines = [f"# {command} --config {NAME} repeats this run.\n"]
    lines += [f"{name} = {_toml(value)}\n" for name, value in options.items() if _plain(value) is not None]
    if out.exists():
        with whole_file(path) as part:
            part.write_text("".join(lines), encoding="utf-8")
    if out.is_dir() and read_manifest(out) is not None:
        add_files(out, NAME)


def run_file(out: Path) -> Path:
    """Where the options of the run that made `out` lie: in the folder, or beside the file."""
    return out / NAME if out.is_dir() else out.with_name(f"{out.name}.{NAME}")


def is_there(out: Path, options: Mapping[str, Any]) -> bool:
    """Whether the same command finished `out`, and none of its inputs was touched since.

    Raises:
        StoreError: the result is damaged.
    """
    path = run_file(out)
    if not out.exists() or not path.is_file():
        return False
    before = {name: value for name, value in read_run_file(path).items() if name != "out"}
    now = {name: _plain(value) for name, value in options.items() if name != "out"}
    if before != {name: value for name, value in now.items() if value is not None}:
        return False
    made = path.stat().st_mtime_ns
    if any(changed > made for value in now.values() for changed in _changes(value, out)):
        return False
    manifest = read_manifest(out) if out.is_dir() else None
    if manifest is not None:
        open_complete(out, manifest["kind"])
    return True


def _changes(value: Any, out: Path) -> Iterator[int]:
    """When the files that an option names, but for the result, were written, renamed or moved, in nanoseconds."""
    for text in value if isinstance(value, list) else [value]:
        for path in _paths(text) if isinstance(text, str) else ():
            for file in (path, *(path.rglob("*") if path.is_dir() else ())):
                if out not in (file, *file.parents) and file.exists():
                    yield max(file.stat().st_mtime_ns, file.stat().st_ctime_ns, file.lstat().st_ctime_ns)


def _paths(text: str) -> Sequence[Path]:
    """The files, folders or ready things that a text names: one, those of a pattern, or none."""
    kinds: tuple[Kind, ...] = ("models", "corpora", "queries")
    try:
        path = Path(text)
        if path.exists():
            return [path]
        if "*" in text and not path.is_absolute():
            return list(Path().glob(text))
        if "*" in text:
            return list(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    except (OSError, ValueError, NotImplementedError):  # a text that cannot be a path
        return ()
    return [ready for kind in kinds if (ready := ready_path(kind, text))]


def _plain(value: Any) -> Any:
    """An option as TOML knows it."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):  # is typed as JSON, and a table would be a heading of the file
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value) if isinstance(value, Path) else value


def _toml(value: Any) -> str:
    """A text, number, truth value or list of them: JSON writes these as TOML does."""
    return json.dumps(_plain(value), ensure_ascii=False)
