"""`stage.json`: how a stage of internalisation was trained to answer, and what its last check measured."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from influence.store.formats.records import Record

STAGE_FILE = "stage.json"
#: What the manifest of a stage's folder calls it, and those of the runs that have stages.
STAGE_KIND = "stage"
RUN_KIND, KD_KIND = "run of stages", "ICoT-KD run"
#: The mode of ICoT-KD: such a stage is two models that answer as one.
COUPLED = "icot-kd"


class TaskRecord(Record):
    """Which task: its name, and the settings that made it."""

    name: str
    settings: dict[str, Any]


class StageFile(Record):
    """A stage of internalisation.

    Attributes:
        mode: How it was trained: `stepwise`, a baseline of it, or ICoT-KD.
        side: The end of the chain that goes first.
        by_step: Whole steps are removed instead of tokens.
        keep_positions: What follows the cut keeps its positions.
        removed: Removed tokens of each chain, or steps.
        total: Tokens of the longest chain, or its steps.
        model: What was trained, as a user names it.
        settings: Of the training.
        teacher: Of ICoT-KD: digest of the stage that was given as the teacher; null where it was trained too.
        kind: `stage`, as the line of metrics of the last check.
        step: Optimizer steps of the training until then.
        epoch: Passes over the examples until then.
        examples: Examples trained on until then.
        level: Number of the stage in the schedule, from 0.
        steps: Optimizer steps of this stage.
        capped: The stage ended because it reached the most steps, not because the model had recovered.
        train_loss, loss: Mean nats a predicted token, in training and on held-out examples.
        token_accuracy, answer_accuracy, target_accuracy: Shares that are right on held-out examples.
    """

    mode: str
    side: Literal["left", "right"]
    by_step: bool
    keep_positions: bool
    removed: int
    total: int
    seed: int
    model: str
    task: TaskRecord
    settings: dict[str, Any]
    teacher: str | UnsetType | None = UNSET
    kind: str | None = None
    step: int | None = None
    epoch: int | float | None = None
    examples: int | None = None
    level: int | None = None
    steps: int | None = None
    capped: bool | None = None
    train_loss: float | None = None
    loss: float | None = None
    token_accuracy: float | None = None
    answer_accuracy: float | None = None
    target_accuracy: float | None = None
