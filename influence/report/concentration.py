"""How concentrated influence is: sums over the strongest documents, and score against rank with its power law."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from influence.analysis.concentration import SIDES, concentration, power_law
from influence.analysis.documents import rank_curve
from influence.analysis.grouping import group_rows
from influence.report.drawing import GROUP_INKS, INK, LINE, drawing_of
from influence.report.format import count, fixed, power
from influence.report.line_charts import Axes, Series, line_chart
from influence.report.page import Choice, Figure, Panel, sizes
from influence.store.scores import Scores
from influence.types import READING_UNITS, Query, Reading

_MEASURES = (("share_mean", "share_sd"), ("mean", "sd"))
_UNITS = ("percent", "documents")


def cumulative(scores: Scores) -> Figure:
    """Sum and share of the total, against percent and number of documents, of all queries and of those answered right.

    Lines are means over the queries of a group, bands ± 1 SD.
    """
    by: Reading = "per_nat" if bool((np.asarray(scores.query_nll) > 0).all()) else "dot"
    queries_by_label = {"all": list(scores.queries)}
    right = [query for query in scores.queries if query.correct]
    if 0 < len(right) < len(scores.queries):
        queries_by_label["answered right"] = right
    curves = concentration(scores, by)
    parts = [_means(curves, queries, of) for of, queries in queries_by_label.items()]
    table = pd.concat(parts, ignore_index=True)
    panels = []
    for which, of in enumerate(queries_by_label, 1):
        for side in SIDES:
            for measure in (1, 2):
                for unit in (1, 2):
                    at = (measure, unit, which) if len(queries_by_label) > 1 else (measure, unit)
                    own = table[(table["queries"] == of) & (table["side"] == side)]
                    panels += _panel(own[own["unit"] == _UNITS[unit - 1]], side, by, at)
    choices = [
        Choice("Show", ("share of the total", "summed score")),
        Choice("against", ("top %", "number of documents")),
        Choice("of queries", ("all", "answered right")),
    ]
    marked = f" (answered right: {sizes(right)})" if len(queries_by_label) > 1 else ""
    caption = (
        f"Influence summed over the strongest documents of each sign, in rank order, by {by.replace('_', ' ')}. "
        f"Line: mean over the queries of a group; band: ± 1 SD. n = {sizes(scores.queries)} queries{marked}, "
        f"{count(scores.documents_scored)} documents each. Against percent, a line ends at the sum of all documents of "
        "that sign; against their number, where a query of the group has no more. Influence is a first-order "
        "prediction, and sums of many small scores carry its errors."
    )
    return Figure("cumulative", tuple(panels), caption, table, tuple(choices[: 1 + len(queries_by_label)]))


def _means(curves: pd.DataFrame, queries: Sequence[Query], of: str) -> pd.DataFrame:
    """Mean and SD of sum and share over the queries of each group, at the points that all of them have."""
    parts = []
    for label, members in group_rows(queries, "group").items():
        own = curves[curves["query"].isin([queries[row].id for row in members])]
        points = own.groupby(["side", "unit", "at"], sort=False)
        sums, shares = points["cumulative"], points["share"]
        values = {"n": sums.count(), "mean": sums.mean(), "sd": sums.std()}
        values |= {"share_mean": shares.mean(), "share_sd": shares.std()}
        means = pd.DataFrame(values).reset_index()
        means = means[(means["n"] == len(members)) & (means["mean"] != 0)]
        means.insert(0, "label", label)
        parts.append(means)
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "queries", of)
    return table


def _panel(table: pd.DataFrame, side: str, by: Reading, at: tuple[int, ...]) -> list[Panel]:
    mean, sd = _MEASURES[at[0] - 1]
    series = []
    for label, own in table.groupby("label", sort=False):
        middle, spread = own[mean], own[sd].fillna(0)
        n = int(own["n"].iloc[0])
        series.append(Series(str(label), own["at"], middle, middle - spread, middle + spread, n=n))
    if not series:
        return []
    share = at[0] == 1
    said = f"top % of the {side} documents" if at[1] == 1 else f"strongest {side} documents"
    y = "share of the sum of all" if share else f"summed score ({'dot / nats' if by == 'per_nat' else 'dot'})"
    axes = Axes(said, y, y_limits=(-0.03, 1.06) if share else None, band="± 1 SD over queries")
    name = "-".join(("cumulative", side, *(str(option) for option in at)))
    title = f"{'Share of influence' if share else 'Cumulative influence'}, {side} documents"
    return [Panel(f"{side} documents", line_chart(name, title, series, axes), at)]


#: Ranks drawn, and fitted.
CURVE_RANKS = 500
MOST_TASKS = 12
#: Slopes of the two halves of a curve that differ by more are no straight line.
MOST_BEND = 0.25


@dataclass(frozen=True)
class Curves:
    """Scores at each rank of the queries of one task, their median, and the mean power law of their fits."""

    label: str
    group: str
    rank_P: npt.NDArray[np.int64]
    lines: dict[str, npt.NDArray[np.float64]]
    median_P: npt.NDArray[np.float64]
    fit_P: npt.NDArray[np.float64]
    alpha: float
    se: float

    @property
    def law(self) -> str:
        """The fit in words."""
        if not math.isfinite(self.alpha):
            return "no slope: fewer than three positive scores"
        if self.bends:
            return f"no power law: α = {fixed(self.first, 2)} at first, {fixed(self.last, 2)} later"
        return f"α = {fixed(self.alpha, 2)} ± {self.se:.1g}"

    @property
    def bends(self) -> bool:
        """Whether the median falls so differently in its two halves that one slope misleads."""
        return abs(self.last - self.first) > MOST_BEND

    @property
    def first(self) -> float:
        """Slope of the median over the first half of the logarithm of the ranks."""
        return _slope(self.rank_P, self.median_P, first=True)

    @property
    def last(self) -> float:
        """Slope of the median over the second half."""
        return _slope(self.rank_P, self.median_P, first=False)


def _slope(rank_P: npt.NDArray[np.int64], median_P: npt.NDArray[np.float64], *, first: bool) -> float:
    """Least-squares slope of log score on log rank in one half; NaN below three positive values."""
    half = np.log(rank_P) <= np.log(rank_P[-1]) / 2
    own = (half if first else ~half) & (median_P > 0)
    if own.sum() < 3:
        return math.nan
    return float(np.polyfit(np.log(rank_P[own]), np.log(median_P[own]), 1)[0])


def summable(scores: Scores, by: Reading) -> Reading:
    """`by`, or `dot` where per nat is not defined because a completion has probability 1."""
    return "dot" if by == "per_nat" and not bool((np.asarray(scores.query_nll) > 0).all()) else by


def curves(scores: Scores, by: Reading) -> Figure | None:
    """Scores of each query at ranks 1 to 500, their median, and the mean power law of the task; on shared axes."""
    by = summable(scores, by)
    rank_P, values_QP = rank_curve(scores, CURVE_RANKS, by)
    positive = values_QP[values_QP > 0]
    if len(rank_P) < 3 or not positive.size:
        return None
    limits = (float(positive.min()) / 1.3, float(positive.max()) * 1.3)
    fits = power_law(scores, CURVE_RANKS, by)
    fits = fits[fits["side"] == "positive"].set_index("query")
    panels: list[Panel] = []
    parts = []
    for label, rows in _largest(scores).items():
        if not (values_QP[rows] > 0).any():
            continue
        lines = {scores.queries[row].id: values_QP[row] for row in rows}
        law = _law(fits.loc[list(lines)], rank_P)
        task = Curves(
            label, scores.queries[rows[0]].group, rank_P, lines, np.median(values_QP[rows], axis=0), *law
        )
        svg = curve_panel(task, limits, f"curve-{len(panels) + 1}", by.replace("_", " "))
        note = f"{task.group}, {count(len(rows))} {'query' if len(rows) == 1 else 'queries'}"
        panels.append(Panel(label, svg, note=note, label=label))
        parts.append(_table(task, fits))
    caption = (
        f"{by.replace('_', ' ').capitalize()} score ({READING_UNITS[by]}) of the documents at rank 1 to "
        f"{count(int(rank_P[-1]))}, both axes logarithmic and shared. Thin: one query; thick: the median of the task; "
        "dashed: score ∝ rank^α, the mean of the least-squares lines of its queries through these ranks, ± standard "
        "error over the queries (of one query: of its line). Only positive scores are drawn and fitted. "
        f"n = {count(scores.documents_scored)} documents a query. Neighbouring ranks are not independent, and a "
        "straight line is a description, not a test of a power law."
    )
    return Figure("curves", tuple(panels), caption, pd.concat(parts, ignore_index=True))


def _largest(scores: Scores) -> dict[str, npt.NDArray[np.int64]]:
    """Rows of the largest tasks, in their order."""
    rows_of = group_rows(scores.queries, "task")
    sizes = Counter({label: len(rows) for label, rows in rows_of.items()})
    largest = {label for label, _ in sizes.most_common(MOST_TASKS)}
    return {label: rows for label, rows in rows_of.items() if label in largest}


def _law(fits: pd.DataFrame, rank_P: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], float, float]:
    """The mean line at each rank, its slope and the standard error of that; NaN where no query has a line."""
    own = fits[np.isfinite(fits["slope"])]
    if own.empty:
        return np.full(len(rank_P), np.nan), math.nan, math.nan
    alpha = float(own["slope"].mean())
    se = float(own["slope"].std() / math.sqrt(len(own)) if len(own) > 1 else own["se"].iloc[0])
    return np.exp(float(own["intercept"].mean()) + alpha * np.log(rank_P)), alpha, se


def _table(task: Curves, fits: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for query, values_P in task.lines.items():
        own = pd.DataFrame({"rank": task.rank_P, "score": values_P})
        own.insert(0, "query", query)
        own = own.assign(slope=fits["slope"][query], slope_se=fits["se"][query])
        parts.append(own.assign(median=task.median_P, fit=task.fit_P))
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "label", task.label)
    table.insert(1, "group", task.group)
    return table.assign(alpha=task.alpha, alpha_se=task.se, bends="yes" if task.bends else "no")


def curve_panel(task: Curves, limits: tuple[float, float], name: str, unit: str) -> Markup:
    """Score against rank of the queries of one task, both axes logarithmic; what is not positive is not drawn.

    Args:
        limits: Of the score axis, shared by all panels.
        name: Makes the ids of this figure unique.
    """
    gids = {f"query-{number}": query for number, query in enumerate(task.lines)}
    with drawing_of(name, 3.5, 2.45) as drawing:
        axes = drawing.figure.add_axes((0.12, 0.17, 0.81, 0.74))
        for gid, values_P in zip(gids, task.lines.values(), strict=True):
            axes.plot(task.rank_P, _positive(values_P), color=INK, alpha=0.22, linewidth=0.7, gid=gid)
        colour = GROUP_INKS.get(task.group, INK)
        axes.plot(task.rank_P, _positive(task.median_P), color=colour, linewidth=2.2, gid="median")
        dashed: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.1}
        axes.plot(task.rank_P, _positive(task.fit_P), color=INK, gid="fit", **dashed)
        axes.text(0.03, 0.04, task.law, transform=axes.transAxes, fontsize=8, color=INK, va="bottom")
        _dress(axes, int(task.rank_P[-1]), limits, unit)
    description = (
        f"Scores of {len(task.lines)} queries from rank 1 to {task.rank_P[-1]:,}, log-log, with their median. "
        f"{task.law}."
    )
    return drawing.inline(f"Score against rank: {task.label}", description, queries=gids)


def _positive(values_P: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.where(values_P > 0, values_P, np.nan)


def _dress(axes: Any, last: int, limits: tuple[float, float], unit: str) -> None:
    axes.set(xscale="log", yscale="log", ylim=limits, xlim=(1, max(last, 2)))
    axes.set_xlabel("rank", labelpad=2)
    axes.set_title(f"{unit} score", loc="left", fontsize=8, pad=6, x=-0.135)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(left=False, bottom=False, pad=7.5)
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _position: power(round(math.log10(value))))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
