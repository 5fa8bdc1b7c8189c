"""Multiplication of two numbers of N digits, digits reversed, with the partial products and sums as the chain.

The `rows` chain of A × B: A·b₀ in N+1 digits; then ` + ` and A·bᵢ·10ⁱ in N+1+i digits, behind it for 1 ≤ i ≤ N−2 the
running sum in brackets, N+1+i digits. The format of *From Explicit CoT to Implicit CoT* (arXiv 2405.14838).
The `tree` chain: all N rows, then in brackets the sums of neighbours, level by level, an odd one passed on as it is,
until two are left, whose sum is the answer. The last row or sum of a level up to row i has N+1+i digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from influence.data.tasks.folder import settings_of
from influence.data.tasks.makers.problems import (
    BATCH_LINES,
    Characters,
    ProblemOrder,
    Unsigned,
    key,
    numbers,
    render,
)
from influence.data.tasks.task import ANSWER_START, INPUT_END, Split
from influence.errors import InputError

Chain = Literal["rows", "tree"]

#: Digits of numbers, least significant first: `[digits, n]`.
Digits = NDArray[np.uint8]

#: A row of a `rows` chain with its running sum; a number of a `tree` chain.
STEP_PATTERNS: dict[Chain, str] = {
    "rows": r"(?:\+ )?\d(?: \d)*(?: \( \d(?: \d)* \))?",
    "tree": r"(?:[(+] )?\d(?: \d)*(?: \))?",
}

#: As many as the published training files have.
TRAIN_LINES = 808_000

MOST_DIGITS = 19  # numbers and their order in 64 bits


@dataclass(frozen=True)
class Multiplication:
    """Seeded problems of `digits` × `digits` digits without leading zeros, no ordered pair twice.

    No held-out problem is in another split, also not with its numbers swapped; within a split both orders may stand.

    Args:
        digits: N, of both numbers.
        train, valid, test: How many problems; `train` None: 808,000, or all that are left where these are fewer.
        seed: Chooses them.
        chain: What stands between problem and product.
    """

    digits: int
    train: int | None = None
    valid: int = 1000
    test: int = 1000
    seed: int = 0
    chain: Chain = "rows"
    name: ClassVar[str] = "multiplication"

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= MOST_DIGITS:
            raise InputError(
                f"Multiplication takes numbers of 1 to {MOST_DIGITS} digits.", have=f"{self.digits} digits"
            )

    @property
    def step_pattern(self) -> str:
        """What matches a step of this kind of chain."""
        return STEP_PATTERNS[self.chain]

    @property
    def settings(self) -> dict[str, Any]:
        """What `task.json` says made the task."""
        return settings_of(self)

    @property
    def order(self) -> ProblemOrder:
        """The order of all pairs of numbers, each less the lowest number of N digits."""
        numbers_of_digits = 9 * 10 ** (self.digits - 1)
        return ProblemOrder(
            numbers_of_digits, numbers_of_digits, key("multiplication", self.digits, self.seed)
        )

    def splits(self) -> dict[Split, tuple[int, Iterator[bytes]]]:
        """How many lines each split has, and these lines, some thousands at a time."""
        test_end, left = self._test_end()
        train = min(TRAIN_LINES, left) if self.train is None else self.train
        if train < 1 or train > left:
            raise self._too_many(left)
        return {
            "train": (train, self._lines(test_end, train, held_out=test_end)),
            "valid": (self.valid, self._lines(0, self.valid, held_out=0)),
            "test": (self.test, self._lines(self.valid, self.test, held_out=self.valid)),
        }

    def _test_end(self) -> tuple[int, int]:
        """The place where the test split ends, and how many problems are left for training."""
        order, end, missing = self.order, self.valid, self.test
        while missing:
            left, right = order.pairs(end, end + min(missing, BATCH_LINES))
            if not len(left):
                raise self._too_many(0)
            missing -= int((~order.stand_before(right, left, self.valid)).sum())
            end += len(left)
        swapped_behind = 0
        for start in range(0, end, BATCH_LINES):
            left, right = order.pairs(start, min(start + BATCH_LINES, end))
            swapped_behind += int((~order.stand_before(right, left, end)).sum())
        return end, order.size - end - swapped_behind

    def _too_many(self, left: int) -> InputError:
        return InputError(
            f"There are not enough problems of {self.digits} × {self.digits} digits.",
            have=f"{self.order.size:,} in all; {self.valid:,} for validation and {self.test:,} for testing leave "
            f"{max(left, 0):,} for training that are no held-out problem, also not swapped",
            fix="Ask for fewer examples, or for more digits.",
        )

    def _lines(self, start: int, count: int, held_out: int) -> Iterator[bytes]:
        """`count` lines from the place `start` on, without those whose swapped problem stands before `held_out`."""
        order = self.order
        while count:
            left, right = order.pairs(start, start + BATCH_LINES)
            start += BATCH_LINES
            if held_out:
                kept = ~order.stand_before(right, left, held_out)
                left, right = left[kept], right[kept]
            left, right = left[:count], right[:count]
            count -= len(left)
            lowest = np.uint64(10 ** (self.digits - 1))
            yield multiplication_lines(left + lowest, right + lowest, self.digits, self.chain)


def multiplication_lines(a_n: Unsigned, b_n: Unsigned, digits: int, chain: Chain = "rows") -> bytes:
    """The lines of the problems a × b, each ended by a newline."""
    a, b = _digits(a_n, digits), _digits(b_n, digits)
    rows = _rows(a, b)
    pieces = _rows_chain(rows) if chain == "rows" else _tree_chain(rows)
    *pieces, product = pieces
    return render([numbers(a), " * ", numbers(b), INPUT_END, *pieces, ANSWER_START, product, "\n"], len(a_n))


def _rows_chain(rows: list[Digits]) -> list[str | Characters]:
    """The pieces of the chain, and last the product."""
    pieces: list[str | Characters] = [numbers(rows[0])]
    total = rows[0]
    for number, row in enumerate(rows[1:], start=1):
        total = _sum(total, row)
        pieces += [" + ", numbers(row)]
        if number < len(rows) - 1:
            pieces += [" ( ", numbers(total), " )"]
    return [*pieces, numbers(total)]


def _tree_chain(rows: list[Digits]) -> list[str | Characters]:
    """The pieces of the chain, and last the product."""
    pieces = _joined(rows)
    while len(rows) > 1:
        pairs = [rows[number : number + 2] for number in range(0, len(rows), 2)]
        rows = [_sum(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        if len(rows) > 1:
            pieces += [" ( ", *_joined(rows), " )"]
    return [*pieces, numbers(rows[0])]


def _joined(rows: list[Digits]) -> list[str | Characters]:
    pieces: list[str | Characters] = []
    for row in rows:
        pieces += [" + ", numbers(row)]
    return pieces[1:]


def _digits(values_n: Unsigned, digits: int) -> Digits:
    digits_kn = np.empty((digits, len(values_n)), np.uint8)
    rest = values_n
    for place in range(digits):
        higher = rest // np.uint64(10)
        digits_kn[place] = rest - higher * np.uint64(10)
        rest = higher
    return digits_kn


def _rows(a: Digits, b: Digits) -> list[Digits]:
    """A·bᵢ·10ⁱ for each i, in N+1+i digits."""
    digits, n = a.shape
    products = np.empty((digits + 1, digits, n), np.uint8)  # place, i, line
    carry = np.zeros_like(b)
    for place in range(digits):
        value = a[place] * b + carry  # at most 9·9 + 8
        carry = value // 10
        products[place] = value - carry * 10
    products[digits] = carry
    return [np.concatenate([np.zeros((i, n), np.uint8), products[:, i]]) for i in range(digits)]


def _sum(low: Digits, high: Digits) -> Digits:
    """The sum of two numbers in as many digits as the longer, the second, has; it must fit."""
    total = high.copy()
    carry = np.zeros(high.shape[1], np.uint8)
    for place in range(len(high)):
        value = total[place] + carry
        if place < len(low):
            value += low[place]
        carry = (value > 9).astype(np.uint8)
        total[place] = value - carry * 10
    return total
