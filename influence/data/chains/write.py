"""A made task as a folder that appears whole: the lines of its splits, and `task.json`, which says what made it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from influence import __version__
from influence.data.chains import gsm8k, parity, reachability
from influence.data.chains.gsm8k import GSM8K
from influence.data.chains.multiplication import STEP_PATTERNS, Multiplication
from influence.data.chains.parity import Parity
from influence.data.chains.reachability import Reachability
from influence.data.chains.task import TASK_FILE, Task, read_task
from influence.errors import InputError

Maker = Multiplication | Parity | Reachability | GSM8K


def write_task(maker: Maker, out: str | Path) -> Task:
    """Write a task to the folder `out`: a new one, an empty one, or one that holds this very task already.

    Returns:
        The task as it was read back: every line checked, and that the splits do not overlap.
    """
    out = Path(out)
    about = _about(maker)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        return _same_task(out, about)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        splits = maker.splits()
        about["files"] = {
            split: _write_lines(part / f"{split}.txt", lines) for split, (_, lines) in splits.items()
        }
        (part / TASK_FILE).write_text(
            json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        task = read_task(part)
    except InputError:
        shutil.rmtree(part)
        raise
    if out.is_dir():
        out.rmdir()
    part.replace(out)
    return dataclasses.replace(task, folder=out)


def _about(maker: Maker) -> dict[str, Any]:
    """What `task.json` says, but for the files."""
    settings = {field.name: _setting(getattr(maker, field.name)) for field in dataclasses.fields(maker)}
    pattern: str
    match maker:
        case Multiplication():
            name, pattern = "multiplication", STEP_PATTERNS[maker.chain]
        case Parity():
            name, pattern = "parity", parity.STEP_PATTERN
            settings["positions"] = maker.positions
        case Reachability():
            name, pattern = "reachability", reachability.STEP_PATTERN
        case GSM8K():
            name, pattern = "gsm8k", gsm8k.STEP_PATTERN
    return {"name": name, "step_pattern": pattern, "settings": settings, "version": __version__}


def _setting(value: Any) -> Any:
    """A file stands for its name and its bytes; other settings for themselves."""
    if not isinstance(value, Path):
        return value
    if not value.is_file():
        raise InputError(
            f"There is no file {value}.", fix="Name a file of examples: .jsonl, or `||` and `####` lines."
        )
    return {"file": value.name, "sha256": _sha256(value)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_lines(path: Path, lines: Iterator[bytes]) -> dict[str, Any]:
    digest, count, size = hashlib.sha256(), 0, 0
    with path.open("wb") as file:
        for batch in lines:
            file.write(batch)
            digest.update(batch)
            count += batch.count(b"\n")
            size += len(batch)
    return {"examples": count, "bytes": size, "sha256": digest.hexdigest()}


def _same_task(out: Path, about: dict[str, Any]) -> Task:
    """The task in the folder, if it is the one that is asked for; else InputError."""
    before: dict[str, Any] = {}
    if (out / TASK_FILE).is_file():
        before = json.loads((out / TASK_FILE).read_text(encoding="utf-8"))
    if any(before.get(part) != about[part] for part in ("name", "settings")):
        raise InputError(
            f"{out} is there already and is not this task.",
            have=f"{before['name']} {before.get('settings')}" if "name" in before else "other files",
            fix="Choose another --out, or remove it.",
        )
    for split, file in before.get("files", {}).items():
        if _sha256(out / f"{split}.txt") != file["sha256"]:
            raise InputError(f"{out / split}.txt was changed after it was made.", fix="Remove the folder.")
    return read_task(out)
