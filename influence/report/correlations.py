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
from influence.report.contrast import Contrast, contrast, p_value
from influence.report.format import count, interval, shade, signed
from influence.store.formats.tables import made_by, read_tables
from influence.store.scores import Scores
from influence.types import Reading

MOST_TASKS = 12
MOST_MAPPED = 2_000
#: Queries up to which the data of the heat map are its pairs: 125,000 of them.
MOST_LISTED = 500


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
        contrast=contrast(r_QQ, same & off, ~same, labels),
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
        f"{p_value(test['p'])} over {count(int(test['permutations']))} permutations of the tasks of the queries."
    )
    rows = tuple(
        (
            str(row["a"]),
            str(row["b"]),
            signed(row["mean"]),
            interval(row["low"], row["high"], 2, "+"),
            p_value(row["p"]),
            count(int(row["pairs"])),
        )
        for row in tables["blocks"].to_dict("records")
    )
    return Significance(sentence, rows)
