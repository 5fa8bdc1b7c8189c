"""A world of short documents, each of which states one fact, and queries whose completion is the fact's value."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from influence.data.miniworld.world import Fact, fact
from influence.types import Document, Query

#: Documents that state a fact: its number, modulo their length, says how many.
_TOLD = (1, 2, 3)


def places(documents: int) -> list[int]:
    """The number of the fact that each document states."""
    told: list[int] = []
    number = 0
    while len(told) < documents:
        told += [number] * _TOLD[number % len(_TOLD)]
        number += 1
    return told[:documents]


def documents_of(count: int, seed: int) -> Iterator[Document]:
    """Documents in an order of the seed: a fact in a wording of its own, and to half of them a sentence around it."""
    rng = Random(seed)
    order = places(count)
    rng.shuffle(order)
    for place, number in enumerate(order):
        told = fact(number)
        about = told.about(rng, 1) if rng.random() < 0.5 else []
        text = " ".join([told.state(rng), *about])
        yield Document(f"d{place:03d}", text, "statements", {"facts": [told.id]})


def queries_of(documents: list[Document], count: int) -> list[Query]:
    """The first facts, each as a sentence whose beginning is the prompt and whose value is the completion.

    Gold documents are those that state the fact; some are in other words.
    """
    stated: dict[str, list[str]] = {}
    for document in documents:
        for name in document.metadata["facts"]:
            stated.setdefault(name, []).append(document.id)
    queries: list[Query] = []
    number = 0
    while len(queries) < count:
        told = fact(number)
        number += 1
        prompt, completion = split(told)
        queries.append(
            Query(told.id, "statement", "factual", prompt, completion, gold=tuple(stated.get(told.id, ())))
        )
    return queries


def split(told: Fact) -> tuple[str, str]:
    """The sentence that states a fact, before its value and from it on."""
    text = told.state()
    at = text.index(told.spellings[0])
    return text[:at].rstrip(), " " + text[at:]
