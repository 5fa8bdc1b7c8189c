"""A folder of stages: the score stores of several checkpoints, and `stages.json`, which names them in order.

`STAGES/NAME/` is an ordinary score store, `STAGES/hessians/NAME/` the Hessian it was scored with where each checkpoint
has its own, `STAGES/sum/` the score store of their sum and `STAGES/probes.csv` what linear probes read, where there are
some.
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
STAGES = "stages.json"
HESSIANS = "hessians"
SUM = "sum"
PROBES = "probes.csv"


@dataclass(frozen=True)
class StageRecord:
    """A stage as `stages.json` has it.

    Attributes:
        name: Of its folder.
        model: The checkpoint, and its revision where it came from a hub.
        hessian: Folder of the Hessian it was scored with; None: the identity.
        shared: Whether that was fitted on another checkpoint.
        removed: Tokens (or steps) of the chain of thought that were removed; None where nothing says so.
        total: Of so many.
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


def write_stages(folder: Path, stages: Sequence[StageRecord]) -> None:
    """Write `stages.json`; it appears whole."""
    write_json(folder / STAGES, [asdict(stage) for stage in stages])


def read_stages(folder: str | Path) -> list[StageRecord]:
    """The stages of a finished folder, in order.

    Raises:
        StoreError: no finished folder of stages lies there.
    """
    folder = Path(folder)
    open_complete(folder, KIND)
    try:
        records = json.loads((folder / STAGES).read_text(encoding="utf-8"))
        stages = [StageRecord(**record) for record in records]
        if not all(isinstance(stage.name, str) and Path(stage.name).name == stage.name for stage in stages):
            raise ValueError("a stage that is no folder here")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{folder / STAGES} cannot be read.", have=str(error), fix="Run influence score again."
        ) from error
    return stages


def open_stages(folder: str | Path) -> list[tuple[str, Scores]]:
    """Names and score stores of the stages, in order, without torch."""
    folder = Path(folder)
    return [(stage.name, open_scores(folder / stage.name)) for stage in read_stages(folder)]


def is_stages(folder: str | Path) -> bool:
    """Whether this is a folder of stages, finished or not."""
    folder = Path(folder)
    manifest = read_manifest(folder) if folder.is_dir() else None
    return manifest is not None and manifest["kind"] == KIND
