"""Programs that implement the procedures, each tested on two problems (slots of the second start with `o_`).

A choice `{a|b}` stands in comments and texts only; names are slots drawn once for a program (`names`), so that a
program stays consistent. A file is one program, or snippets of `code_snippets.py`, or both.
"""

from __future__ import annotations

from random import Random

_NAMES = {
    "fn": ("solve", "compute", "run_task", "calc", "evaluate", "work_out"),
    "slope_fn": ("slope", "line_slope", "gradient", "slope_between", "rise_over_run", "steepness"),
    "out": ("result", "value", "out", "res", "answer"),
    "p": ("p", "a", "start", "first", "left"),
    "q": ("q", "b", "end", "second", "right"),
    "k": ("k", "factor", "scale", "times", "mult"),
    "u": ("u", "m", "coef", "lead", "gain"),
    "v": ("v", "n", "base", "offset", "shift"),
    "w": ("w", "r", "rhs", "target", "goal"),
    "cb": ("callback", "handler", "action", "task", "job"),
}


def names(rng: Random) -> dict[str, str]:
    """One name for each identifier of a program."""
    return {slot: rng.choice(choices) for slot, choices in _NAMES.items()}


PYTHON = {
    "slopes": (
        '''def <slope_fn>(<p>, <q>):
    """{Return the slope of the line through two points.|Slope from two (x, y) pairs.|How steep is the line?}"""
    rise = <q>[1] - <p>[1]
    run = <q>[0] - <p>[0]
    if run == 0:
        raise ValueError("{vertical line|the line is vertical|slope is undefined}")
    return rise / run


def test_<slope_fn>():
    assert <slope_fn>((<x_a>, <y_a>), (<x_b>, <y_b>)) == <answer>
    assert <slope_fn>((<o_x_a>, <o_y_a>), (<o_x_b>, <o_y_b>)) == <o_answer>
''',
        '''from dataclasses import dataclass


@dataclass
class {Line|Segment|TwoPoints}:
    """{A line given by two points.|Two points and what follows from them.}"""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def <slope_fn>(self) -> float:
        dy, dx = self.y2 - self.y1, self.x2 - self.x1
        return dy / dx  # {undefined for a vertical line|the caller checks for dx == 0}


# {points first, expected slope last|x1, y1, x2, y2, slope}
CASES = [
    (<x_a>, <y_a>, <x_b>, <y_b>, <answer>),
    (<o_x_a>, <o_y_a>, <o_x_b>, <o_y_b>, <o_answer>),
]
''',
        '''def <slope_fn>(points):
    """{Slopes of successive segments|Slope between neighbours} in a list of points."""
    <out> = []
    for (x1, y1), (x2, y2) in zip(points, points[1:]):
        <out>.append((y2 - y1) / (x2 - x1))
    return <out>


# {doctest style|examples}
# >>> <slope_fn>([(<x_a>, <y_a>), (<x_b>, <y_b>)])
# [<answer>.0]
# >>> <slope_fn>([(<o_x_a>, <o_y_a>), (<o_x_b>, <o_y_b>)])
# [<o_answer>.0]
''',
    ),
    "arithmetic": (
        '''def <fn>(<p>, <q>, <k>, sign="+"):
    """{Add or subtract, then multiply.|Two steps: the bracket, then the product.|(p ± q) * k, inner part first.}"""
    <out> = <p> + <q> if sign == "+" else <p> - <q>
    return <out> * <k>


def test_<fn>():
    assert <fn>(<a>, <b>, <c>, "<sign>") == <answer>
    assert <fn>(<o_a>, <o_b>, <o_c>, "<o_sign>") == <o_answer>
''',
        """import operator

OPS = {"+": operator.add, "-": operator.sub}


def <fn>(<p>, sign, <q>, <k>):
    # {the parentheses come first|inner result, then scale it}
    <out> = OPS[sign](<p>, <q>)
    <out> *= <k>
    return <out>


for args, expected in [
    ((<a>, "<sign>", <b>, <c>), <answer>),
    ((<o_a>, "<o_sign>", <o_b>, <o_c>), <o_answer>),
]:
    assert <fn>(*args) == expected  # {inner result first|bracket, then product}
""",
        """# {Python follows the usual order of operations|Parentheses decide what is evaluated first}.
<p> = <a> <sign> <b>      # {step one: the bracket|first the inner part}
<out> = <p> * <c>  # {step two: the product|then scale}
assert <out> == (<a> <sign> <b>) * <c> == <answer>

<q> = <o_a> <o_sign> <o_b>
<out> = <q> * <o_c>
assert <out> == (<o_a> <o_sign> <o_b>) * <o_c> == <o_answer>
{# without the parentheses the result would differ in general|# the same two lines work for any three numbers}
""",
    ),
    "linear": (
        '''def <fn>(<u>, <v>, <w>):
    """{Solve u * x + v = w for x.|The x with u * x + v == w.|Isolate the unknown of a linear equation.}"""
    if <u> == 0:
        raise ZeroDivisionError("{no unique solution|the coefficient must not be zero}")
    return (<w> - <v>) / <u>


def test_<fn>():
    assert <fn>(<a>, <b>, <c>) == <answer>
    assert <fn>(<o_a>, <o_b>, <o_c>) == <o_answer>
''',
        '''class {Equation|Linear|OneUnknown}:
    """{coefficient * x + constant = right side|A linear equation in x}."""

    def __init__(self, <u>, <v>, <w>):
        self.<u>, self.<v>, self.<w> = <u>, <v>, <w>

    def <fn>(self):
        remaining = self.<w> - self.<v>  # {undo the addition|move the constant}
        return remaining / self.<u>  # {undo the multiplication|divide by the coefficient}

    def check(self, x):
        return self.<u> * x + self.<v> == self.<w>


# {solutions|expected x}: (<a>, <b>, <c>) gives <answer>, (<o_a>, <o_b>, <o_c>) gives <o_answer>
''',
        '''import re
from fractions import Fraction

PATTERN = re.compile(r"(\\d+)x \\+ (\\d+) = (\\d+)")


def <fn>(text):
    """{Parse and solve|Solve a written equation}, {exactly|as a fraction}."""
    <u>, <v>, <w> = map(int, PATTERN.fullmatch(text).groups())
    return Fraction(<w> - <v>, <u>)


assert <fn>("<a>x + <b> = <c>") == <answer>
assert <fn>("<o_a>x + <o_b> = <o_c>") == <o_answer>
''',
    ),
}

JAVASCRIPT = {
    "slopes": (
        """// {Slope of the line through two points.|How steep is the line from one point to the other?}
{export function|function} <slope_fn>(<p>, <q>) {
  const rise = <q>.y - <p>.y;
  const run = <q>.x - <p>.x;
  if (run === 0) throw new RangeError("{vertical line|slope is undefined}");
  return rise / run;
}

console.assert(<slope_fn>({ x: <x_a>, y: <y_a> }, { x: <x_b>, y: <y_b> }) === <answer>);
console.assert(<slope_fn>({ x: <o_x_a>, y: <o_y_a> }, { x: <o_x_b>, y: <o_y_b> }) === <o_answer>);
""",
        """const <slope_fn> = ([x1, y1], [x2, y2]) => (y2 - y1) / (x2 - x1);

{test|it}("{divides rise by run|finds the slope of a line}", () => {
  expect(<slope_fn>([<x_a>, <y_a>], [<x_b>, <y_b>])).toBe(<answer>);
  expect(<slope_fn>([<o_x_a>, <o_y_a>], [<o_x_b>, <o_y_b>])).toBe(<o_answer>);
});

{module.exports =|export default} <slope_fn>; // {points are arrays of two numbers|order of the points does not matter}
""",
    ),
    "arithmetic": (
        """/** {First the bracket, then the product.|Adds or subtracts two numbers and scales the result.} */
{export function|function} <fn>(<p>, sign, <q>, <k>) {
  const <out> = sign === "+" ? <p> + <q> : <p> - <q>;
  return <out> * <k>;
}

console.assert(<fn>(<a>, "<sign>", <b>, <c>) === <answer>);
console.assert(<fn>(<o_a>, "<o_sign>", <o_b>, <o_c>) === <o_answer>);
""",
        """const steps = [];
const <fn> = (<p>, <q>, <k>) => {
  const <out> = <p> + <q>; // {a minus sign arrives as a negative second number|inner part}
  steps.push(<out>);
  steps.push(<out> * <k>);
  return <out> * <k>;
};

{test|it}("{respects the parentheses|works inside out}", () => {
  expect(<fn>(<a>, <signed_b>, <c>)).toBe(<answer>);
  expect(<fn>(<o_a>, <o_signed_b>, <o_c>)).toBe(<o_answer>);
});
""",
    ),
    "linear": (
        """// {Solves u * x + v = w.|Returns the x that makes both sides equal.}
{export function|function} <fn>(<u>, <v>, <w>) {
  if (<u> === 0) return null; // {no unique solution|nothing to divide by}
  const rest = <w> - <v>;
  return rest / <u>;
}

console.assert(<fn>(<a>, <b>, <c>) === <answer>);
console.assert(<fn>(<o_a>, <o_b>, <o_c>) === <o_answer>);
""",
        """const <fn> = ({ <u>, <v>, <w> }) => (<w> - <v>) / <u>;

{describe|suite}("{linear equations|isolating x}", () => {
  {test|it}("{undoes the addition first|subtracts, then divides}", () => {
    expect(<fn>({ <u>: <a>, <v>: <b>, <w>: <c> })).toBe(<answer>);
    expect(<fn>({ <u>: <o_a>, <v>: <o_b>, <w>: <o_c> })).toBe(<o_answer>);
  });
});
""",
    ),
}
