"""What every artefact folder shares: a manifest, atomic writes, and refusal to mix runs.

`manifest.json` says what a folder holds, all that determined it (two runs share a folder only if that is equal), and
the size and SHA-256 of each file (`influence.store.formats.manifest`). A folder inside a finished run that is an
artefact itself, such as a stage, is bound to the run by its fingerprint. One process at a time writes into a folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from influence.errors import StoreError
from influence.files import close_journal, whole_file
from influence.store.formats.manifest import MANIFEST, decode_manifest, encode_manifest, fingerprint
from influence.store.journal import (
    LOCK,
    VERIFIED_AT_OPEN,
    drop_lock,
    final_checksums,
    keep_journal,
    listed,
    remove_journals,
    stored_file,
    take_lock,
    verify_files,
)

_WHERE = "Check the path: influence runs lists what is there."
#: What a run leaves behind only for its resumption.
_LEAVING = (
    "*.state.safetensors",
    "blocks/*",
    "rescored/*",
    "rescored/blocks/*",
    "resume/*",
    "resume/*/*",
    MANIFEST,
)
#: What other commands make of a finished run, inside its folder.
_MADE_LATER = ("analysis", "evaluation")


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file appears whole or not at all."""
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def _named(kind: str) -> str:
    return {
        "hessian": "a Hessian",
        "scores": "a score store",
        "index": "an index",
        "piece": "a piece of a score store",
    }.get(kind, f"a {kind}")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an artefact folder, or None where there is none.

    Raises:
        StoreError: It is damaged, or a newer version of this program wrote it.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        return decode_manifest(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise StoreError(
            f"{path} is not a manifest of this program.",
            have=str(error) or type(error).__name__,
            fix="Check the path, or delete the folder and run the command that made it again.",
        ) from error


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a folder, with its own checksum."""
    write_json(folder / MANIFEST, encode_manifest(manifest))


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
        StoreError: The folder holds another kind of artefact, other files, or a run with another config; another
            process is writing into it; or a file of the finished run is not what was written.
    """
    config = json.loads(json.dumps(config))  # as it will read back: tuples are lists
    manifest = _matching(folder, kind, config)
    if manifest is None or manifest["status"] != "complete":
        _make(folder)
        take_lock(folder)
        manifest = _matching(folder, kind, config)  # another process may have written it meanwhile
        if manifest is None:
            manifest = _new(kind, config)
            write_manifest(folder, manifest)
    if manifest["status"] != "complete":
        keep_journal(folder)
    else:
        release(folder)
        open_complete(folder, kind)
    return manifest


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreError(
            f"--out {folder} cannot be made.",
            have=f"{error.filename} is a file",
            fix="Name a folder that is not below a file.",
        ) from error


def _new(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return decode_manifest(
        json.dumps(encode_manifest({"kind": kind, "status": "running", "config": config})).encode()
    )


def _matching(folder: Path, kind: str, config: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of the same run in this folder; None where the folder is free."""
    manifest = read_manifest(folder)
    if manifest is None:
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"--out {folder} is a file.", fix="Name a folder.")
        if folder.exists() and any(p.suffix != ".part" and p.name != LOCK for p in folder.iterdir()):
            raise StoreError(
                f"{folder} already holds other files.", fix="Choose another --out, or empty the folder."
            )
        return None
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
    """Mark the artefact complete, with the checksums of its files and the fingerprints of the artefacts inside.

    Args:
        leaving: Names of files that the caller removes afterwards.
    """
    now = read_manifest(folder) or {}
    manifest["status"] = "complete"
    manifest["provenance"] = provenance
    manifest["added"] = now.get("added", {})
    manifest["holds"] = _inside(folder)
    manifest["files"] = manifest["files"] | {
        path.as_posix(): file
        for path, file in final_checksums(folder, (*_LEAVING, *leaving)).items()
        if not any(path.is_relative_to(held) for held in manifest["holds"])
    }
    for name in manifest["added"]:
        manifest["files"].pop(name, None)
    close_journal(folder)  # so that the run around this one, if there is one, writes the manifest down
    write_manifest(folder, manifest)
    release(folder)


def release(folder: Path) -> None:
    """Let go of a folder that nothing more is written into."""
    close_journal(folder)
    remove_journals(folder)
    drop_lock(folder)


def _inside(folder: Path) -> dict[str, str]:
    """Name -> fingerprint of each finished artefact in this folder that is not part of another one in it."""
    held: dict[str, str] = {}
    for path in sorted(folder.rglob(MANIFEST), key=lambda path: len(path.parts)):
        name = path.parent.relative_to(folder)
        if path.parent == folder or any(name.is_relative_to(other) for other in held):
            continue
        manifest = read_manifest(path.parent)
        if manifest and manifest["status"] == "complete" and manifest["kind"] not in _MADE_LATER:
            held[name.as_posix()] = fingerprint(manifest)
    return held


def seal(folder: Path, kind: str, config: dict[str, Any], leaving: tuple[str, ...] = ()) -> None:
    """Give a folder that is written at once, such as a model, the manifest of a finished artefact.

    Args:
        leaving: Names of files that the caller removes afterwards.
    """
    files = final_checksums(folder, (*_LEAVING, *leaving))
    manifest = {"kind": kind, "status": "complete", "config": config}
    write_manifest(folder, {**manifest, "files": {name.as_posix(): file for name, file in files.items()}})


def add_files(folder: Path, *names: str) -> None:
    """List files that were added to an artefact in its manifest; until then readers refuse them."""
    manifest = read_manifest(folder)
    assert manifest is not None, "files are added to an artefact"
    for name in names:
        manifest["files"].pop(name, None)
        manifest["added"][name] = stored_file(folder / name)
    write_manifest(folder, manifest)


def forget_file(folder: Path, name: str) -> None:
    """Remove a file of an artefact that is to be written anew, from its manifest first."""
    manifest = read_manifest(folder)
    if manifest is not None and listed(manifest, name) is not None:
        for files in (manifest["added"], manifest["files"]):
            files.pop(name, None)
        write_manifest(folder, manifest)
    (folder / name).unlink(missing_ok=True)


def open_complete(folder: Path, kind: str, verified: int | None = VERIFIED_AT_OPEN) -> dict[str, Any]:
    """The manifest of a finished artefact of `kind`.

    Args:
        verified: Verify the content of files up to so many bytes; None: of all. Sizes are always verified.

    Raises:
        StoreError: It is absent, other, unfinished, or a file is not what was written.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise StoreError(f"{folder} holds no {kind}: there is no {MANIFEST}.", fix=_WHERE)
    if manifest["kind"] != kind:
        raise StoreError(
            f"{folder} holds {_named(manifest['kind'])}, not {_named(kind)}.",
            fix="Join all pieces first: influence merge." if manifest["kind"] == "piece" else _WHERE,
        )
    if manifest["status"] != "complete":
        raise StoreError(
            f"The {kind} in {folder} is unfinished.",
            fix="Run the command that was making it again: it resumes.",
        )
    verify_files(folder, manifest, verified)
    for name in manifest["holds"]:
        check_held(folder, manifest, name)
    return manifest


def check_held(folder: Path, manifest: dict[str, Any], name: str) -> None:
    """Refuse a folder inside an artefact that is not the one its run left there.

    Raises:
        StoreError: It is missing, damaged or another one.
    """
    inside = read_manifest(folder / name)
    if inside is None or fingerprint(inside) != manifest["holds"].get(name):
        raise StoreError(
            f"{folder / name} is not what the run in {folder} left there.",
            have="it has no manifest" if inside is None else f"{_named(inside['kind'])} of another run",
            fix="Restore it from a copy, or delete the folder and run the command that made it again.",
        )
