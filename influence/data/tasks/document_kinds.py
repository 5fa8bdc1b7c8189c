"""Training examples of a task as documents of several kinds, so that the kind of a document is its source.

| kind | what it is |
|---|---|
| full chain | an example with its whole chain |
| partial chain | the same examples with some of the chain removed, as in the stages |
| answer only | the same examples with all of it removed |
| same operands | operands of one asked example: the digits that count (parity), one of both numbers (multiplication) |
| shared partial result | most of the partial results of one asked example, and another answer |
| distractor | an input with the chain and the answer of another one: the form without the procedure |
| another task | examples of another task |

The first three show the same examples, so that they differ in their form alone. Of the two kinds that are about an
asked example, every other document has its chain, and every other none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from influence.data.tasks.task import Example, Task, steps
from influence.errors import InputError

Form = Literal["full", "partial", "answer"]

#: Kind -> how many documents; of "same operands" and "shared partial result" for each asked example.
COUNTS: Mapping[str, int] = {
    "full chain": 400,
    "partial chain": 400,
    "answer only": 400,
    "same operands": 10,
    "shared partial result": 10,
    "distractor": 200,
    "another task": 200,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A document to be.

    Attributes:
        origin: Which training example: `train-17`, `other-3`.
        part: Of a partial chain, how much of what may be removed is, from 0 to 1.
        asked: Number of the asked example that it is about; None: of none.
    """

    kind: str
    form: Form
    example: Example
    origin: str
    part: float = 0.0
    asked: int | None = None


def choose(
    task: Task,
    asked: Sequence[Example],
    *,
    counts: Mapping[str, int] | None = None,
    other: Task | None = None,
    seed: int = 0,
) -> list[Piece]:
    """Training examples of each kind; the same arguments choose the same.

    Args:
        task: With a train split.
        asked: The examples that queries are about.
        counts: Kind -> number, over `COUNTS`; of what an asked example has less of in the split, all there are.
        other: Gives the examples of another task; None: no such documents.

    Raises:
        InputError: there is no such kind, or the train split has too few examples.
    """
    counts = {**COUNTS, **(counts or {})}
    unknown = set(counts) - set(COUNTS)
    if unknown or min(counts.values()) < 0:
        raise InputError(
            "There is no such kind of document." if unknown else "A count is at least 0.",
            have=", ".join(sorted(unknown)) or str(dict(counts)),
            fix=f"Kinds are {', '.join(COUNTS)}.",
        )
    examples = task.split("train")
    forms: dict[str, Form] = {"full chain": "full", "partial chain": "partial", "answer only": "answer"}
    drawn = max(*(counts[kind] for kind in forms), 0)
    needed = drawn + 2 * counts["distractor"]
    if needed > len(examples):
        raise InputError(
            f"The train split has {len(examples):,} examples.",
            have=f"{needed:,} needed",
            fix="Ask for fewer.",
        )
    rng = np.random.default_rng([seed, 11])
    order = rng.permutation(len(examples))
    pieces = []
    for kind, form in forms.items():
        n = counts[kind]
        parts = rng.permutation((np.arange(n) + 0.5) / max(n, 1))
        pieces += [
            Piece(kind, form, examples[row], f"train-{row}", float(part) if form == "partial" else 0.0)
            for row, part in zip(order[:n].tolist(), parts, strict=True)
        ]
    pieces += _distractors(examples, order[drawn:needed].tolist())
    pieces += _about(task, examples, asked, counts, rng)
    if other is not None:
        pieces += _others(other, counts["another task"], rng)
    return pieces


def _distractors(examples: Sequence[Example], rows: Sequence[int]) -> list[Piece]:
    half = len(rows) // 2
    pieces = []
    for place, row in enumerate(rows[:half]):
        own = examples[row]
        later = (examples[one] for one in [*rows[half + place :], *rows[half : half + place]])
        wrong = next((one for one in later if one.chain != own.chain), None)
        if wrong is not None:
            mixed = dataclasses.replace(wrong, id=own.id, input=own.input)
            pieces.append(Piece("distractor", "full", mixed, f"train-{row}"))
    return pieces


def _others(other: Task, count: int, rng: np.random.Generator) -> list[Piece]:
    examples = other.split("train")
    if count > len(examples):
        raise InputError(
            f"The task {other.folder or other.name} has {len(examples):,} training examples.",
            have=f"{count:,} are wanted",
            fix="Ask for fewer.",
        )
    rows = rng.permutation(len(examples))[:count].tolist()
    return [Piece("another task", "full", examples[row], f"other-{row}") for row in rows]


def _about(
    task: Task,
    examples: Sequence[Example],
    asked: Sequence[Example],
    counts: Mapping[str, int],
    rng: np.random.Generator,
) -> list[Piece]:
    """Documents about each asked example: of its operands, and of its partial results."""
    if not counts["same operands"] and not counts["shared partial result"]:
        return []
    operand_NP, step_NS, answer_N = _coded([*examples, *asked], task)
    n = len(examples)
    pieces = []
    for number in range(len(asked)):
        own = n + number
        same_N = (operand_NP[:n] == operand_NP[own]).any(1)
        shared_N = (step_NS[:n] == step_NS[own]).sum(1) if step_NS.shape[1] else np.zeros(n, np.int64)
        most = -(-int((step_NS[own] >= 0).sum()) // 2)
        partial_N = (shared_N >= max(most, 1)) & ~same_N & (answer_N[:n] != answer_N[own])
        for kind, found_N, value_N in (
            ("same operands", same_N, np.zeros(n, np.int64)),
            ("shared partial result", partial_N, shared_N),
        ):
            rows = rng.permutation(np.flatnonzero(found_N))
            rows = rows[np.argsort(-value_N[rows], kind="stable")][: counts[kind]]
            pieces += [
                Piece(kind, "answer" if place % 2 else "full", examples[row], f"train-{row}", asked=number)
                for place, row in enumerate(rows.tolist())
            ]
    return pieces


Codes = npt.NDArray[np.int64]


def _coded(examples: Sequence[Example], task: Task) -> tuple[Codes, Codes, Codes]:
    """Operands, steps of the chain and answers as numbers: equal where the texts are; steps there are not are -1."""
    codes: dict[str, int] = {}

    def code(text: str) -> int:
        return codes.setdefault(text, len(codes))

    operands = [[code(one) for one in operands_of(example, task)] for example in examples]
    found = [
        [code(example.chain[a:b]) for a, b in steps(example.chain, task.step_pattern)] for example in examples
    ]
    longest = max(map(len, found))
    padded = [row + [-1] * (longest - len(row)) for row in found]
    return np.array(operands), np.array(padded), np.array([code(example.gold) for example in examples])


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
