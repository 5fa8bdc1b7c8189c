"""A folder of checkpoints: the score stores of several checkpoints, and `stages.json`, which names them in order.

`NAME/` is an ordinary score store, `hessians/NAME/` the Hessian it was scored with where each checkpoint has its own,
`sum/` the score store of their sum and `probes.csv` what linear probes read, where there are some. Names on disk say
*stages*, and stay, so that stored folders open.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from influence.errors import StoreError
from influence.store.artefact import open_complete, read_manifest, write_json
from influence.store.scores import Scores, open_scores

KIND = "folder of stages"
CHECKPOINTS = "stages.json"
HESSIANS = "hessians"
SUM = "sum"
PROBES = "probes.csv"


@dataclass(frozen=True)
class CheckpointRecord:
    """A checkpoint as `stages.json` has it.

    Attributes:
        name: Of its folder.
        model: The checkpoint, and its revision where it came from a hub.
        hessian: Folder of the Hessian it was scored with; None: the identity.
        shared: Whether that was fitted on another checkpoint.
        removed: Tokens (or steps) of the chain of thought that were removed; None where nothing says so.
        total: Tokens (or steps) of the whole chain of thought.
        accuracy: What was asked -> right, of how many.
        facts: What else is known of it.
    """

    name: str
    model: str
    revision: str | None = None
    hessian: str | None = None
    shared: bool = False
    removed: int | None = None
    total: int | None = None
    accuracy: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def write_checkpoints(folder: Path, checkpoints: Sequence[CheckpointRecord]) -> None:
    """Write `stages.json`; it appears whole."""
    write_json(folder / CHECKPOINTS, [asdict(checkpoint) for checkpoint in checkpoints])


def read_checkpoints(folder: str | Path) -> list[CheckpointRecord]:
    """The checkpoints of a finished folder, in order.

    Raises:
        StoreError: no finished folder of checkpoints lies there.
    """
    folder = Path(folder)
    open_complete(folder, KIND)
    try:
        records = json.loads((folder / CHECKPOINTS).read_text(encoding="utf-8"))
        checkpoints = [CheckpointRecord(**record) for record in records]
        if not all(
            isinstance(checkpoint.name, str) and Path(checkpoint.name).name == checkpoint.name
            for checkpoint in checkpoints
        ):
            raise ValueError("a checkpoint that is no folder here")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{folder / CHECKPOINTS} cannot be read.", have=str(error), fix="Run influence score again."
        ) from error
    return checkpoints


def open_checkpoints(folder: str | Path) -> list[tuple[str, Scores]]:
    """Names and score stores of the checkpoints, in order, without torch."""
    folder = Path(folder)
    return [
        (checkpoint.name, open_scores(folder / checkpoint.name)) for checkpoint in read_checkpoints(folder)
    ]


def is_checkpoints(folder: str | Path) -> bool:
    """Whether this is a folder of checkpoints, finished or not."""
    folder = Path(folder)
    manifest = read_manifest(folder) if folder.is_dir() else None
    return manifest is not None and manifest["kind"] == KIND


#: Stage names and their stores, in the order of training.
Checkpoints = Sequence[tuple[str, Scores]]
