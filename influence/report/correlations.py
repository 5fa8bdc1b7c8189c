"""How the scores of queries correlate: the heat map, means of tasks, and how sure they are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from influence.analysis.correlation import correlation
from influence.analysis.grouping import group_means, task_labels, task_order
from influence.report.charts import heat_map
from influence.report.format import count, interval, percent, shade, signed
from influence.report.line_charts import Axes, Series, line_chart
from influence.report.page import Figure, Panel
from influence.store.formats.tables import made_by, read_tables
from influence.store.scores import Scores
from influence.types import Reading

MOST_TASKS = 12
MOST_MAPPED = 2_000
#: Queries up to which the data of the heat map are its pairs: 125,000 of them.
MOST_LISTED = 500
#: Pairs within and between tasks below which the two are not compared.
FEW_PAIRS = 3
_RESAMPLES = 500
#: A difference is shown where its p is below this and its interval leaves 0 out.
_LEVEL = 0.05
#: R that the sentence on a distribution counts as large.
_STRONG = 0.3


@dataclass(frozen=True)
class Contrast:
    """R of pairs of queries of one task against R of pairs of different tasks.

    Attributes:
        difference: Mean R within tasks minus mean R between them, with a 95 % bootstrap interval over queries, and
            `p`: how often permuted tasks have a difference as far from 0.
        sentence: What these numbers say, whichever way they go.
        spread: How many pairs have a large R of either sign.
        figure: How R is distributed within and between.
    """

    difference: float
    low: float
    high: float
    p: float
    sentence: str
    spread: str
    figure: Figure | None

    @property
    def how_sure(self) -> str:
        """The interval and p, for a note."""
        if not math.isfinite(self.difference):
            return "it takes pairs within and between tasks"
        return f"95 % {interval(self.low, self.high, 2, '+')}; {_p(self.p)}"


@dataclass(frozen=True)
class Correlations:
    """The heat map, the means of pairs of tasks, and the two extreme pairs of queries."""

    figure: Markup | None
    tasks: tuple[str, ...]
    means: tuple[tuple[tuple[str, str], ...], ...]
    contrast: Contrast
    pairs: tuple[tuple[str, str, str, str], ...]
    undefined: tuple[str, ...]
    cut: str
    table: pd.DataFrame
    pooled: bool


def correlations(scores: Scores, by: Reading) -> Correlations:
    """The correlation of all pairs of queries, drawn and summed up."""
    r = correlation(scores, by)
    order = task_order(scores.queries)
    labels = task_labels(scores.queries)
    r_QQ = r.to_numpy(float)
    ordered_QQ = r_QQ[np.ix_(order, order)]
    same = np.array([[a == b for b in labels] for a in labels])
    off = ~np.eye(len(r_QQ), dtype=bool)
    figure = None
    if 1 < len(order) <= MOST_MAPPED:
        names = [scores.queries[i].id for i in order]
        groups = [scores.queries[i].group for i in order]
        what = f"Pearson R of {by.replace('_', ' ')} scores over {count(scores.documents_scored)} documents"
        figure = heat_map(ordered_QQ, [labels[i] for i in order], groups, names, what)
    pooled = len(order) > MOST_LISTED
    means = group_means(r, scores.queries)
    means_TT = means.to_numpy(float)
    shown = _largest_tasks(labels, list(means.index))
    places = [list(means.index).index(task) for task in shown]
    cells = tuple(tuple((signed(means_TT[a, b]), shade(means_TT[a, b])) for b in places) for a in places)
    return Correlations(
        figure=figure,
        tasks=tuple(shown),
        means=cells,
        contrast=_contrast(r_QQ, same & off, ~same, labels),
        pairs=_extreme_pairs(r_QQ, [query.id for query in scores.queries]),
        undefined=tuple(scores.queries[i].id for i in order if math.isnan(r_QQ[i, i])),
        cut=f"the {len(shown)} largest of {len(means)} tasks" if len(shown) < len(means) else "",
        table=_pair_table(ordered_QQ, [scores.queries[i].id for i in order])
        if not pooled
        else _mean_table(means),
        pooled=pooled,
    )


def _contrast(
    r_QQ: npt.NDArray[np.float64],
    within_QQ: npt.NDArray[np.bool_],
    between_QQ: npt.NDArray[np.bool_],
    labels: Sequence[str],
) -> Contrast:
    defined_QQ = ~np.isnan(r_QQ)
    within, between = r_QQ[np.triu(within_QQ & defined_QQ)], r_QQ[np.triu(between_QQ & defined_QQ)]
    figure = _distribution(within, between)
    if min(len(within), len(between)) < FEW_PAIRS:
        sentence = (
            f"Too few pairs to compare: {count(len(within))} of one task and {count(len(between))} of different tasks; "
            f"it takes {FEW_PAIRS} of each."
        )
        return Contrast(math.nan, math.nan, math.nan, math.nan, sentence, "", figure)
    difference = float(within.mean() - between.mean())
    tested = len(labels) <= MOST_LISTED
    low, high, p = compared(r_QQ, labels) if tested else (math.nan, math.nan, math.nan)
    more = "more" if difference > 0 else "less"
    if not tested:
        test = f"Not tested, for there are more than {MOST_LISTED} queries"
    elif p < _LEVEL and (low > 0 or high < 0):
        test = f"Queries of one task share documents {more} than queries of different tasks"
    else:
        test = (
            f"No difference is shown at the {percent(_LEVEL)} level between queries of one task and queries of "
            "different tasks"
        )
    values = np.concatenate([within, between])
    sentence = (
        f"{test}: mean R {signed(float(within.mean()))} "
        f"(n = {count(len(within))} pairs) against {signed(float(between.mean()))} (n = {count(len(between))}), a "
        f"difference of {signed(difference)}"
        + (f", 95 % {interval(low, high, 2, '+')}, {_p(p)}." if math.isfinite(low) else ".")
    )
    spread = (
        f"R is above +{_STRONG} in {percent(float((values > _STRONG).mean()))} of all pairs and below "
        f"−{_STRONG} in {percent(float((values < -_STRONG).mean()))}."
    )
    return Contrast(difference, low, high, p, sentence, spread, figure)


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


def _pair_table(r_QQ: npt.NDArray[np.float64], ids: Sequence[str]) -> pd.DataFrame:
    """Every pair of different queries once, in the order drawn; R to six decimals."""
    first, second = np.triu_indices(len(r_QQ), 1)
    names = np.array(ids, object)
    return pd.DataFrame({"a": names[first], "b": names[second], "r": r_QQ[first, second].round(6)})


def _mean_table(means: pd.DataFrame) -> pd.DataFrame:
    table = means.rename_axis("task_a").reset_index().melt("task_a", var_name="task_b", value_name="mean_r")
    return table.astype({"task_a": object, "task_b": object})


def _largest_tasks(labels: Sequence[str], tasks: list[str]) -> list[str]:
    largest = {task for task, _ in Counter(labels).most_common(MOST_TASKS)}
    return [task for task in tasks if task in largest]


def _extreme_pairs(
    r_QQ: npt.NDArray[np.float64], ids: Sequence[str]
) -> tuple[tuple[str, str, str, str], ...]:
    above = np.where(np.triu(np.ones_like(r_QQ, dtype=bool), 1), r_QQ, np.nan)
    if np.isnan(above).all():
        return ()
    pairs = []
    for name, place in (("highest", np.nanargmax(above)), ("lowest", np.nanargmin(above))):
        i, j = (int(x) for x in np.unravel_index(place, above.shape))
        pairs.append((name, ids[i], ids[j], signed(above[i, j])))
    return tuple(pairs if pairs[0][1:3] != pairs[1][1:3] else pairs[:1])


@dataclass(frozen=True)
class Significance:
    """One sentence on all pairs, and a row a pair of tasks: a, b, mean R, its interval, p, number of pairs."""

    sentence: str
    rows: tuple[tuple[str, str, str, str, str, str], ...]


def significance(folder: Path) -> Significance | None:
    """Intervals and permutation tests of the run in `folder`; None if the analysis did not run, or on two runs.

    Raises:
        StoreError: a table of the analysis is damaged.
    """
    path = folder / "analysis" / "correlation" / "permutation.parquet"
    tables = read_tables(folder, "correlation", ("blocks", "permutation")) if path.exists() else None
    if tables is None or tables["permutation"].empty:
        return None
    test = tables["permutation"].iloc[0]
    by = made_by(path).get("by", "normed")
    sentence = (
        f"By {by}, mean R is {signed(test['within'])} within tasks and {signed(test['between'])} between them; "
        f"{_p(test['p'])} over {count(int(test['permutations']))} permutations of the tasks of the queries."
    )
    rows = tuple(
        (
            str(row["a"]),
            str(row["b"]),
            signed(row["mean"]),
            interval(row["low"], row["high"], 2, "+"),
            _p(row["p"]),
            count(int(row["pairs"])),
        )
        for row in tables["blocks"].to_dict("records")
    )
    return Significance(sentence, rows)


def _p(value: float) -> str:
    return f"p = {value:.2g}" if math.isfinite(value) else "p not defined"
