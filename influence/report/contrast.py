"""R of pairs of queries of one task against R of pairs of different tasks: the difference, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.report.format import count, interval, percent, signed
from influence.report.line_charts import Axes, Series, line_chart
from influence.report.page import Figure, Panel

#: Pairs within and between tasks below which the two are not compared.
FEW_PAIRS = 3
_RESAMPLES = 500
#: A difference is shown where its p is below this and its interval leaves 0 out.
_LEVEL = 0.05
#: Queries up to which the difference is tested.
MOST_TESTED = 500
#: R that the sentence on a distribution counts as large.
_STRONG = 0.3


@dataclass(frozen=True)
class Contrast:
    """R of pairs of queries of one task against R of pairs of different tasks.

    Attributes:
        difference: Mean R within tasks minus mean R between them, with a 95 % bootstrap interval over queries, and
            `p`: how often permuted tasks have a difference as far from 0.
        said: What these numbers say, whichever way they go, without them.
        sentence: The same with its numbers.
        spread: How many pairs have a large R of either sign.
        figure: How R is distributed within and between.
        within_P: R of each pair of queries of one task.
        between_P: R of each pair of queries of different tasks.
    """

    difference: float
    low: float
    high: float
    p: float
    said: str
    sentence: str
    spread: str
    figure: Figure | None
    within_P: npt.NDArray[np.float64]
    between_P: npt.NDArray[np.float64]

    @property
    def within(self) -> float:
        """Mean R of two queries of one task."""
        return float(self.within_P.mean())

    @property
    def between(self) -> float:
        """Mean R of two queries of different tasks."""
        return float(self.between_P.mean())

    @property
    def n(self) -> str:
        """The numbers of pairs, in words."""
        return f"n = {count(len(self.within_P))} and {count(len(self.between_P))} pairs"

    @property
    def how_sure(self) -> str:
        """The interval and p, for a note."""
        if not math.isfinite(self.difference):
            return "it takes pairs within and between tasks"
        return f"95 % {interval(self.low, self.high, 2, '+')}; {p_value(self.p)}"


def contrast(
    r_QQ: npt.NDArray[np.float64],
    within_QQ: npt.NDArray[np.bool_],
    between_QQ: npt.NDArray[np.bool_],
    labels: Sequence[str],
) -> Contrast:
    """R of pairs within tasks against R of pairs between them; `labels` are the tasks of the queries.

    Args:
        r_QQ: R of each pair, `[Q, Q]`; NaN where it is not defined.
        within_QQ: Whether two different queries are of one task, `[Q, Q]`.
        between_QQ: Whether they are of different tasks, `[Q, Q]`.
    """
    defined_QQ = ~np.isnan(r_QQ)
    within, between = r_QQ[np.triu(within_QQ & defined_QQ)], r_QQ[np.triu(between_QQ & defined_QQ)]
    figure = _distribution(within, between)
    if min(len(within), len(between)) < FEW_PAIRS:
        sentence = (
            f"Too few pairs to compare: {count(len(within))} of one task and {count(len(between))} of different tasks; "
            f"it takes {FEW_PAIRS} of each."
        )
        nothing = math.nan
        return Contrast(nothing, nothing, nothing, nothing, "", sentence, "", figure, within, between)
    difference = float(within.mean() - between.mean())
    tested = len(labels) <= MOST_TESTED
    low, high, p = compared(r_QQ, labels) if tested else (math.nan, math.nan, math.nan)
    more = "more" if difference > 0 else "less"
    if not tested:
        said = f"Not tested, for there are more than {MOST_TESTED} queries"
    elif p < _LEVEL and (low > 0 or high < 0):
        said = f"Queries of one task share documents {more} than queries of different tasks"
    else:
        said = (
            f"No difference is shown at the {percent(_LEVEL)} level between queries of one task and queries of "
            "different tasks"
        )
    values = np.concatenate([within, between])
    sentence = (
        f"{said}: mean R {signed(float(within.mean()))} "
        f"(n = {count(len(within))} pairs) against {signed(float(between.mean()))} (n = {count(len(between))}), a "
        f"difference of {signed(difference)}"
        + (f", 95 % {interval(low, high, 2, '+')}, {p_value(p)}." if math.isfinite(low) else ".")
    )
    spread = (
        f"R is above +{_STRONG} in {percent(float((values > _STRONG).mean()))} of all pairs and below "
        f"−{_STRONG} in {percent(float((values < -_STRONG).mean()))}."
    )
    return Contrast(difference, low, high, p, said, sentence, spread, figure, within, between)


def compared(r_QQ: npt.NDArray[np.float64], labels: Sequence[str]) -> tuple[float, float, float]:
    """Mean R within tasks minus mean R between them: its 95 % bootstrap interval over queries, and its p.

    p is the share of permutations of the tasks with a difference at least as far from 0, the one observed among them:
    of data without a difference, a share of at most α has p ≤ α.
    """
    members, off_QQ = np.array(labels, object), ~np.eye(len(r_QQ), dtype=bool)
    same_QQ = members[:, None] == members[None, :]
    within_QQ, between_QQ = same_QQ & off_QQ, ~same_QQ
    (difference,) = _differences(r_QQ, within_QQ, between_QQ, np.ones((1, len(r_QQ))))
    drawn_B = _differences(r_QQ, within_QQ, between_QQ, _drawn(labels))
    low, high = np.nanpercentile(drawn_B, [2.5, 97.5])
    null_P = _permuted(r_QQ, members)
    p = (1 + int((np.abs(null_P) >= abs(difference) - 1e-12).sum())) / (1 + len(null_P))
    return float(low), float(high), p


def _drawn(labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """How often a bootstrap draws each query, from those of its task: `[resamples, Q]`."""
    random = np.random.default_rng(0)
    drawn_BQ = np.zeros((_RESAMPLES, len(labels)))
    for label in dict.fromkeys(labels):
        rows = np.flatnonzero(np.array(labels, object) == label)
        np.add.at(
            drawn_BQ, (np.arange(_RESAMPLES)[:, None], random.choice(rows, (_RESAMPLES, len(rows)))), 1.0
        )
    return drawn_BQ


def _differences(
    r_QQ: npt.NDArray[np.float64],
    within_QQ: npt.NDArray[np.bool_],
    between_QQ: npt.NDArray[np.bool_],
    weight_BQ: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Mean R within minus mean R between, each query weighted as drawn; a query makes no pair with itself."""
    value_QQ, defined_QQ = np.nan_to_num(r_QQ), ~np.isnan(r_QQ)
    means = []
    for kind_QQ in (within_QQ & defined_QQ, between_QQ & defined_QQ):
        total_B = ((weight_BQ @ (value_QQ * kind_QQ)) * weight_BQ).sum(axis=1)
        pairs_B = ((weight_BQ @ kind_QQ.astype(float)) * weight_BQ).sum(axis=1)
        means.append(np.divide(total_B, pairs_B, out=np.full_like(total_B, np.nan), where=pairs_B > 0))
    return np.asarray(means[0] - means[1])


def _permuted(r_QQ: npt.NDArray[np.float64], labels_Q: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """The difference under permuted tasks, `[permutations]`."""
    random, off_QQ = np.random.default_rng(0), ~np.eye(len(r_QQ), dtype=bool)
    codes_Q = np.unique(labels_Q.astype(str), return_inverse=True)[1]
    once = np.ones((1, len(r_QQ)))
    null = []
    for _ in range(_RESAMPLES):
        own_Q = random.permutation(codes_Q)
        same_QQ = own_Q[:, None] == own_Q[None, :]
        null.append(_differences(r_QQ, same_QQ & off_QQ, ~same_QQ, once)[0])
    return np.array(null)


def _distribution(within: npt.NDArray[np.float64], between: npt.NDArray[np.float64]) -> Figure | None:
    """How R is distributed over the pairs of queries of one task and of different tasks."""
    edges: npt.NDArray[np.float64] = np.linspace(-1, 1, 21)
    rows, series = [], []
    for label, values in (("of one task", within), ("of different tasks", between)):
        if not len(values):
            continue
        pairs = np.histogram(values, edges)[0]
        middles, shares = (edges[1:] + edges[:-1]) / 2, pairs / len(values)
        rows += list(zip([label] * 20, edges[:-1].round(1), edges[1:].round(1), pairs, shares, strict=True))
        end = f"n = {count(len(values))}"
        series.append(Series(label, middles, shares, end=end, marked=False, n=len(values)))
    if not series:
        return None
    axes = Axes("R", "share of the pairs", x_log=False)
    chart = line_chart("correlation-distribution", "Distribution of R", series, axes)
    caption = (
        f"Share of the pairs of different queries at each R, in steps of 0.1. n = {count(len(within))} pairs of one "
        f"task, {count(len(between))} of different tasks. A mean near 0 may hide pairs of both signs."
    )
    table = pd.DataFrame(rows, columns=["label", "low", "high", "pairs", "share"])
    return Figure("correlation-distribution", (Panel("Pairs of queries", chart),), caption, table)


def p_value(value: float) -> str:
    """`p = 0.02`; says so where it is not defined."""
    return f"p = {value:.2g}" if math.isfinite(value) else "p not defined"
