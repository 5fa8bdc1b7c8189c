"""From lessons and a model to a model that answers at once: the one interface of all internalisers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from influence.data.examples import Example
from influence.distill.internalisers.context import distil_context
from influence.distill.internalisers.lesson import Lesson, check
from influence.distill.internalisers.settings import TuneSettings
from influence.distill.internalisers.stages import remove_traces
from influence.models.load import LanguageModel, load_model
from influence.train.core.loop import must_not_exist
from influence.train.sft import sft

#: What each way needs of a lesson besides prompt and completion.
_NEEDS = {"answer-only": (), "stepwise": ("trace",), "context": ("context",)}


def silent(line: str) -> None:
    """Tell nobody."""


def internalise(
    model: str | Path,
    lessons: Sequence[Lesson],
    out: Path,
    settings: TuneSettings,
    tell: Callable[[str], None] = silent,
) -> dict[str, Any]:
    """Train a model to answer as System 2 did, without its trace.

    Works in `<out>.part/`; `out` appears at the end with model, tokenizer and `training.json`. The same call after a
    kill goes on.

    Args:
        model: The model that wrote the traces, as it is now; it is not changed.
        lessons: What was kept.
        out: A folder that does not exist yet.
        settings: Which way, and how.
        tell: Takes lines of progress.

    Returns:
        What `training.json` says.

    Raises:
        InputError: `out` exists, no lessons, or lessons without what the way needs.
        StoreError: `<out>.part/` belongs to another run.
        ComputeError: The loss is not finite.
    """
    must_not_exist(out)
    check(lessons, ("prompt", "completion", *_NEEDS[settings.way]))
    if settings.way == "stepwise":
        return remove_traces(str(model), lessons, out, settings, tell)
    base = load_model(model)
    if settings.way == "context":
        return distil_context(base, lessons, out, settings, tell)
    return _answer_only(base, lessons, out, settings)


def _answer_only(
    base: LanguageModel, lessons: Sequence[Lesson], out: Path, settings: TuneSettings
) -> dict[str, Any]:
    examples = [Example(_as_asked(base, lesson.prompt), lesson.completion) for lesson in lessons]
    longest = max(
        len(ids) for ids in base.tokenizer([one.prompt + one.completion for one in examples])["input_ids"]
    )
    return sft(
        base,
        examples,
        out,
        epochs=settings.epochs,
        lr=settings.lr,
        batch_tokens=settings.batch_size * (longest + 2),  # BOS, EOS
        seed=settings.seed,
        dtype=settings.dtype,
        lora_rank=settings.lora_rank,
    )


def _as_asked(base: LanguageModel, prompt: str) -> str:
    """The prompt as a generator gives it to the model: within its chat template where it has one."""
    if not base.tokenizer.chat_template:
        return prompt
    message = [{"role": "user", "content": prompt}]
    return str(base.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
