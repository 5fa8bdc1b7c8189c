"""Last-letter concatenation: two words, their last letters in a row. Published sizes: 200 pairs a split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from influence.data.tasks.records import Record, field_text, read_records
from influence.data.tasks.task import SPLITS, Example, Split, Task
from influence.errors import InputError

SIZES: dict[Split, int] = {"train": 200, "valid": 200, "test": 200}

_WORDS = 2


def last_letter(seed: int = 0, sizes: dict[Split, int] | None = None) -> Task:
    """The task made here. Every word stands in one pair of one split only, as long as the words suffice.

    With more pairs than that each split has words of its own, in proportion to its size, which it uses again.
    """
    sizes = sizes or SIZES
    words = english_words()
    words = [words[i] for i in np.random.default_rng([seed, 11]).permutation(len(words))]
    total = sum(sizes.values())
    splits: dict[Split, tuple[Example, ...]] = {}
    start = 0.0
    for number, split in enumerate(split for split in SPLITS if sizes.get(split)):
        share = len(words) * sizes[split] / total
        own = words[round(start) : round(start + share)]
        start += share
        pairs = _pairs(own, sizes[split], np.random.default_rng([seed, 12, number]))
        splits[split] = tuple(_item(f"{split}-{n}", pair) for n, pair in enumerate(pairs))
    return Task("last-letter", "letters", splits, settings={"seed": seed, "sizes": dict(sizes)})


def from_file(path: Path) -> tuple[Example, ...]:
    """The items of a file in the published format: a `question` with the words in quotes, an `answer`."""
    return tuple(_read(record) for record in read_records(path))


def english_words() -> list[str]:
    """Ordinary English words, a list of our own."""
    return (files("influence.data.tasks") / "texts" / "words.txt").read_text(encoding="utf-8").split()


def _pairs(words: Sequence[str], count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """So many different pairs: each word once as long as they suffice, then the words again in another order."""
    if count > len(words) * (len(words) - 1):
        raise InputError("There are too few words.", have=f"{len(words):,} words, {count:,} pairs are wanted")
    pairs: dict[tuple[str, str], None] = {}
    while len(pairs) < count:
        order = rng.permutation(len(words))[: len(words) // _WORDS * _WORDS].reshape(-1, _WORDS)
        for first, second in order.tolist():
            if len(pairs) < count:
                pairs[words[first], words[second]] = None
    return list(pairs)


def _item(id_: str, words: Sequence[str]) -> Example:
    question = f'Take the last letters of the words in "{" ".join(words)}" and concatenate them.'
    answer = "".join(word[-1] for word in words).lower()
    return Example(id_, question, answer=answer, fields={"words": " ".join(words)})


def _read(record: Record) -> Example:
    question = field_text(record, "question")
    quoted = re.search(r'["“]([^"”]+)["”]', question)
    if quoted is None:
        raise InputError(f"{record.where} has no words in quotes.", have=repr(question[:100]))
    return Example(
        record.id, question, answer=field_text(record, "answer"), fields={"words": quoted.group(1)}
    )
