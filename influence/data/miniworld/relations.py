"""What the world is about: the relations of `texts/relations.toml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from influence.data.miniworld.grammar import texts


@dataclass(frozen=True, slots=True)
class Relation:
    """One question that can be asked of every thing of a kind. The first wordings are those of the queries."""

    name: str
    kind: str
    field: str
    answer: str
    questions: Sequence[str]
    statements: Sequence[str]
    about: Sequence[str]
    foreign: Mapping[str, Sequence[str]]


RELATIONS = tuple(Relation(**record) for record in texts("relations")["relation"])
