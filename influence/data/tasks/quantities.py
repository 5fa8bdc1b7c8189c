"""What an example computes with, and the running quantities a model without a chain has to hold inside.

Parity: the running sums, of which the chain has all but the last. Multiplication: the sum of a column with its carry,
`ĉ_k = Σ_{i+j=k} a_i b_j + ⌊ĉ_{k−1} / 10⌋`, whose last digit is the product's digit k (arXiv 2510.00184).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from influence.data.tasks.task import Example, Task

Int64 = npt.NDArray[np.int64]


def running_quantities(task: Task, examples: Sequence[Example]) -> dict[str, Int64]:
    """Name -> value for each example `[N]`, in the order of the computation; empty for a task we know nothing of."""
    match task.name:
        case "parity":
            return _running_sums(examples)
        case "multiplication":
            return _columns(examples)
        case _:
            return {}


def _running_sums(examples: Sequence[Example]) -> dict[str, Int64]:
    sums_NK = np.array([[*map(int, one.chain.split()), int(one.gold)] for one in examples], np.int64)
    return {f"running sum {place + 1}": sums_NK[:, place] for place in range(sums_NK.shape[1])}


def _columns(examples: Sequence[Example]) -> dict[str, Int64]:
    pairs = [one.input.split(" * ") for one in examples]
    a_ND, b_ND = (np.array([list(map(int, pair[side].split())) for pair in pairs]) for side in (0, 1))
    digits = a_ND.shape[1]
    carry_N = np.zeros(len(examples), np.int64)
    columns = {}
    for k in range(2 * digits):
        column_N = carry_N.copy()
        for i in range(max(0, k - digits + 1), min(k, digits - 1) + 1):
            column_N += a_ND[:, i] * b_ND[:, k - i]
        columns[f"column {k + 1}"] = column_N
        carry_N = column_N // 10
    return columns


def operands_of(example: Example, task: Task) -> tuple[str, ...]:
    """What an example computes with: the digits that count, both numbers, or else its whole input."""
    if task.name == "parity" and "positions" in task.settings:
        digits = example.input.split()
        return (" ".join(digits[place] for place in task.settings["positions"]),)
    if task.name == "multiplication":
        return tuple(example.input.split(" * "))
    return (example.input,)
