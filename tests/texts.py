"""Small corpora and queries over the alphabet of `tiny.character_tokenizer`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence

from influence.types import Document, Query

LETTERS = "abcdefgh 0123+-=."


class MemoryCorpus:
    """Documents held in a list, as the engine wants them."""

    def __init__(self, documents: Sequence[Document], name: str = "memory") -> None:
        self.name = name
        self.documents = list(documents)
        self.bad, self.unkept = 0, Counter[str]()

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)


def random_text(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(length))


def random_documents(count: int, *, seed: int = 0, shortest: int = 2, longest: int = 30) -> list[Document]:
    """Documents of different lengths, so that every batch has padding."""
    rng = random.Random(seed)
    return [
        Document(f"d{i}", random_text(rng, rng.randint(shortest, longest)), rng.choice(("wiki", "code")))
        for i in range(count)
    ]


def random_queries(count: int, *, seed: int = 100) -> list[Query]:
    rng = random.Random(seed)
    return [
        Query(
            f"q{i}",
            "task",
            "factual",
            random_text(rng, rng.randint(3, 12)),
            random_text(rng, rng.randint(1, 8)),
        )
        for i in range(count)
    ]
