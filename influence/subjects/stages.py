"""Stages of internalisation as checkpoints to score: how each is opened, what it reads, and what it is asked.

A stage reads texts as it did in training: its positions kept where they were, and the input given, not predicted. Both
follow from the tokens of a text alone, so a model that reads so goes through every pass of the engine as any other. A
text without two separators has the positions it has, and one without any is predicted whole.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from influence.data.tasks.task import Task
from influence.engine.checkpoints import Checkpoint, Opened
from influence.errors import InputError
from influence.files import whole_file
from influence.models.load import DType, LanguageModel, load_model
from influence.store.checkpoints import PROBES
from influence.store.formats.training import COUPLED, STAGE_FILE, TaskRecord
from influence.subjects.probes import probe_table
from influence.subjects.questions import ENDINGS, Texts, asked_examples, predicted, stage_queries
from influence.train.stepwise.sequences import separator
from influence.train.stepwise.settings import Side
from influence.train.stepwise.stages import Stage, read_stage
from influence.types import Query

#: A log-probability of all other tokens where a token is given: exp of it is 0.
_NEVER = -1e4


def kept_positions(
    ids_BT: torch.Tensor, separator: int, total: int, side: Side, positions: int | None = None
) -> torch.Tensor:
    """Positions of texts whose chain has lost some of its `total` tokens, as `removal.drop_cot` keeps them: `[B, T]`.

    What follows the cut stands so many places further as tokens are missing between the two separators.

    Args:
        positions: Of the model; padding is kept below it.
    """
    place_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    number_BT = (ids_BT == separator).cumsum(1)
    chain_B = ((number_BT == 1).sum(1) - 1).clamp(min=0)
    gap_B = torch.where(number_BT[:, -1] >= 2, (total - chain_B).clamp(min=0), 0)
    first_BT = (number_BT == 1) & (ids_BT == separator)
    after_BT = (number_BT >= 2) if side == "right" else (number_BT >= 1) & ~first_BT
    position_BT = place_T + gap_B[:, None] * after_BT
    return position_BT if positions is None else position_BT.clamp(max=positions - 1)


def given(ids_BT: torch.Tensor, separator: int) -> torch.Tensor:
    """Which logits predict a token of the input or the first separator, `[B, T]`; none where there is no separator."""
    before_BT = (ids_BT == separator).cumsum(1) == 0
    return before_BT & ~before_BT[:, -1:]


def read_as_trained(model: LanguageModel, total: int, side: Side, keep_positions: bool) -> LanguageModel:
    """A view of the model that gives the input probability 1 and keeps positions if it was trained so.

    The view shares parameters and modules with the model, which itself stays as it is: no hook, no entry of its
    configuration. The view's configuration says how it reads, and with it its fingerprint, so that stores of a model
    that reads otherwise do not mix with those of this one.

    Args:
        total: Tokens of a whole chain.
    """
    mark = separator(model.tokenizer)
    net = _view(model.model)
    net.config.influence_reading = {"given": "input", "kept": [total, side] if keep_positions else None}
    context = getattr(net.config, "max_position_embeddings", None)

    def before(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        ids_BT = named["input_ids"]
        position_BT = kept_positions(ids_BT, mark, total, side, context)
        return arguments, named | {"position_ids": position_BT, "attention_mask": torch.ones_like(ids_BT)}

    def after(module: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        ids_BT, logits_BTV = named["input_ids"], output.logits
        sure_BTV = torch.full_like(logits_BTV, _NEVER).scatter_(2, ids_BT.roll(-1, 1)[..., None], 0.0)
        output.logits = torch.where(given(ids_BT, mark)[..., None], sure_BTV, logits_BTV)
        return output

    if keep_positions:
        net.register_forward_pre_hook(before, with_kwargs=True)
    net.register_forward_hook(after, with_kwargs=True)
    return LanguageModel(net, model.tokenizer, model.name)


def _view(net: Any) -> Any:
    """A model of the same parameters and modules with hooks and a configuration of its own."""
    view = copy.copy(net)
    for name, value in vars(net).items():
        if name.startswith("_forward_") and isinstance(value, dict):
            setattr(view, name, value.copy())
    view.config = copy.deepcopy(net.config)
    return view


#: Examples asked of each stage.
ASKED = 40
#: Examples that the accuracy of a stage is measured on.
ACCURACY_EXAMPLES = 1000


def plain_opener(
    queries: Sequence[Query],
    *,
    completions_by: str | None = None,
    base: str | None = None,
    dtype: DType = "float32",
    device: str | None = None,
) -> Callable[[Checkpoint], Opened]:
    """Opens any checkpoint; the same queries for all. A stage of internalisation reads as it was trained.

    Args:
        base: Model that checkpoints which are adapters are for; default what they say themselves.
        completions_by: Name of the model that wrote the completions; None: not known.
    """

    def open_checkpoint(one: Checkpoint) -> Opened:
        model = load_model(one.model, base=base, dtype=dtype, device=device, revision=one.revision)
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
