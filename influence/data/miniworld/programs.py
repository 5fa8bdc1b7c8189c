"""Programs that implement the procedures, and others: the texts of `texts/code.toml`."""

from __future__ import annotations

from random import Random

from influence.data.miniworld.filler import filler
from influence.data.miniworld.grammar import say, texts

#: By language and procedure; under `other`, programs that compute none of the procedures.
PROGRAMS = texts("code")
_NAMES = {slot: choices.split() for slot, choices in PROGRAMS["names"].items()}


def comment(language: str, rng: Random) -> str:
    """A line of comment about something else."""
    mark = {"python": "#", "javascript": "//"}[language]
    return say(rng, mark + " {Note|Written|Last change|Context|Aside}: ") + filler(rng, 1, 1)


def names(rng: Random) -> dict[str, str]:
    """One name for each identifier of a program."""
    return {slot: rng.choice(choices) for slot, choices in _NAMES.items()}
