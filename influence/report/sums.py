"""F2: influence summed over the strongest documents of each sign, with the table it is drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from influence.analysis.concentration import SIDES, concentration
from influence.analysis.grouping import group_rows
from influence.report.figures import Choice, Figure, Panel, sizes
from influence.report.lines import Axes, Series, line_chart
from influence.report.text import count
from influence.store.scores import Scores
from influence.types import Query, Reading

_MEASURES = (("mean", "sd"), ("share_mean", "share_sd"))
_UNITS = ("percent", "documents")


def cumulative(scores: Scores) -> Figure:
    """Sum and share of the total, against percent and number of documents, of all queries and of those answered right.

    Lines are means over the queries of a group, bands ± 1 SD.
    """
    by: Reading = "per_nat" if bool((np.asarray(scores.query_nll) > 0).all()) else "dot"
    asked = {"all": list(scores.queries)}
    right = [query for query in scores.queries if query.correct]
    if 0 < len(right) < len(scores.queries):
        asked["answered right"] = right
    curves = concentration(scores, by)
    parts = [_means(curves, queries, of) for of, queries in asked.items()]
    table = pd.concat(parts, ignore_index=True)
    panels = []
    for which, of in enumerate(asked, 1):
        for side in SIDES:
            for measure in (1, 2):
                for unit in (1, 2):
                    at = (measure, unit, which) if len(asked) > 1 else (measure, unit)
                    own = table[(table["queries"] == of) & (table["side"] == side)]
                    panels += _panel(own[own["unit"] == _UNITS[unit - 1]], side, by, at)
    choices = [
        Choice("Show", ("summed score", "share of the total")),
        Choice("against", ("top %", "number of documents")),
        Choice("of queries", ("all", "answered right")),
    ]
    marked = f" (answered right: {sizes(right)})" if len(asked) > 1 else ""
    caption = (
        f"Influence summed over the strongest documents of each sign, in rank order, by {by.replace('_', ' ')}. "
        f"Line: mean over the queries of a group; band: ± 1 SD. n = {sizes(scores.queries)} queries{marked}, "
        f"{count(scores.documents_scored)} documents each. Against percent, a line ends at the sum of all documents of "
        "that sign; against their number, where a query of the group has no more. Influence is a first-order "
        "prediction, and sums of many small scores carry its errors."
    )
    return Figure("cumulative", tuple(panels), caption, table, tuple(choices[: 1 + len(asked)]))


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
        series.append(Series(str(label), own["at"], middle, middle - spread, middle + spread))
    if not series:
        return []
    share = at[0] == 2
    said = f"top % of the {side} documents" if at[1] == 1 else f"strongest {side} documents"
    y = "share of the sum of all" if share else f"summed score ({'dot / nats' if by == 'per_nat' else 'dot'})"
    axes = Axes(said, y, y_limits=(-0.03, 1.06) if share else None)
    name = "-".join(("cumulative", side, *(str(option) for option in at)))
    title = f"{'Share of influence' if share else 'Cumulative influence'}, {side} documents"
    return [Panel(f"{side} documents", line_chart(name, title, series, axes), at)]
