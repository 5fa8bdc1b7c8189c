"""Reading back all that is stored in a folder, and saying what could not be checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence.errors import StoreError
from influence.files import JOURNAL
from influence.store.artefact import open_complete, read_manifest
from influence.store.formats.manifest import MANIFEST
from influence.store.journal import LOCK


@dataclass(frozen=True)
class Verified:
    """What was compared in a folder.

    Attributes:
        kind: What the folder holds.
        files: Number of files that are as they were written.
        bytes: Their size.
        unchecked: Names of files that no manifest lists, and of folders whose run is unfinished.
    """

    folder: Path
    kind: str
    files: int
    bytes: int
    unchecked: tuple[str, ...]


def verify(folder: Path) -> Verified:
    """Read every file of a finished artefact, and of the artefacts inside it, and compare it with its checksum.

    Raises:
        StoreError: Nothing is stored there, a file is not what was written, or no file has a checksum.
    """
    manifests = _manifests(folder)
    if not manifests:
        raise StoreError(
            f"{folder} holds no result: there is no {MANIFEST}.",
            fix="Check the path: influence runs lists what is there.",
        )
    sizes: dict[Path, int] = {}
    unfinished: list[str] = []
    for place, manifest in manifests.items():
        if manifest["status"] != "complete":
            if place == folder:
                open_complete(folder, manifest["kind"])
            unfinished.append(f"{place.relative_to(folder).as_posix()}/ (unfinished)")
            continue
        open_complete(place, manifest["kind"], verified=None)
        for name, file in {**manifest["files"], **manifest["added"]}.items():
            sizes[place / name] = file["bytes"]
    top = manifests.get(folder)
    kind = top["kind"] if top else "folder of results"
    if not sizes:
        version = top["provenance"].get("version") if top else None
        raise StoreError(
            f"{folder} has no checksums.",
            have=f"{kind}, made by version {version}",
            fix="Results have them from this version on: make it again to have it checked.",
        )
    return Verified(
        folder, kind, len(sizes), sum(sizes.values()), (*unfinished, *_unlisted(folder, set(sizes)))
    )


def _manifests(folder: Path) -> dict[Path, dict[str, Any]]:
    """The manifest of this folder and of each folder inside it, the outer ones first."""
    places = sorted(
        {path.parent for path in folder.rglob(MANIFEST)}, key=lambda place: (len(place.parts), place)
    )
    read = {place: read_manifest(place) for place in places if not _passing(place.relative_to(folder))}
    return {place: manifest for place, manifest in read.items() if manifest is not None}


def _unlisted(folder: Path, known: set[Path]) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path not in known
        and path.name not in (MANIFEST, JOURNAL, LOCK)
        and not _passing(path.relative_to(folder))
    ]


def _passing(name: Path) -> bool:
    """Whether this is a file or folder that a run is still writing."""
    return any(part.endswith(".part") for part in name.parts)
