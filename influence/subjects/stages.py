"""Stages of internalisation as checkpoints to score: how each is opened, what it reads, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from influence.data.tasks.task import Task
from influence.engine.checkpoints import Checkpoint, Opened
from influence.errors import InputError
from influence.files import whole_file
from influence.models.load import DType, LanguageModel, load_model
from influence.store.formats.stage import COUPLED, STAGE_FILE, TaskRecord
from influence.store.stages import PROBES
from influence.subjects.model_as_trained import read_as_trained
from influence.subjects.probes import probe_table
from influence.subjects.questions import ENDINGS, asked_examples, predicted, stage_queries
from influence.subjects.texts import Texts
from influence.train.stepwise.stages import Stage, read_stage
from influence.types import Query

#: Examples asked of each stage.
ASKED = 40
#: Examples that the accuracy of a stage is measured on.
ACCURACY_EXAMPLES = 1000


def plain_opener(
    queries: Sequence[Query],
    *,
    completions_by: str | None = None,
    dtype: DType = "float32",
    device: str | None = None,
) -> Callable[[Checkpoint], Opened]:
    """Opens any checkpoint; the same queries for all. A stage of internalisation reads as it was trained.

    Args:
        completions_by: Name of the model that wrote the completions; None: not known.
    """

    def open_checkpoint(one: Checkpoint) -> Opened:
        model = load_model(one.model, dtype=dtype, device=device, revision=one.revision)
        stage = _stage_of(one)
        if stage is None:
            return Opened(model, queries, completions_by=completions_by)
        return Opened(_reading(stage, model), queries, _facts(stage), completions_by)

    return open_checkpoint


class TaskOpener:
    """Opens stages, and asks them about the examples of a task in both ways; probes them where it knows how."""

    def __init__(
        self, task: Task, count: int = ASKED, *, dtype: DType = "float32", device: str | None = None
    ) -> None:
        self._task, self._examples = task, asked_examples(task, count)
        self._test = task.split("test")[:ACCURACY_EXAMPLES]
        self._dtype, self._device = dtype, device
        self._probes: dict[str, Any] = {}

    def __call__(self, one: Checkpoint) -> Opened:
        """Load a stage; it reads as it was trained.

        Raises:
            InputError: it is no stage of internalisation, or was trained on another task.
        """
        stage = _stage_of(one)
        if stage is None:
            raise InputError(
                f"{one.model} is no stage of internalisation.",
                have=f"no {STAGE_FILE} in it",
                fix="Give --queries instead of --task, or stages of influence train.",
            )
        self._check_task(stage)
        model = load_model(one.model, dtype=self._dtype, device=self._device)
        Texts(model.tokenizer).check(self._examples, self._task)
        model = _reading(stage, model)
        right = {
            task: predicted(model, stage_queries(stage, self._task, self._test, model, task))
            for task in ENDINGS
        }
        queries = [
            query
            for task in ENDINGS
            for query in stage_queries(stage, self._task, self._examples, model, task, right[task])
        ]
        self._probes[one.name] = probe_table(model, self._task, Texts(model.tokenizer))
        accuracy = {task: (int(marks.sum()), len(marks)) for task, marks in right.items()}
        facts = _facts(stage) | {"accuracy": accuracy}
        return Opened(model, queries, facts, f"the task {self._task.name}, as references")

    def write_probes(self, folder: Path, order: Sequence[str]) -> Path | None:
        """What the probes read at all stages, as CSV; None for a task whose running quantities are not known."""
        import pandas as pd

        tables = [self._probes[name].assign(stage=name) for name in order if self._probes[name] is not None]
        if not tables:
            return None
        table = pd.concat(tables, ignore_index=True)
        with whole_file(folder / PROBES) as part:
            table[["stage", *table.columns[:-1]]].to_csv(part, index=False, float_format="%.6g")
        return folder / PROBES

    def _check_task(self, stage: Stage) -> None:
        trained_on = stage.about.task
        if trained_on != TaskRecord(name=self._task.name, settings=dict(self._task.settings)):
            raise InputError(
                f"{stage.folder} was trained on another task than {self._task.folder}.",
                have=f"{trained_on.name} {trained_on.settings}",
                fix="Give the folder of that task.",
            )


def _stage_of(one: Checkpoint) -> Stage | None:
    folder = Path(one.model)
    return read_stage(folder) if (folder / STAGE_FILE).is_file() else None


def _reading(stage: Stage, model: LanguageModel) -> LanguageModel:
    if stage.about.mode == COUPLED:
        raise InputError(
            f"{stage.folder} is a student with an emulator: its loss is not that of one model.",
            fix="Score stages of influence train stepwise, explicit-cot or no-cot.",
        )
    total = stage.about.total
    return read_as_trained(model, total, stage.side, stage.keep_positions)


def _facts(stage: Stage) -> dict[str, Any]:
    kept = ("mode", "examples", "seed", "capped", "target_accuracy", "answer_accuracy")
    facts = {name: getattr(stage.about, name) for name in kept if getattr(stage.about, name) is not None}
    return {"removed": stage.removed, "total": stage.about.total, "facts": facts}
