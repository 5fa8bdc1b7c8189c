"""The three procedures: problems, their steps, and the prose that works them.

Problems whose key falls in the held-out eighth are used by queries only, all others by documents and tuning only: no
document, of whatever seed, works a problem of a query. Of the steps, a share that the corpus chooses is withheld: no
document writes them out, so that it is known which intermediate results of a query stand nowhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Literal, get_args

from influence.data.miniworld.grammar import say, texts
from influence.errors import InputError
from influence.types import Step

Procedure = Literal["slopes", "arithmetic", "linear"]
PROCEDURES: tuple[Procedure, ...] = get_args(Procedure)
#: The texts of each procedure, and those that all share.
WORDINGS = texts("procedures")
_HELD_OUT_SHARE = 8
_MOST_TRIES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """The numbers of the problems: each is the largest one that occurs. By default what a model of three million
    parameters learns; widen them for a larger one.

    Attributes:
        slope_coordinates: Coordinates of both points, from 0.
        slope_values: Size of the slope, from 1.
        slope_signs: Whether differences and slopes may be negative.
        arithmetic_terms: `a` and `b` of `(a ± b) * c`, from 1.
        arithmetic_factor: `c`, from 2.
        linear_coefficients: `a` of `ax + b = c`, from 2.
        linear_constants: `b`, from 1.
        linear_solutions: `x`, from 1.
        linear_totals: `c`.

    Raises:
        InputError: A number is too small for any problem.
    """

    slope_coordinates: int = 20
    slope_values: int = 20
    slope_signs: bool = True
    arithmetic_terms: int = 10
    arithmetic_factor: int = 10
    linear_coefficients: int = 9
    linear_constants: int = 20
    linear_solutions: int = 20
    linear_totals: int = 40

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 1 if field.name == "slope_values" else 3
            if field.name != "slope_signs" and (type(value) is not int or not least <= value <= 999):
                raise InputError(
                    f"Ranges: {field.name} must be a whole number from {least} to 999.", have=repr(value)
                )


@dataclass(frozen=True, slots=True)
class Problem:
    """One instance of a procedure.

    Attributes:
        key: Names the instance; equal for two ways of writing the same problem.
        answer: The final result.
        steps: The intermediate results, in order; the last one gives the answer.
        slots: What the templates of the procedure need; `<s1>` is the first step.
    """

    procedure: Procedure
    key: str
    answer: int
    steps: tuple[Step, ...]
    slots: Mapping[str, object]

    def question(self, rng: Random | None = None) -> str:
        """The question; without a generator in the wording of the queries."""
        return _pick(rng, WORDINGS[self.procedure]["questions"], self.slots)


def draw(
    procedure: Procedure, rng: Random, ranges: Ranges, withheld_steps: float, *, for_query: bool = False
) -> Problem:
    """A random problem: for a query from the held-out eighth, else from the rest and without a withheld step.

    Raises:
        InputError: The ranges leave (almost) no such problem.
    """
    for _ in range(_MOST_TRIES):
        problem = _DRAW[procedure](rng, ranges)
        if problem is None or held_out(problem.key) != for_query:
            continue
        if for_query or not any(withheld(step.text, withheld_steps) for step in problem.steps):
            return problem
    raise InputError(
        f"The ranges leave no problem of the kind {procedure!r} for {'queries' if for_query else 'documents'}.",
        have=f"{ranges}, withheld_steps={withheld_steps}",
        fix="Widen the ranges or withhold fewer steps.",
    )


def held_out(key: str) -> bool:
    """Whether a problem is kept for queries."""
    return zlib.crc32(key.encode()) % _HELD_OUT_SHARE == 0


def withheld(step: str, share: float) -> bool:
    """Whether a step such as `12 - 4 = 8` is written in no document, if this share of all steps is withheld."""
    return zlib.crc32(f"step {step}".encode()) % 10_000 < share * 10_000


def work(problem: Problem, rng: Random | None = None) -> str:
    """The worked answer, step by step; without a generator in the wording of the queries."""
    wording = WORDINGS[problem.procedure]
    opening = _pick(rng, wording["openings"], problem.slots)
    steps = [_pick(rng, bank, problem.slots) for bank in wording["steps"]]
    closing = _pick(rng, wording["closings"], problem.slots)
    layout = "numbered" if rng is None else rng.choice(("numbered", "steps", "prose", "lines"))
    if layout == "prose":
        return " ".join([opening, *steps, closing])
    marks = {"numbered": "{}. ", "steps": "Step {}: ", "lines": ""}[layout]
    return "\n".join([opening, *(marks.format(n) + step for n, step in enumerate(steps, 1)), closing])


def _pick(rng: Random | None, bank: Sequence[str], slots: Mapping[str, object]) -> str:
    return say(rng, rng.choice(bank), slots) if rng else say(Random(0), bank[0], slots)


# -- drawing: None when the numbers leave the stated ranges


def _draw_slope(rng: Random, ranges: Ranges) -> Problem | None:
    most = ranges.slope_coordinates
    (x1, x2), y1 = rng.sample(range(most + 1), 2), rng.randrange(most + 1)
    slope = rng.choice([-1, 1]) * rng.randint(1, ranges.slope_values)
    y2 = y1 + slope * (x2 - x1)
    if not 0 <= y2 <= most or (not ranges.slope_signs and (x2 < x1 or slope < 0)):
        return None
    first, second = sorted([(x1, y1), (x2, y2)])
    dy, dx = y2 - y1, x2 - x1
    steps = (_step(y2, "-", y1, dy), _step(x2, "-", x1, dx), _step(dy, "/", dx, slope))
    numbers = {"x_a": x1, "y_a": y1, "x_b": x2, "y_b": y2, "dy": dy, "dx": dx}
    return _problem("slopes", "{},{} {},{}".format(*first, *second), slope, steps, numbers)


def _draw_arithmetic(rng: Random, ranges: Ranges) -> Problem | None:
    a, b = rng.randint(1, ranges.arithmetic_terms), rng.randint(1, ranges.arithmetic_terms)
    c, sign = rng.randint(2, ranges.arithmetic_factor), rng.choice("+-")
    inner = a + b if sign == "+" else a - b
    if inner <= 0:
        return None
    steps = (_step(a, sign, b, inner), _step(inner, "*", c, inner * c))
    first, second = (min(a, b), max(a, b)) if sign == "+" else (a, b)
    verb = "add" if sign == "+" else "subtract"
    signed_b = b if sign == "+" else -b
    slots = {"a": a, "b": b, "c": c, "sign": sign, "inner": inner, "verb": verb, "signed_b": signed_b}
    return _problem("arithmetic", f"({first}{sign}{second})*{c}", inner * c, steps, slots)


def _draw_linear(rng: Random, ranges: Ranges) -> Problem | None:
    a, x = rng.randint(2, ranges.linear_coefficients), rng.randint(1, ranges.linear_solutions)
    b = rng.randint(1, ranges.linear_constants)
    c = a * x + b
    if c > ranges.linear_totals:
        return None
    steps = (_step(c, "-", b, c - b), _step(c - b, "/", a, x))
    return _problem("linear", f"{a}x+{b}={c}", x, steps, {"a": a, "b": b, "c": c, "ax": c - b})


_DRAW = {"slopes": _draw_slope, "arithmetic": _draw_arithmetic, "linear": _draw_linear}


def _problem(
    procedure: Procedure, key: str, answer: int, steps: tuple[Step, ...], slots: Mapping[str, object]
) -> Problem:
    texts = {f"s{number}": step.text for number, step in enumerate(steps, 1)}
    return Problem(procedure, f"{procedure} {key}", answer, steps, {**slots, **texts, "answer": answer})


def _step(left: int, sign: str, right: int, result: int) -> Step:
    """A step and its usual spellings, the plain one first."""
    signs = {"/": "/÷", "*": "*×x·"}.get(sign, sign)
    rights = [f"({right})", str(right)] if right < 0 else [str(right)]
    spellings = [f"{left} {s} {r} = {result}" for s in signs for r in rights]
    spellings += [f"{left}{s}{r}={result}" for s in signs for r in rights]
    spellings += [f"{left} {sign} {rights[0]} {verb} {result}" for verb in ("is", "equals")]
    spellings += [spelling.replace("-", "−") for spelling in spellings if "-" in spelling]
    return Step(spellings[0], tuple(spellings))
