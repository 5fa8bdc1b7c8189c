"""Measure stages of internalisation: exact match and tokens of greedy answers, and speed one example at a time.

Everything lies in `RUN/evaluation/`: `manifest.json` (on what), `<stage>.jsonl` (each generation, in order, which is
also what a killed run goes on from) and `<stage>.json` (a stage that is done). `influence.analysis.internalization`
makes tables of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from influence.data.tasks.task import Example, Task
from influence.errors import InputError, StoreError
from influence.models.decode import decode_at_positions
from influence.models.load import LanguageModel, load_model
from influence.progress import Progress
from influence.provenance import provenance
from influence.store.artefact import claim, finish, forget_file
from influence.store.formats.records import convert, read_record, write_record
from influence.store.formats.training import (
    AGAIN,
    COUPLED,
    FOLDER,
    KIND,
    Conditions,
    EvaluationRecord,
    Measured,
    Sample,
    Speed,
)
from influence.store.lines import Lines
from influence.train.answering import Asked, Marked, Question, ask, mark
from influence.train.kd.models import load_coupled
from influence.train.settings import EvaluationSettings
from influence.train.stepwise.stages import Stage, find_stages

#: Right and wrong generations kept for the page, of each.
SAMPLES = 6

_WARM_UP = 2


def evaluate(
    folders: Sequence[Path],
    task: Task,
    *,
    no_cot: Path | None = None,
    settings: EvaluationSettings = EvaluationSettings(),
) -> list[Path]:
    """Evaluate stages, and the no-CoT model if there is one; what is done is not done again.

    Args:
        folders: Stages, or runs with all their stages.
        no_cot: The run (its last stage) or stage whose speed is 1; it is evaluated as well.

    Returns:
        The runs, each with an `evaluation` folder.

    Raises:
        InputError: a folder is no stage, `no_cot` writes a chain, the split is missing or no example fits the model.
        StoreError: a run was evaluated on other examples or in another precision.
    """
    stages = find_stages(folders)
    baseline = _baseline(no_cot) if no_cot is not None else None
    if baseline is not None and baseline.folder.resolve() not in {s.folder.resolve() for s in stages}:
        stages.append(baseline)
    examples = task.split(settings.split)[: settings.limit]
    started = time.monotonic()
    runs = list(dict.fromkeys(stage.run for stage in stages))
    manifests = {run: claim_folder(run, task, examples, settings) for run in runs}
    timer = _Timer(baseline, task, examples, settings)
    for stage in stages:
        _evaluate_stage(stage, task, examples, timer, settings)
    for run, manifest in manifests.items():
        finish(run / FOLDER, manifest, provenance(time.monotonic() - started, task=task.name))
    return runs


def _baseline(path: Path) -> Stage:
    """The stage whose speed is 1: the last of a run, or a stage itself. It has no chain of thought to write."""
    stage = find_stages([path])[-1]
    total = stage.about.total
    if stage.removed != total:
        raise InputError(
            f"{stage.folder} writes a chain of thought, so it is no measure of relative speed.",
            have=f"{stage.removed} of {total} removed",
            fix="Give a run of influence train no-cot, or a stage with everything removed.",
        )
    return stage


def claim_folder(
    run: Path, task: Task, examples: Sequence[Example], settings: EvaluationSettings
) -> dict[str, Any]:
    """The manifest of a run's evaluation on these examples."""
    lines = "\n".join(example.line() for example in examples)
    config = {
        "task": task.name,
        "task_settings": dict(task.settings),
        "split": settings.split,
        "examples": len(examples),
        "examples_sha256": hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest(),
        "dtype": settings.dtype,
    }
    try:
        return claim(run / FOLDER, KIND, config)
    except StoreError as error:
        raise StoreError(
            f"{run} was evaluated with other arguments.",
            have=error.have,
            fix=f"Use those arguments, or delete {run / FOLDER} to evaluate it anew.",
        ) from error


def _evaluate_stage(
    stage: Stage, task: Task, examples: Sequence[Example], timer: _Timer, settings: EvaluationSettings
) -> None:
    """Write `<stage>.json`, unless it is there already; the speed alone anew if it was measured against another."""
    path = stage.run / FOLDER / f"{stage.folder.name}.json"
    stored = read_record(path, EvaluationRecord, fix=AGAIN) if path.exists() else None
    if stored is not None and not _is_of(stored, stage):
        stored = None  # the stage was trained anew
    if stored is not None and stored.speed.how == timer.how:
        return
    model = _load(stage, settings)
    questions = ask(stage, examples, task, model)
    forget_file(path.parent, path.name)
    if stored is not None:
        stored.speed = timer.time(stage, questions, model)
    else:
        marked = _generations(stage, questions, model, settings.batch_size)
        stored = EvaluationRecord(
            digest=stage.digest,
            fingerprint=stage.fingerprint,
            about=stage.about,
            right="".join("1" if one.right else "0" for one in marked),
            positions=[one.positions for one in marked],
            tokens=[one.tokens for one in marked],
            samples=_samples(questions.questions, marked),
            measured=Measured(
                too_long=questions.too_long,
                most_new_tokens=questions.new_tokens,
                unfinished=sum(one.tokens >= questions.new_tokens for one in marked),
            ),
            speed=timer.time(stage, questions, model),
        )
    write_record(path, stored)


def _is_of(stored: EvaluationRecord, stage: Stage) -> bool:
    """Whether the evaluation is of the stage as it is now."""
    return stored.digest == stage.digest and stored.fingerprint in (None, stage.fingerprint)


def _load(stage: Stage, settings: EvaluationSettings) -> LanguageModel:
    """The model of a stage; that of ICoT-KD is two models that generate as one."""
    load = load_coupled if stage.about.mode == COUPLED else load_model
    return load(stage.folder, dtype=settings.dtype, device=settings.device)


def _generations(stage: Stage, questions: Asked, model: LanguageModel, batch_size: int) -> list[Marked]:
    """Every question's generation, marked, in their order: read where a killed run left it, else generated."""
    lines = Lines(stage.run / FOLDER / f"{stage.folder.name}.jsonl")
    known = _known(lines, stage.digest)
    left = [question for question in questions.questions if question.number not in known]
    left.sort(key=lambda question: len(question.prompt.tokens))
    total = len(questions.questions)
    with Progress(stage.folder.name, total, total - len(left), "example") as bar:
        for start in range(0, len(left), batch_size):
            some = left[start : start + batch_size]
            said = decode_at_positions(
                model.model, [one.prompt for one in some], questions.marks, questions.new_tokens
            )
            for question, ids in zip(some, said, strict=True):
                known[question.number] = mark(question, ids, questions, model)
            lines.append(*({"number": one.number, **dataclasses.asdict(known[one.number])} for one in some))
            bar.advance(len(some))
    return [known[question.number] for question in questions.questions]


def _known(lines: Lines, digest: str) -> dict[int, Marked]:
    """The generations of a stage by number of the example; of another training of the stage the file begins anew."""
    stored = lines.read()
    if not stored or stored[0] != {"stage": digest}:
        lines.rewrite([{"stage": digest}])
        return {}
    try:
        return {line.pop("number"): convert(line, Marked) for line in stored[1:]}
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise StoreError(
            f"{lines.path} holds other lines than generations.", have=str(error), fix=AGAIN
        ) from error


def _samples(questions: Sequence[Question], marked: Sequence[Marked]) -> list[Sample]:
    """The first right and the first wrong generations, with what was asked."""
    left = {True: SAMPLES, False: SAMPLES}
    samples = []
    for question, generation in zip(questions, marked, strict=True):
        if left[generation.right]:
            left[generation.right] -= 1
            example = question.example
            samples.append(
                Sample(
                    input=example.input,
                    answer=example.gold,
                    chain=example.chain,
                    right=generation.right,
                    said=generation.said,
                    generated=generation.generated,
                )
            )
    return samples


class _Timer:
    """Times stages one example at a time, by turns with the no-CoT model, so that a busy machine slows down both."""

    def __init__(
        self, baseline: Stage | None, task: Task, examples: Sequence[Example], settings: EvaluationSettings
    ) -> None:
        self._baseline, self._task, self._examples, self._settings = baseline, task, examples, settings
        self._loaded: tuple[LanguageModel, Asked] | None = None
        device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        name = torch.cuda.get_device_name() if device.startswith("cuda") else device
        #: What must be equal for a measurement to be of use again.
        self.how = Conditions(
            timed=settings.timed,
            baseline=baseline.digest if baseline is not None else None,
            device=name,
        )

    def time(self, stage: Stage, questions: Asked, model: LanguageModel) -> Speed:
        """Seconds of generation of each timed example, and those of the no-CoT model on the same."""
        count = min(self._settings.timed, len(questions.questions))
        places = np.unique(np.linspace(0, len(questions.questions) - 1, count).round().astype(int))
        timed = [questions.questions[place] for place in places]
        other = self._other()
        ready = {question.number: question for question in other[1].questions} if other else {}
        timed = [question for question in timed if not other or question.number in ready]
        seconds, baseline = [], []
        with Progress(f"{stage.folder.name}, one by one", len(timed), 0, "example") as bar:
            for question in [*timed[:_WARM_UP], *timed]:
                seconds.append(_seconds(question, questions, model))
                if other is not None:
                    baseline.append(_seconds(ready[question.number], other[1], other[0]))
                bar.advance(len(seconds) > min(_WARM_UP, len(timed)))
        warm = len(seconds) - len(timed)
        return Speed(
            how=self.how,
            threads=torch.get_num_threads(),
            seconds=seconds[warm:],
            baseline_seconds=None if other is None else baseline[warm:],
        )

    def _other(self) -> tuple[LanguageModel, Asked] | None:
        """The no-CoT model and its questions, loaded once."""
        if self._baseline is not None and self._loaded is None:
            settings = self._settings
            model = _load(self._baseline, settings)
            self._loaded = model, ask(self._baseline, self._examples, self._task, model)
        return self._loaded


def _seconds(question: Question, asked: Asked, model: LanguageModel) -> float:
    started = time.perf_counter()
    decode_at_positions(model.model, [question.prompt], asked.marks, asked.new_tokens)
    return time.perf_counter() - started
