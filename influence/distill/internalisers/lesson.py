"""What one kept input teaches: the question as System 1 is asked it, the answer, and how System 2 came to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from influence.errors import InputError


@dataclass(frozen=True, slots=True)
class Lesson:
    """One input with the answer that System 2 and its filter gave it.

    Attributes:
        id: Of the input.
        prompt: What System 1 is asked.
        completion: The answer to learn.
        trace: What System 2 wrote before the answer, as one text; may be empty where only the answer is used.
        context: What the model read right before it wrote the answer: the prompt of System 2's last step, and what it
            had written of its reply by then.
    """

    id: str
    prompt: str
    completion: str
    trace: str = ""
    context: str = ""


def digest(lessons: Sequence[Lesson]) -> str:
    """SHA-256 of all that the lessons say."""
    sha = hashlib.sha256()
    for lesson in lessons:
        sha.update(json.dumps(asdict(lesson), sort_keys=True).encode())
    return sha.hexdigest()


def check(lessons: Sequence[Lesson], needs: Iterable[str]) -> None:
    """Refuse lessons without what an internaliser learns from.

    Raises:
        InputError: There is none, or one lacks a part; says which.
    """
    if not lessons:
        raise InputError("There is nothing to learn from.", fix="Look at what the filter dropped, and why.")
    for name in needs:
        without = [lesson.id for lesson in lessons if not getattr(lesson, name).strip()]
        if without:
            raise InputError(
                f"{len(without):,} of {len(lessons):,} lessons have no {name}.",
                have=", ".join(without[:5]),
                fix="Leave them out, or choose a way that does without: answer-only.",
            )
