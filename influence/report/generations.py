"""Right and wrong generations of some stages, with the words of an answer that are wrong marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from influence.analysis.internalization import StageEvaluation
from influence.report.text import clip

#: Stages whose generations are shown, and right and wrong ones of each.
MOST_STAGES, OF_EACH = 12, 3

_CHARACTERS = 2_000


@dataclass(frozen=True)
class Generation:
    """One generation as texts.

    Attributes:
        said: Pieces of the answer given, and whether each is wrong.
        generated: All that was written.
    """

    right: bool
    input: str
    answer: str
    said: list[tuple[bool, str]]
    generated: str


@dataclass(frozen=True)
class OfStage:
    """The generations shown of a stage."""

    name: str
    removed: int
    right: int
    examples: int
    generations: list[Generation]


def generations(stages: Sequence[StageEvaluation]) -> list[OfStage]:
    """Of the first, the last and some stages between: three right and three wrong generations."""
    return [
        OfStage(
            stage.name,
            stage.removed,
            int(stage.right_N.sum()),
            len(stage.right_N),
            [
                _shown(sample)
                for right in (True, False)
                for sample in [one for one in stage.samples if bool(one["right"]) == right][:OF_EACH]
            ],
        )
        for stage in spread(stages, MOST_STAGES)
    ]


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread, first and last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _shown(sample: dict[str, Any]) -> Generation:
    texts = {name: clip(str(sample[name]), _CHARACTERS) for name in ("input", "answer", "said", "generated")}
    return Generation(
        bool(sample["right"]),
        texts["input"],
        texts["answer"],
        marked(texts["said"], texts["answer"]),
        texts["generated"],
    )


def marked(said: str, answer: str) -> list[tuple[bool, str]]:
    """The words said, each with whether another word, or none, stands in its place in the answer.

    >>> marked("7 8 1", "7 9 1")
    [(False, '7'), (True, '8'), (False, '1')]
    """
    expected = answer.split()
    return [
        (place >= len(expected) or word != expected[place], word) for place, word in enumerate(said.split())
    ]
