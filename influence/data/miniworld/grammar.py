"""Templates: `{a|b}` chooses, `<name>` is filled in. And the `Draft` and `Form` the document writers share."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influence.data.miniworld.problems import Problem
    from influence.data.miniworld.world import Fact, World

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_SLOT = re.compile(r"<([a-z_]+[0-9]?)>")


@dataclass(frozen=True, slots=True)
class Draft:
    """A text and what is true of it, before it becomes a document."""

    text: str
    facts: tuple[Fact, ...] = ()
    procedures: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """A family of documents.

    Args:
        name: Goes into the metadata.
        source: One of the eight source labels.
        share: Its weight among the forms of its source.
        write: Makes one document's draft from a seeded generator, the facts it is to state, and the world.
        n_facts: The most facts a document states; 0: it states none.
        procedure_form: How it shows a procedure: prose, maths, code or stackexchange; empty: it shows none.
    """

    name: str
    source: str
    share: int
    write: Callable[[Random, Sequence[Fact], World], Draft]
    n_facts: int = 0
    procedure_form: str = ""


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
