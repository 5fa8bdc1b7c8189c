"""Coin flip: two people each flip a coin or do not; is it still heads up? Published sizes: 20k / 3.33k / 1.33k."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import numpy as np

from influence.data.tasks.records import Record, field_text, read_records
from influence.data.tasks.task import Example, Split, Task, in_splits
from influence.errors import InputError

SIZES: dict[Split, int] = {"train": 20_000, "valid": 3_330, "test": 1_330}

_PEOPLE = 2


def coin_flip(seed: int = 0, sizes: dict[Split, int] | None = None) -> Task:
    """The task made here; no two inputs are equal."""
    sizes = sizes or SIZES
    names = people()
    count, outcomes = sum(sizes.values()), 2**_PEOPLE
    most = len(names) * (len(names) - 1) * outcomes
    if count > most:
        raise InputError("There are too few names.", have=f"{most:,} inputs, {count:,} are wanted")
    rng = np.random.default_rng([seed, 21])
    items = []
    for number, code in enumerate(rng.choice(most, count, replace=False).tolist()):
        pair, flips = divmod(code, outcomes)
        first, second = divmod(pair, len(names) - 1)
        second += second >= first
        items.append(_item(str(number), [names[first], names[second]], [bool(flips & 1), bool(flips & 2)]))
    return Task("coin-flip", "yes-no", in_splits(items, sizes), settings={"seed": seed, "sizes": dict(sizes)})


def from_file(path: Path) -> tuple[Example, ...]:
    """The items of a file in a published format: `inputs` and `targets`, or `question` and `answer`."""
    return tuple(_read(record) for record in read_records(path))


def people() -> list[str]:
    """First names, a list of our own."""
    return (files("influence.data.tasks") / "texts" / "people.txt").read_text(encoding="utf-8").split()


def _item(id_: str, names: list[str], flips: list[bool]) -> Example:
    deeds = " ".join(
        f"{name} {'flips' if flip else 'does not flip'} the coin."
        for name, flip in zip(names, flips, strict=True)
    )
    question = f"A coin is heads up. {deeds} Is the coin still heads up?"
    return Example(id_, question, answer="no" if sum(flips) % 2 else "yes")


def _read(record: Record) -> Example:
    question, answer = ("inputs", "targets") if "inputs" in record.fields else ("question", "answer")
    text = re.sub(r"^\s*Q:\s*", "", field_text(record, question))
    return Example(record.id, " ".join(text.split()), answer=field_text(record, answer))
