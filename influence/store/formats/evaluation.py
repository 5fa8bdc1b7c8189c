"""`evaluation/STAGE.json`: what was measured of a stage. `evaluation/STAGE.jsonl` has each generation."""

from __future__ import annotations

from influence.store.formats.records import Record
from influence.store.formats.stage import StageFile

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
