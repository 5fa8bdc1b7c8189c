"""What can fail in a tuning, found before anything is paid for: lengths, the pace of removal, room on the disk."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from influence.data.chats import as_message
from influence.data.tokens import tokenise
from influence.distill.lessons import Lesson
from influence.distill.settings import TuneSettings
from influence.errors import InputError
from influence.models.load import LanguageModel, load_model

_logger = logging.getLogger(__name__)

#: Tokens of a lesson besides its texts at most: BOS, separators, the mark before an answer, EOS.
_FRAME = 12
#: Bytes on disk for a parameter: of a finished model, and of a state to resume from (weights and two moments).
_BYTES_MODEL, _BYTES_STATE = 4, 12
_NAMED = 5


def check_tuning(
    weights: str | Path, prompts: Mapping[str, str], settings: TuneSettings, out: Path, models: int
) -> None:
    """Refuse a tuning that cannot work, whatever System 2 answers.

    Args:
        weights: The model to tune.
        prompts: Id of an input -> what System 1 is asked.
        settings: Of the tuning.
        out: Where the models will lie.
        models: How many there will be.

    Raises:
        InputError: An input is longer than the model's positions, an epoch has fewer steps than `--delta` removes
            tokens, or the disk is too small.
        ModelError: The weights cannot be loaded.
    """
    base = load_model(weights)
    fitting([Lesson(id_, prompt, "") for id_, prompt in prompts.items()], base, settings)
    if settings.way == "stepwise" and not settings.adaptive:
        steps = -(-len(prompts) // settings.batch_size)
        if settings.delta > steps:
            raise InputError(
                "--delta is at most the optimizer steps of an epoch.",
                have=f"Δ = {settings.delta:g}; {len(prompts):,} inputs give {steps:,} steps, if all are kept",
                fix="Choose a smaller --delta or --tune-batch, give more inputs, or --adaptive.",
            )
    count = sum(parameter.numel() for parameter in base.model.parameters())
    state = 0 if settings.lora_rank is not None else count * _BYTES_STATE
    needed = models * count * _BYTES_MODEL + state
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"The disk of {place} has no room for what is tuned.",
            have=f"{free / 1e9:,.1f} GB free, {needed / 1e9:,.1f} GB for {models} models and a state to resume from",
            fix="Give an --out on another disk, or leave the controls out (--no-controls).",
        )


def fitting(lessons: Sequence[Lesson], base: LanguageModel, settings: TuneSettings) -> list[Lesson]:
    """The lessons that are not longer than `settings.longest`; those left out are named.

    Raises:
        InputError: One of the others is longer than the model's positions, or none is left.
    """
    positions = getattr(base.model.config, "max_position_embeddings", None)
    texts = [_text(lesson, base, settings) for lesson in lessons]
    lengths = [len(tokens.ids) + _FRAME for tokens in tokenise(base.tokenizer, texts, ends=False)]
    if settings.way == "context":
        lengths = [length + settings.max_tokens for length in lengths]
    kept = [settings.longest is None or length <= settings.longest for length in lengths]
    if dropped := [lesson.id for lesson, keep in zip(lessons, kept, strict=True) if not keep]:
        _logger.info(
            f"{len(dropped):,} lessons of over {settings.longest} tokens are left out: {_named(dropped)}"
        )
    fit = [lesson for lesson, keep in zip(lessons, kept, strict=True) if keep]
    if not fit:
        raise InputError(
            "Every lesson is too long.",
            have=f"the shortest has {min(lengths):,} tokens",
            fix="Choose a larger --longest.",
        )
    long = [
        lesson.id
        for lesson, keep, length in zip(lessons, kept, lengths, strict=True)
        if keep and positions is not None and length > positions
    ]
    if long:
        raise InputError(
            f"{len(long):,} of {len(lessons):,} lessons are longer than the {positions:,} positions of the model.",
            have=_named(long),
            fix=f"Leave them out by --longest {positions}, or take a model with more positions.",
        )
    return fit


def _text(lesson: Lesson, base: LanguageModel, settings: TuneSettings) -> str:
    """All that a model reads of a lesson in this way of tuning."""
    if settings.way == "stepwise":
        return f"{lesson.prompt} {lesson.trace} {lesson.completion}"
    read = lesson.context if settings.way == "context" and lesson.context else lesson.prompt
    return as_message(base.tokenizer, read) + lesson.completion


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else "")
