"""Small tasks with chains of thought, as folders."""

from __future__ import annotations

import random
from pathlib import Path

from influence.data.tasks.folder import read_task
from influence.data.tasks.task import Example, Task


def running_sums(rng: random.Random, digits: int) -> Example:
    """Digits, their running sums modulo 10, and the last of them."""
    numbers = [rng.randrange(10) for _ in range(digits)]
    sums = [sum(numbers[: i + 1]) % 10 for i in range(digits)]
    return Example("", " ".join(map(str, numbers)), " ".join(map(str, sums[:-1])), str(sums[-1]))


def sums_task(folder: Path, train: int = 48, valid: int = 16, digits: tuple[int, ...] = (5,)) -> Task:
    """A task of running sums; chains have one token less than the input has digits."""
    rng = random.Random(0)
    seen: dict[str, Example] = {}
    while len(seen) < train + valid:
        example = running_sums(rng, rng.choice(digits))
        seen[example.input] = example
    lines = [example.line() + "\n" for example in seen.values()]
    folder.mkdir()
    (folder / "train.txt").write_text("".join(lines[:train]))
    (folder / "valid.txt").write_text("".join(lines[train:]))
    return read_task(folder)
