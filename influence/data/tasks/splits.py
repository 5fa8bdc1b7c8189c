"""Examples into splits: in the order they come, or a tenth each drawn to validate and to test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from influence.data.tasks.task import SPLITS, Example, Split
from influence.errors import InputError

#: Shares of the splits of a single file.
_SHARES: Mapping[Split, float] = {"valid": 0.1, "test": 0.1}


def in_splits(examples: Iterable[Example], sizes: Mapping[Split, int]) -> dict[Split, tuple[Example, ...]]:
    """One example after the other into splits of these sizes, in the order train, valid, test."""
    left = list(examples)
    wanted = sum(sizes.values())
    if len(left) < wanted:
        raise InputError("There are too few inputs.", have=f"{len(left):,}, {wanted:,} are wanted")
    splits: dict[Split, tuple[Example, ...]] = {}
    for split in SPLITS:
        if count := sizes.get(split, 0):
            splits[split], left = tuple(left[:count]), left[count:]
    return splits


def drawn_splits(examples: Iterable[Example], seed: int) -> dict[Split, tuple[Example, ...]]:
    """A tenth each of the examples, drawn, to validate and to test; the rest, in its order, to train.

    Of examples with the same input the last one is taken.
    """
    different: Sequence[Example] = list({example.input: example for example in examples}.values())
    order = np.random.default_rng([seed, 31]).permutation(len(different)).tolist()
    splits: dict[Split, tuple[Example, ...]] = {}
    start = 0
    for split, share in _SHARES.items():
        end = start + round(share * len(different))
        if end > start:
            splits[split] = tuple(different[i] for i in sorted(order[start:end]))
        start = end
    return {"train": tuple(different[i] for i in sorted(order[start:])), **splits}
