"""Parity of k of the bits shown, with the running parity as the chain; sums modulo m in general.

Which k positions count is the task's secret, chosen once by the seed. The chain has k−1 numbers, the sums after the
first, the second, ... of these positions, from left to right; the sum after the last is the answer.
Bits 1, 2 and 4 of `0 1 1 0`: `0 1 1 0||0 1 #### 1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from influence.data.tasks.folder import settings_of
from influence.data.tasks.makers.problems import BATCH_LINES, ProblemOrder, Unsigned, key, numbers, render
from influence.data.tasks.task import ANSWER_START, INPUT_END, Split
from influence.errors import InputError

_LARGEST_HALF = 2**62


@dataclass(frozen=True)
class Parity:
    """Seeded inputs of `bits` digits below `modulus`, no input twice in all splits together.

    Args:
        bits: Digits of an input.
        k: How many of them are summed; None: all.
        modulus: 2 for parity, up to 10.
        train, valid, test: How many examples; `train` None: 100,000, or all that are left where these are fewer.
        seed: Chooses the positions and the inputs.
    """

    bits: int
    k: int | None = None
    modulus: int = 2
    train: int | None = None
    valid: int = 1000
    test: int = 1000
    seed: int = 0
    name: ClassVar[str] = "parity"
    step_pattern: ClassVar[str] = r"\d"  # a running sum

    def __post_init__(self) -> None:
        if not 2 <= self.modulus <= 10:
            raise InputError("A sum of digits is taken modulo 2 (parity) to 10.", have=str(self.modulus))
        if self.bits < 2 or self.modulus ** ((self.bits + 1) // 2) > _LARGEST_HALF:
            raise InputError(
                "The inputs are too short to sum or too long to number: 2 to 124 bits, or 2 to 36 decimal digits.",
                have=f"{self.bits} digits below {self.modulus}",
            )
        if self.k is not None and not 2 <= self.k <= self.bits:
            raise InputError(
                "k, the number of digits that are summed, is at least 2 and at most all of them.",
                have=f"k = {self.k} of {self.bits}",
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What `task.json` says made the task: the positions are in no example."""
        return {**settings_of(self), "positions": self.positions}

    @property
    def order(self) -> ProblemOrder:
        """The order of all inputs: left and right half, as numbers to the base `modulus`."""
        right = self.bits // 2
        lefts, rights = self.modulus ** (self.bits - right), self.modulus**right
        return ProblemOrder(lefts, rights, key("parity", self.bits, self.modulus, self.seed))

    @property
    def positions(self) -> list[int]:
        """The places, from 0, of the k digits that are summed, in increasing order."""
        chosen = sorted(range(self.bits), key=lambda place: key("position", self.bits, self.seed, place))
        return sorted(chosen[: self.k])

    def splits(self) -> dict[Split, tuple[int, Iterator[bytes]]]:
        """How many lines each split has, and these lines, some thousands at a time."""
        inputs = self.modulus**self.bits
        left = inputs - self.valid - self.test
        train = min(100_000, left) if self.train is None else self.train
        if train < 1 or train > left:
            raise InputError(
                f"There are not enough inputs of {self.bits} digits below {self.modulus}.",
                have=f"{inputs:,} in all; {self.valid:,} for validation and {self.test:,} for testing leave "
                f"{max(left, 0):,} for training",
                fix="Ask for fewer examples, or for longer inputs.",
            )
        return {
            "train": (train, self._lines(self.valid + self.test, train)),
            "valid": (self.valid, self._lines(0, self.valid)),
            "test": (self.test, self._lines(self.valid, self.test)),
        }

    def _lines(self, start: int, count: int) -> Iterator[bytes]:
        for first in range(start, start + count, BATCH_LINES):
            left, right = self.order.pairs(first, min(first + BATCH_LINES, start + count))
            cut = self.bits - self.bits // 2
            digits_kn = np.concatenate([self._digits(left, cut), self._digits(right, self.bits - cut)])
            yield parity_lines(digits_kn, self.positions, self.modulus)

    def _digits(self, values_n: Unsigned, count: int) -> NDArray[np.uint8]:
        powers = np.array([self.modulus**place for place in reversed(range(count))], np.uint64)
        return (values_n // powers[:, None] % np.uint64(self.modulus)).astype(np.uint8)


def parity_lines(digits_kn: NDArray[np.uint8], positions: list[int], modulus: int = 2) -> bytes:
    """The lines of inputs `[digits, n]`, each ended by a newline."""
    sums_kn = np.cumsum(digits_kn[positions], axis=0, dtype=np.uint16) % modulus
    chain, answer = numbers(sums_kn[:-1]), numbers(sums_kn[-1:])
    return render([numbers(digits_kn), INPUT_END, chain, ANSWER_START, answer, "\n"], digits_kn.shape[1])
