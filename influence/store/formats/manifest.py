"""`manifest.json`: what a folder holds, what made it, and the checksums of all that lies in it.

`format` counts versions of this file: 1 has no checksum of its own, and lists files of Hessians, score stores, pieces
and indexes only. A newer one than `FORMAT` is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import msgspec

MANIFEST = "manifest.json"
FORMAT = 2


class StoredFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size and checksum of a file as it was written."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The manifest of an artefact folder.

    Attributes:
        kind: What the folder holds, such as `scores`.
        config: Everything that determines the result.
        provenance: Everything else worth knowing.
        files: Name -> size and checksum of each file that the run wrote.
        added: The same of files that a later command added to the finished folder, such as token scores.
        holds: Name of a folder inside -> fingerprint of the artefact that the run left there.
        sha256: Of all other fields; absent in format 1.
    """

    kind: str
    status: Literal["running", "complete"]
    config: dict[str, Any]
    provenance: dict[str, Any] = {}
    files: dict[str, StoredFile] = {}
    added: dict[str, StoredFile] = {}
    holds: dict[str, str] = {}
    format: int = 1
    sha256: str | None = None


def decode_manifest(data: bytes) -> dict[str, Any]:
    """The fields of a manifest, without its own checksum.

    Raises:
        ValueError: It is no manifest, or not as it was written. (`RecursionError` where it is nested absurdly.)
    """
    record = msgspec.convert(json.loads(data), Manifest)
    fields: dict[str, Any] = msgspec.to_builtins(record)
    written = fields.pop("sha256")
    if record.format > FORMAT:
        raise ValueError(
            f"a newer version of this program wrote it: format {record.format}, {FORMAT} is known"
        )
    if record.format < 1 or (written is None) != (record.format == 1):
        raise ValueError(f"its checksum does not fit format {record.format}")
    if written is not None and written != digest(fields):
        raise ValueError("it is damaged: its content is not what was written")
    for name in (*record.files, *record.added, *record.holds):
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise ValueError(f"it names a file outside its folder: {name!r}")
    return fields


def encode_manifest(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields as they are stored, in the newest format and with the checksum."""
    fields = {**fields, "format": FORMAT}
    record = msgspec.convert(json.loads(json.dumps({**fields, "sha256": None})), Manifest)
    stored: dict[str, Any] = msgspec.to_builtins(record)
    del stored["sha256"]
    return {**stored, "sha256": digest(stored)}


def fingerprint(manifest: dict[str, Any]) -> str:
    """What binds other files to this artefact: a digest of its kind, its config and the content of its files."""
    return digest({name: manifest.get(name, {}) for name in ("kind", "config", "files", "holds")})


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
