"""Groups of queries, means over them with bootstrap intervals, and tests between them.

Queries are the unit of all uncertainty: they are drawn anew, documents and scores stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.errors import InputError
from influence.types import Query

#: By task, by group, or by labels of your own: query id -> label; queries it does not name are left out.
Grouping = Literal["task", "group"] | Mapping[str, str]

RESAMPLES = 2000
_LEVELS = (2.5, 97.5)
_Z = 1.959964


def group_rows(queries: Sequence[Query], group_by: Grouping = "task") -> dict[str, npt.NDArray[np.int64]]:
    """Rows of the score matrix under each label; labels in task order (reasoning, factual, control first).

    Raises:
        InputError: the grouping is none we know, names a query that is not there, or leaves no query.
    """
    if isinstance(group_by, Mapping):
        known = {query.id for query in queries}
        unknown = [name for name in group_by if name not in known]
        if unknown:
            raise InputError(
                f"The grouping names a query that is not in this run: {unknown[0]!r}.",
                have=f"{len(unknown)} of {len(group_by)} names unknown",
            )
        labels = [group_by.get(query.id) for query in queries]
    elif group_by in ("task", "group"):
        labels = list(task_labels(queries) if group_by == "task" else [query.group for query in queries])
    else:
        raise InputError(f"There is no grouping {group_by!r}.", fix="Use task, group, or a mapping of ids.")
    rows: dict[str, list[int]] = {}
    for row in task_order(queries):
        label = labels[row]
        if label is not None:
            rows.setdefault(label, []).append(row)
    if not rows:
        raise InputError("The grouping leaves no query.", fix="Give a label to at least one query.")
    return {label: np.array(members, np.int64) for label, members in rows.items()}


def bootstrap_means(
    values: npt.ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Means of `values [N, ...]` over N members drawn with replacement: `[resamples, ...]`."""
    values_N = np.asarray(values, np.float64)
    n = len(values_N)
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    weights = np.zeros((resamples, n))
    np.add.at(weights, (np.arange(resamples)[:, None], drawn), 1.0 / n)
    return np.tensordot(weights, values_N, axes=1)


def mean_interval(values: npt.ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, float]:
    """Mean, standard deviation (n − 1) and 95 % percentile bootstrap interval of one value a query.

    NaN values are queries for which the statistic is not defined; they are left out. Keys: n, mean, sd, low, high.
    """
    values_N = np.asarray(values, np.float64)
    values_N = values_N[~np.isnan(values_N)]
    n = len(values_N)
    if n == 0:
        return {"n": 0, "mean": np.nan, "sd": np.nan, "low": np.nan, "high": np.nan}
    low, high = np.percentile(bootstrap_means(values_N, resamples, seed), _LEVELS)
    sd = float(values_N.std(ddof=1)) if n > 1 else np.nan
    return {"n": n, "mean": float(values_N.mean()), "sd": sd, "low": float(low), "high": float(high)}


def wilson(hits: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share of `n`."""
    centre, spread = (hits + _Z**2 / 2) / (n + _Z**2), _Z / (n + _Z**2)
    half = spread * math.sqrt(hits * (n - hits) / n + _Z**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def summarise(
    table: pd.DataFrame,
    queries: Sequence[Query],
    value: str,
    keys: Sequence[str] = (),
    group_by: Grouping = "task",
    seed: int = 0,
) -> pd.DataFrame:
    """Mean, spread and interval over the queries of each label, for every combination of `keys`.

    Args:
        table: One row a query (column `query`) and combination of `keys`, with a column `value`.

    Returns:
        Columns label, *keys, n, mean, sd, low, high.
    """
    rows = []
    for label, members in group_rows(queries, group_by).items():
        names = {queries[row].id for row in members}
        own = table[table["query"].isin(names)]
        parts = own.groupby(list(keys), sort=False) if keys else [((), own)]
        for key, part in parts:
            rows.append(
                {"label": label, **dict(zip(keys, key, strict=True)), **mean_interval(part[value], seed=seed)}
            )
    return pd.DataFrame(rows, columns=["label", *keys, "n", "mean", "sd", "low", "high"])


def welch_tests(
    table: pd.DataFrame, queries: Sequence[Query], value: str, group_by: Grouping = "group"
) -> pd.DataFrame:
    """Welch's t-test of `value` (one row a query) between every pair of labels, two-sided, variances not pooled.

    Returns:
        Columns a, b, n_a, n_b, mean_a, mean_b, difference (a − b), t, df, p. NaN where a label has fewer than two
        values or neither varies. p is per pair, not corrected for the number of pairs.
    """
    from scipy.stats import t as student

    value_of = table.set_index("query")[value]
    samples = {}
    for label, members in group_rows(queries, group_by).items():
        own = value_of.reindex([queries[row].id for row in members]).to_numpy(float)
        samples[label] = own[~np.isnan(own)]
    rows = []
    for a, b in combinations(samples, 2):
        x, y = samples[a], samples[b]
        t = df = p = np.nan
        if len(x) > 1 and len(y) > 1:
            u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
            if u + v > 0:
                t = (x.mean() - y.mean()) / np.sqrt(u + v)
                df = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
                p = 2 * float(student.sf(abs(t), df))
        mean_a, mean_b = (z.mean() if len(z) else np.nan for z in (x, y))
        rows.append((a, b, len(x), len(y), mean_a, mean_b, mean_a - mean_b, t, df, p))
    columns = ["a", "b", "n_a", "n_b", "mean_a", "mean_b", "difference", "t", "df", "p"]
    return pd.DataFrame(rows, columns=columns)


_GROUPS = ("reasoning", "factual", "control")


def task_labels(queries: Sequence[Query]) -> list[str]:
    """What a query is filed under: its task, and its group too where one task stands in several groups."""
    groups: dict[str, set[str]] = {}
    for query in queries:
        groups.setdefault(query.task, set()).add(query.group)
    return [q.task if len(groups[q.task]) == 1 else f"{q.task} ({q.group})" for q in queries]


def task_order(queries: Sequence[Query]) -> list[int]:
    """Rows sorted by group (reasoning, factual, control, others as first seen), then task, then file order."""
    labels = task_labels(queries)
    seen = {label: n for n, label in reversed(list(enumerate(labels)))}
    names = dict.fromkeys((*_GROUPS, *(query.group for query in queries)))
    group = {name: n for n, name in enumerate(names)}
    return sorted(range(len(queries)), key=lambda row: (group[queries[row].group], seen[labels[row]], row))


def group_means(r: pd.DataFrame, queries: Sequence[Query]) -> pd.DataFrame:
    """Mean off-diagonal R for each pair of task labels.

    Args:
        r: Result of `correlation`, rows in the order of `queries`.

    Returns:
        `[tasks, tasks]`, in `task_order`; NaN where no pair of queries has a defined R.
    """

    r_QQ = r.to_numpy(float, copy=True)
    np.fill_diagonal(r_QQ, np.nan)
    labels = np.array(task_labels(queries), object)
    tasks = list(dict.fromkeys(labels[task_order(queries)]))
    means = pd.DataFrame(np.nan, index=tasks, columns=tasks)
    for a in tasks:
        for b in tasks:
            pairs = r_QQ[np.ix_(labels == a, labels == b)]
            pairs = pairs[~np.isnan(pairs)]
            if pairs.size:
                means.loc[a, b] = pairs.mean()
    return means
