"""Stepwise removal of System 2's trace, by the trainer of stepwise internalisation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from influence.data.chains.task import TASK_FILE, read_task
from influence.distill.internalisers.lesson import Lesson, digest
from influence.distill.internalisers.settings import TuneSettings
from influence.files import whole_file
from influence.provenance import provenance
from influence.store.artefact import claim, write_json
from influence.train.stepwise.run import internalize
from influence.train.stepwise.settings import Settings
from influence.train.stepwise.stages import find_stages

#: Share of the lessons that the trainer checks itself on, and the most of them.
_VALID_SHARE, _MOST_VALID = 0.1, 256


def remove_traces(
    model: str, lessons: Sequence[Lesson], out: Path, settings: TuneSettings, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Train on prompt, trace and answer while the trace goes; `out` is the last stage.

    Its `stage.json` says how it must be asked.
    """
    part = out.with_name(out.name + ".part")
    claim(part, "tuning", {"settings": asdict(settings), "model": model, "lessons": digest(lessons)})
    task = read_task(_write_task(lessons, part / "task", settings.seed))
    record = internalize(
        task,
        model,
        part / "run",
        Settings(
            delta=settings.delta,
            adaptive=settings.adaptive,
            cap=settings.epochs,
            side=settings.side,
            keep_positions=settings.keep_positions,
            after_epochs=settings.epochs,
            batch_size=settings.batch_size,
            lr=settings.lr,
            seed=settings.seed,
            dtype=settings.dtype,
            lora_rank=settings.lora_rank,
            stage_every=10**6,  # only the last is of use here
        ),
        tell=tell,
    )
    last = find_stages([part / "run"])[-1].folder
    facts = provenance(record["seconds"], settings=asdict(settings), examples=len(lessons), run=record)
    write_json(last / "training.json", facts)
    (part / "run" / "metrics.jsonl").replace(last / "metrics.jsonl")
    last.replace(out)
    shutil.rmtree(part)
    return facts


def _write_task(lessons: Sequence[Lesson], folder: Path, seed: int) -> Path:
    """The lessons in the format of a task with chains; some, drawn, to validate. Equal inputs share a split."""
    folder.mkdir(exist_ok=True)
    prompts = list(dict.fromkeys(lesson.prompt for lesson in lessons))
    count = max(1, min(_MOST_VALID, round(_VALID_SHARE * len(prompts))))
    drawn = np.random.default_rng([seed, 51]).permutation(len(prompts))[:count]
    held_out = {prompts[i] for i in drawn.tolist()}
    for split, wanted in (("train", False), ("valid", True)):
        with whole_file(folder / f"{split}.jsonl") as part, part.open("w", encoding="utf-8") as file:
            for lesson in lessons:
                if (lesson.prompt in held_out) == wanted:
                    record = {"input": lesson.prompt, "chain": lesson.trace, "answer": lesson.completion}
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
    write_json(folder / TASK_FILE, {"name": "traces of System 2", "step_pattern": None, "settings": {}})
    return folder
