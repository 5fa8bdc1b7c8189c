"""The words of the world: templates (`{a|b}` chooses, `<name>` is filled in), filler, programs and invented names.

A name or title is a function of its number: nothing is stored, and none comes twice.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from random import Random
from typing import Any

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_SLOT = re.compile(r"<([a-z_]+[0-9]?)>")


def texts(name: str) -> dict[str, Any]:
    """The template texts of `texts/<name>.toml`."""
    return tomllib.loads((files("influence.data.miniworld") / "texts" / f"{name}.toml").read_text("utf-8"))


def say(rng: Random, template: str, slots: Mapping[str, object] | None = None) -> str:
    """Resolve the choices, innermost first, then fill in the slots. Braces without `|` stay as they are."""
    while _CHOICE.search(template):
        template = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
    return _SLOT.sub(lambda match: str(slots[match[1]]), template) if slots is not None else template


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def sentences(
    rng: Random, bank: Sequence[str], count: int, slots: Mapping[str, object] | None = None
) -> list[str]:
    """`count` different sentences of a bank (all of them, if it holds fewer), in random order."""
    return [sentence(say(rng, template, slots)) for template in rng.sample(bank, min(count, len(bank)))]


def paragraph(*parts: str) -> str:
    """Sentences joined to one paragraph; empty ones vanish."""
    return " ".join(part for part in parts if part)


_GRAMMAR = texts("filler")
_OPENED_SHARE = 0.25


def filler(rng: Random, least: int, most: int) -> str:
    """A paragraph of `least` to `most` sentences; empty if that is none."""
    count = rng.randint(least, most)
    slots = _Drawn(rng)
    return paragraph(*(sentence(say(rng, one, slots)) for one in rng.sample(_GRAMMAR["sentences"], count)))


def opened(rng: Random, text: str) -> str:
    """The sentence, now and then behind an opener such as "As it happens,"."""
    if rng.random() > _OPENED_SHARE:
        return sentence(text)
    return sentence(say(rng, rng.choice(_GRAMMAR["openers"]), _Drawn(rng))) + " " + text


class _Drawn(dict[str, object]):
    """Slots that are drawn from the list of their name when they are first asked for, `<person>` once for all."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng

    def __missing__(self, slot: str) -> str:
        text = say(self._rng, self._rng.choice(_GRAMMAR[slot]), self)
        if slot == "person":
            self[slot] = text
        return text


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


_PARTS = {key: words.split() for key, words in texts("names").items()}
#: A name has two, three or five parts; the short ones first, so that a small world has names of few tokens.
_PATTERNS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1_009, ("starts", "ends")),
    (10_007, ("starts", "middles", "ends")),
    (1_000_003, ("starts", "middles", "links", "middles", "ends")),
)
_TITLES = (
    ("The {} {}", "title_adjectives", "title_things"),
    ("The {}'s {}", "title_people", "title_things"),
    ("A {} for the {}", "title_things", "title_people"),
)


def word(number: int) -> str:
    """The invented name with this number: the first 1,700 have two parts; all are different up to five million."""
    pattern = 0
    while pattern < len(_PATTERNS) - 1 and number >= _size(*_PATTERNS[pattern][1]):
        number -= _size(*_PATTERNS[pattern][1])
        pattern += 1
    stride, parts = _PATTERNS[pattern]
    return "".join(_entries(number * stride % _size(*parts), *parts))


def person(first: int, last: int) -> str:
    """A first name, and the invented name `last` for a surname."""
    first_names = _PARTS["first_names"]
    return f"{first_names[first % len(first_names)]} {word(last)}"


def title(number: int, unused: int) -> str:
    """The book title with this number; when all titles are given away, one that holds the name `unused`."""
    number, turn = divmod(number, len(_TITLES))
    pattern, first, second = _TITLES[turn]
    size = _size(first, second)
    one, other = _entries(number * 7_919 % size, first, second)
    if number >= size:
        return f"The {other} of {word(unused)}"
    return pattern.format(one, other).replace("A A", "An A").replace("A E", "An E").replace("A O", "An O")


def _size(*parts: str) -> int:
    size = 1
    for part in parts:
        size *= len(_PARTS[part])
    return size


def _entries(number: int, *parts: str) -> list[str]:
    """One entry of each list: the number in mixed base."""
    chosen = []
    for part in parts:
        number, digit = divmod(number, len(_PARTS[part]))
        chosen.append(_PARTS[part][digit])
    return chosen
