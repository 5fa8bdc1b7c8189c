"""What the writers of documents share: the `Draft` one writes, and the `Form` it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from influence.data.miniworld.problems import Problem
from influence.data.miniworld.world import Fact, World


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
