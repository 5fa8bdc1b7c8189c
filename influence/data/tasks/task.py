"""A task to distil on: its splits, and how an answer is read out of what a model wrote and compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from influence.data.chains.task import SPLITS, Split
from influence.data.tasks.extract import Kind, read_answer
from influence.data.tasks.item import Item
from influence.errors import InputError


@dataclass(frozen=True)
class QuestionTask:
    """Questions in splits that share no input.

    Attributes:
        name: last-letter, coin-flip, biased, judging, gsm8k or own.
        kind: How an answer is read.
        splits: Name -> items; a split that is not there is absent.
        settings: What made it.
    """

    name: str
    kind: Kind
    splits: Mapping[Split, Sequence[Item]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.name, self.splits)

    def items(self, split: Split) -> Sequence[Item]:
        """The items of a split; InputError where it is missing."""
        if split not in self.splits:
            raise InputError(
                f"The task {self.name} has no {split} split.", have=", ".join(self.splits) or "no split"
            )
        return self.splits[split]

    def read(self, item: Item, text: str) -> str | None:
        """The answer that `text` gives to `item`; None where it gives none or several."""
        return answer_of(self.kind, item, text)

    def right(self, item: Item, answer: str | None) -> bool | None:
        """Whether an answer that was read is the right one; None where nobody knows."""
        return None if item.answer is None else answer is not None and answer == self.read(item, item.answer)


def answer_of(kind: Kind, item: Item, text: str) -> str | None:
    """The answer a text gives to an item, in a form that equal answers share.

    Other names of the right answer, in the item's field `same` (one a line), count as it.
    """
    if kind == "letters":
        return read_answer(text, kind, item.fields.get("words", "").split())
    if kind != "option":
        return read_answer(text, kind)
    same = [name for name in item.fields.get("same", "").splitlines() if name not in item.choices]
    found = read_answer(text, kind, [*item.choices, *same])
    return item.answer if found in same else found


def _check(name: str, splits: Mapping[Split, Sequence[Item]]) -> None:
    """Refuse an empty split, an id that stands twice, and an input in two splits."""
    seen: dict[str, Split] = {}
    for split, items in splits.items():
        if not items:
            raise InputError(f"The {split} split of the task {name} is empty.")
        ids = [item.id for item in items]
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise InputError(
                f"Two items of the {split} split have the id {twice!r}.", fix="Give each its own."
            )
        for item in items:
            if seen.get(item.input, split) != split:
                raise InputError(
                    f"The {seen[item.input]} and the {split} split of the task {name} overlap.",
                    have=repr(item.input[:100]),
                    fix="Remove that input from one of them: what a model was trained on cannot test it.",
                )
            seen[item.input] = split


def in_splits(items: Iterable[Item], sizes: Mapping[Split, int]) -> dict[Split, tuple[Item, ...]]:
    """One item after the other into splits of these sizes, in the order train, valid, test."""
    left = list(items)
    wanted = sum(sizes.values())
    if len(left) < wanted:
        raise InputError("There are too few inputs.", have=f"{len(left):,}, {wanted:,} are wanted")
    splits: dict[Split, tuple[Item, ...]] = {}
    for split in SPLITS:
        if count := sizes.get(split, 0):
            splits[split], left = tuple(left[:count]), left[count:]
    return splits
