"""Files of a training: `stage.json`, `metrics.jsonl` and `evaluation/`, what was measured of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from influence.errors import StoreError
from influence.store.artefact import write_json
from influence.store.formats.records import Record
from influence.store.lines import Lines

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


TRAINING_FILE = "training.json"


class TrainingFile(msgspec.Struct, frozen=True):
    """What every `training.json` has; each kind of training decides which facts stand beside it.

    Attributes:
        settings: What determined the training, besides its model and its examples.
        version, commit, command, machine, finished: What made it, where and when.
        seconds: Wall time.
    """

    settings: dict[str, Any]
    version: str
    commit: str | None
    command: str
    machine: str
    finished: str
    seconds: float


def write_training(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what a training did into the folder of its model."""
    msgspec.convert(facts, TrainingFile)
    write_json(folder / TRAINING_FILE, facts)


def read_training(folder: Path) -> TrainingFile:
    """Return what the training of a model did.

    Raises:
        StoreError: There is no such file, or it says something else.
    """
    path = folder / TRAINING_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise StoreError(
            f"{path} cannot be read.", have=str(error), fix="Restore it from a copy, or train again."
        ) from error


METRICS = "metrics.jsonl"


class MetricsLine(msgspec.Struct, frozen=True):
    """What every line has; the trainer decides which numbers stand beside it.

    Attributes:
        step: Optimizer steps that were done.
        epoch: Passes over the examples, with fractions.
    """

    step: int
    epoch: float


def add_metrics(folder: Path, line: Mapping[str, Any]) -> None:
    """Add a line to the metrics of a training."""
    msgspec.convert(line, MetricsLine)
    Lines(folder / METRICS).append(line)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics of a training; none where there is no file.

    Raises:
        StoreError: A line is no line of metrics.
    """
    lines = Lines(folder / METRICS).read()
    try:
        msgspec.convert(lines, list[MetricsLine])
        return lines
    except msgspec.ValidationError as error:
        raise StoreError(
            f"{folder / METRICS} is no file of metrics.",
            have=str(error),
            fix="Restore it from a copy, or train again.",
        ) from error


def cut_metrics(folder: Path, step: int) -> None:
    """Forget the lines after `step`, from where a killed run goes on."""
    if (folder / METRICS).exists():
        lines = read_metrics(folder)
        Lines(folder / METRICS).rewrite(
            line for line in lines if msgspec.convert(line, MetricsLine).step <= step
        )


#: The folder inside a run that all of it lies in, and the kind that its manifest names.
FOLDER = KIND = "evaluation"
#: What to do where a file of it cannot be read.
AGAIN = "Delete it and run influence evaluate again."


class Sample(Record):
    """A generation that the page shows, with what was asked and what would be right."""

    input: str
    answer: str
    chain: str
    right: bool
    said: str
    generated: str


class Measured(Record):
    """What else is worth knowing of a measurement.

    Attributes:
        too_long: Examples that are longer than the positions of the model; they were not asked.
        most_new_tokens: Most tokens a generation could have.
        unfinished: Generations that did not come to an end.
    """

    too_long: int
    most_new_tokens: int
    unfinished: int


class Conditions(Record):
    """What must be equal for two measurements of speed to compare.

    Attributes:
        timed: Examples to time.
        baseline: Digest of the stage whose speed is 1; null where there was none.
        device: Its name.
    """

    timed: int
    baseline: str | None
    device: str


class Speed(Record):
    """Seconds of generation of each timed example, at batch size 1, and those of the baseline by turns."""

    how: Conditions
    threads: int
    seconds: list[float]
    baseline_seconds: list[float] | None


class EvaluationRecord(Record):
    """A stage on N examples.

    Attributes:
        digest: Of the stage's `stage.json`: another one is another training.
        fingerprint: Of the stage's folder, its weights included; absent where the folder has no manifest.
        about: What `stage.json` said.
        right: N marks, `1` where the answer is exactly right, else `0`.
        positions: Of each example, a mark for each token of the answer.
        tokens: Generated tokens of each example, the end included.
    """

    digest: str
    about: StageFile
    right: str
    positions: list[str]
    tokens: list[int]
    samples: list[Sample]
    measured: Measured
    speed: Speed
    fingerprint: str | None = None
