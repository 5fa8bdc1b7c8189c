"""What every artefact folder shares: a manifest, atomic writes, and refusal to mix runs.

`manifest.json` holds `kind`, `status` ("running" | "complete"), `config` (everything that determines the
result; two runs may share a folder only if it is equal) and `provenance` (everything else worth knowing); finished
Hessians, score stores and indexes also `files`, the size and SHA-256 of each.

One process at a time writes into a folder: it holds a lock on the manifest, which ends with the process.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from influence.errors import StoreError
from influence.files import whole_file
from influence.store.journal import (
    VERIFIED_AT_OPEN,
    close_journal,
    final_checksums,
    keep_journal,
    remove_journals,
    verify_files,
)
from influence.store.lock import drop_lock, take_lock, taken

MANIFEST = "manifest.json"

#: Kinds whose files never change once they are finished.
_CHECKED = ("hessian", "scores", "piece", "index")
#: What they leave behind only for a resumed run.
_LEAVING = ("*.state.safetensors", "blocks/*", "rescored/*", "rescored/blocks/*", MANIFEST)

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file appears whole or not at all."""
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write numpy arrays as safetensors, atomically."""
    from safetensors.numpy import save_file

    with whole_file(path) as part:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part)


def map_arrays(path: Path, mode: str = "r") -> dict[str, npt.NDArray[Any]]:
    """Memory-map every array of a safetensors file."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > path.stat().st_size:
                raise ValueError("header longer than the file")
            header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        if any(
            entry["data_offsets"][0] < 0 or min(entry["shape"], default=0) < 0 for entry in header.values()
        ):
            raise ValueError("a tensor that no file holds")
        return {
            name: np.memmap(
                path,
                dtype=_DTYPES[entry["dtype"]],
                mode=mode,  # type: ignore[call-overload]
                offset=8 + size + entry["data_offsets"][0],
                shape=tuple(entry["shape"]),
            )
            if 0 not in entry["shape"]
            else np.zeros(entry["shape"], _DTYPES[entry["dtype"]])
            for name, entry in header.items()
        }
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        struct.error,
    ) as error:
        raise StoreError(
            f"{path} cannot be read.",
            have=str(error) or type(error).__name__,
            fix="The file is missing or damaged: delete its folder and run the command that made it again.",
        ) from error


def allocate_arrays(path: Path, shapes: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Create a safetensors file of zeros (`name -> (shape, "F32" | "F64")`), to be filled."""
    header: dict[str, Any] = {}
    end = 0
    for name, (shape, dtype) in shapes.items():
        size = int(np.prod(shape)) * np.dtype(_DTYPES[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.flush()
        if sys.platform == "linux":  # a hole would kill the process, by SIGBUS, on a disk that is full
            os.posix_fallocate(file.fileno(), 0, 8 + len(text) + end)
        else:
            file.truncate(8 + len(text) + end)


def flush_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write filled arrays through to the disk."""
    for name in {str(a.filename) for a in arrays.values() if isinstance(a, np.memmap)}:
        with Path(name).open("rb") as file:  # `flush` would hold up every thread of the process meanwhile
            os.fsync(file.fileno())


def _named(kind: str) -> str:
    return {
        "hessian": "a Hessian",
        "scores": "a score store",
        "index": "an index",
        "piece": "a piece of a score store",
    }.get(kind, f"a {kind}")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an artefact folder, or None where there is none."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _check_manifest(manifest)
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{path} is not a manifest of this program.",
            have=str(error) or type(error).__name__,
            fix="Check the path, or delete the folder and run the command that made it again.",
        ) from error
    return dict(manifest)


def _check_manifest(manifest: Any) -> None:
    if not isinstance(manifest, dict):
        raise ValueError("not an object")
    for name, kind in {"kind": str, "status": str, "config": dict}.items():
        if not isinstance(manifest.get(name), kind):
            raise ValueError(f"{name} is missing, or of another type")
    if not isinstance(manifest.get("provenance", {}), dict):
        raise ValueError("provenance is of another type")
    files = manifest.get("files", {})
    if not isinstance(files, dict):
        raise ValueError("files is of another type")
    for name, written in files.items():
        whole = isinstance(written, dict) and {"bytes": int, "sha256": str} == {
            k: type(v) for k, v in written.items()
        }
        if not whole or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise ValueError(f"files names {name!r}")


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}{key}.")
    else:
        yield prefix[:-1], value


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Readable differences between two configs, one line each."""
    old, new = dict(_flatten(before)), dict(_flatten(now))
    return [
        f"{key}: {old.get(key, 'absent')!r} there, {new.get(key, 'absent')!r} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, "absent") != new.get(key, "absent")
    ]


def claim(folder: Path, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Open `folder` for a run of `kind` with `config`: a new manifest, or the one of the same run to resume.

    Raises:
        StoreError: the folder holds another kind of artefact, other files, or a run with another config; or another
            process is writing into it.
    """
    config = json.loads(json.dumps(config))  # as it will read back: tuples are lists
    manifest = _matching(folder, kind, config)
    if manifest["status"] != "complete":
        take_lock(folder, folder / MANIFEST)
        manifest = _matching(folder, kind, config)  # another process may have finished it meanwhile
    if manifest["status"] != "complete" and kind in _CHECKED:
        keep_journal(folder)
    if manifest["status"] == "complete":
        _let_go(folder)
    return manifest


def _matching(folder: Path, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest is None:
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"--out {folder} is a file.", fix="Name a folder.")
        if folder.exists() and any(not p.name.endswith(".part") for p in folder.iterdir()):
            raise StoreError(
                f"{folder} already holds other files.", fix="Choose another --out, or empty the folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {"kind": kind, "status": "running", "config": config, "provenance": {}}
        try:
            write_json(folder / MANIFEST, manifest)
        except FileNotFoundError as error:  # its `.part` was taken by a process that began at the same time
            raise taken(folder) from error
        return manifest
    if manifest["kind"] != kind:
        raise StoreError(
            f"{folder} holds {_named(manifest['kind'])}, not {_named(kind)}.", fix="Choose another --out."
        )
    changed = differences(manifest["config"], config)
    if changed:
        raise StoreError(
            f"{folder} holds {_named(kind)} made with other arguments.",
            have="; ".join(changed),
            fix="Choose another --out, delete the folder, or run with the arguments it was made with.",
        )
    return manifest


def finish(
    folder: Path, manifest: dict[str, Any], provenance: dict[str, Any], leaving: tuple[str, ...] = ()
) -> None:
    """Mark the artefact complete, with the checksums of its files.

    Args:
        leaving: Names of files that the caller removes afterwards.
    """
    manifest["status"] = "complete"
    manifest["provenance"] = provenance
    if manifest["kind"] in _CHECKED:
        manifest["files"] = final_checksums(folder, (*_LEAVING, *leaving))
    write_json(folder / MANIFEST, manifest)
    _let_go(folder)


def _let_go(folder: Path) -> None:
    close_journal(folder)
    drop_lock(folder)
    remove_journals(folder)


def verify(folder: Path) -> tuple[int, int]:
    """Read every file of a finished artefact; how many there are, and their bytes.

    Raises:
        StoreError: nothing finished is there, it has no checksums, or a file is not what was written.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise StoreError(f"{folder} holds no result: there is no {MANIFEST}.", fix="Check the path.")
    open_complete(folder, manifest["kind"], verified=None)
    files = manifest.get("files", {})
    if not files:
        raise StoreError(
            f"{folder} has no checksums.",
            have=f"{_named(manifest['kind'])}, made by version {manifest['provenance'].get('version')}",
            fix="Hessians, score stores, pieces and indexes have them from this version on.",
        )
    return len(files), sum(file["bytes"] for file in files.values())


def open_complete(folder: Path, kind: str, verified: int | None = VERIFIED_AT_OPEN) -> dict[str, Any]:
    """The manifest of a finished artefact of `kind`.

    Args:
        verified: Verify the content of files up to so many bytes; None: of all. Sizes are always verified.

    Raises:
        StoreError: it is absent, other, unfinished, or a file is not what was written.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise StoreError(f"{folder} holds no {kind}: there is no {MANIFEST}.", fix="Check the path.")
    if manifest["kind"] != kind:
        raise StoreError(
            f"{folder} holds {_named(manifest['kind'])}, not {_named(kind)}.",
            fix="Join all pieces first: influence merge."
            if manifest["kind"] == "piece"
            else "Check the path.",
        )
    if manifest["status"] != "complete":
        raise StoreError(
            f"The {kind} in {folder} is unfinished.",
            fix="Run the command that was making it again: it resumes.",
        )
    verify_files(folder, manifest, verified)
    return manifest
