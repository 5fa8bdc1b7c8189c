"""The figures and tables over all queries: correlation and sources."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from influence.analysis.correlation import correlation, group_means, task_labels, task_order
from influence.analysis.sources import source_shares
from influence.report.charts import heat_map
from influence.report.text import count, signed
from influence.store.scores import Scores
from influence.types import Reading

if TYPE_CHECKING:
    import pandas as pd

MOST_TASKS = 12
MOST_SOURCES = 20
MOST_MAPPED = 2_000
#: Queries up to which the data of the heat map are its pairs: 125,000 of them.
MOST_LISTED = 500


@dataclass(frozen=True)
class Correlations:
    """The heat map, the means of pairs of tasks, and the two extreme pairs of queries."""

    figure: Markup | None
    tasks: tuple[str, ...]
    means: tuple[tuple[tuple[str, str], ...], ...]
    within: str
    between: str
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
    cells = tuple(tuple((signed(means_TT[a, b]), _level(means_TT[a, b])) for b in places) for a in places)
    return Correlations(
        figure=figure,
        tasks=tuple(shown),
        means=cells,
        within=_mean(r_QQ[same & off]),
        between=_mean(r_QQ[~same]),
        pairs=_extreme_pairs(r_QQ, [query.id for query in scores.queries]),
        undefined=tuple(scores.queries[i].id for i in order if math.isnan(r_QQ[i, i])),
        cut=f"the {len(shown)} largest of {len(means)} tasks" if len(shown) < len(means) else "",
        table=_pair_table(ordered_QQ, [scores.queries[i].id for i in order])
        if not pooled
        else _mean_table(means),
        pooled=pooled,
    )


def _pair_table(r_QQ: npt.NDArray[np.float64], ids: Sequence[str]) -> pd.DataFrame:
    """Every pair of different queries once, in the order drawn; R to six decimals."""
    import pandas as pd

    first, second = np.triu_indices(len(r_QQ), 1)
    names = np.array(ids, object)
    return pd.DataFrame({"a": names[first], "b": names[second], "r": r_QQ[first, second].round(6)})


def _mean_table(means: pd.DataFrame) -> pd.DataFrame:
    table = means.rename_axis("task_a").reset_index().melt("task_a", var_name="task_b", value_name="mean_r")
    return table.astype({"task_a": object, "task_b": object})


def _largest_tasks(labels: Sequence[str], tasks: list[str]) -> list[str]:
    largest = {task for task, _ in Counter(labels).most_common(MOST_TASKS)}
    return [task for task in tasks if task in largest]


def _level(r: float) -> str:
    """CSS class of a shaded cell: sign and tenth of |R|."""
    if math.isnan(r):
        return "nil"
    return f"{'p' if r >= 0 else 'n'}{min(10, round(abs(r) * 10))}"


def _mean(values: npt.NDArray[np.float64]) -> str:
    values = values[~np.isnan(values)]
    return signed(float(values.mean())) if values.size else "not defined"


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


def sources(scores: Scores, table: pd.DataFrame, k: int, by: Reading) -> dict[str, Any]:
    """Source shares of the top `k` against the corpus: `groups`, `rows` (a cell per group), `left` (out)."""
    shares = source_shares(scores, table, k, by)
    groups = list(dict.fromkeys(shares["group"]))
    names = list(dict.fromkeys(shares["source"]))
    rows = []
    for name in names[:MOST_SOURCES]:
        mine = shares[shares["source"] == name].set_index("group")
        cells = [
            {
                "count": count(int(mine.loc[group, "count"])),
                "of": count(int(mine.loc[group, "of"])),
                "multiplier": _times(float(mine.loc[group, "multiplier"])),
            }
            for group in groups
        ]
        first = mine.iloc[0]
        percent = 100 * float(first["share"])
        share = f"{percent:.1f} %" if percent >= 0.05 else f"{percent:.1g} %"
        rows.append(
            {"source": name, "documents": count(int(first["documents"])), "share": share, "cells": cells}
        )
    return {
        "groups": groups,
        "rows": rows,
        "left": max(0, len(names) - MOST_SOURCES),
        "only": len(names) == 1,
    }


def _times(multiplier: float) -> str:
    if multiplier == 0:
        return "0×"
    return f"{multiplier:.2f}×" if multiplier < 10 else f"{multiplier:,.0f}×"
