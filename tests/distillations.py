"""A finished distillation without any training: sampled and filtered for real, answers as they might be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pretended import Pretender

from influence.data.tasks.makers.last_letter import last_letter
from influence.data.tasks.task import Example
from influence.distill.filter import filter_traces
from influence.distill.sample import Plan, sample
from influence.distill.settings import Recipe
from influence.distill.systems import named_system
from influence.store.artefact import claim, finish
from influence.store.formats.distillation import (
    DISTILLATION,
    DISTILLED,
    GOLD,
    NO_FILTER,
    ONE_SAMPLE,
    SELF,
    SUMMARY_FILE,
    SYSTEM_1,
    SYSTEM_2,
    Answer,
    DistillationSummary,
    write_answers,
)
from influence.store.formats.records import write_record

#: Right answers of 40, tokens an input.
MODELS = {
    SYSTEM_1: (6, 2),
    ONE_SAMPLE: (30, 24),
    SYSTEM_2: (38, 190),
    DISTILLED: (37, 2),
    NO_FILTER: (33, 2),
    SELF: (8, 2),
    GOLD: (39, 2),
}
_WORDINGS = ("as tuned", "please", "question-answer")


def write_distillation(
    folder: Path, *, hostile: str = "", judged: bool = False, right: dict[str, int] | None = None
) -> Path:
    """Write a run of 12 inputs to learn from and 40 to test on.

    Args:
        hostile: A text put into inputs, answers and what the model wrote.
        judged: The test inputs are pairs that were asked in both orders too.
        right: Right answers by model, where they differ.
    """
    items = [_hostile(item, hostile) for item in last_letter(1, {"train": 12}).split("train")]
    recipe = Recipe()
    plan = Plan(samples=4)
    manifest = claim(folder, DISTILLATION, {"task": {"name": hostile or "last-letter"}})
    system = named_system("rar2")
    sampled = sample(items, system, Pretender(wrong_every=3), folder / "samples", kind="letters", plan=plan)
    sums = filter_traces(folder / "samples", folder / "pairs")
    for model, (count, tokens) in MODELS.items():
        count = (right or {}).get(model, count)
        write_answers(
            [
                Answer(
                    model,
                    wording,
                    swapped,
                    str(n),
                    "A" if (n + swapped) % 5 else "B",
                    n + shift < count,
                    tokens,
                    hostile,
                )
                for swapped in ((False, True) if judged else (False,))
                for shift, wording in enumerate(
                    _WORDINGS if model in (SYSTEM_1, DISTILLED) else _WORDINGS[:1]
                )
                for n in range(40)
            ],
            folder,
            model.lower().replace(" ", "-"),
        )
    filter_, samples, sampling = plan.of(system)
    config = {
        "task": {"name": hostile or "last-letter", "kind": "letters", "settings": {}},
        "system": "rar2",
        "model": hostile or "pretender",
        "filter": filter_,
        "target": system.target,
        "samples": samples,
        "sampling": dataclasses.asdict(sampling),
        "tune": dataclasses.asdict(recipe.tune),
    }
    summary = DistillationSummary(
        config=config,
        filter=sums,
        no_control={SELF: hostile} if hostile else {},
        inputs={"train": 12, "test": 40},
        tokens_per_input=sampled.tokens_per_input,
    )
    write_record(folder / SUMMARY_FILE, summary)
    finish(folder, manifest, {"seconds": 1, "command": hostile or "influence distill"})
    return folder


def _hostile(item: Example, text: str) -> Example:
    return dataclasses.replace(item, input=f"{item.input} {text}".strip(), answer=text or item.answer)
