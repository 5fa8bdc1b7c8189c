"""Is R between queries of one task higher than between tasks, and by how much? Blocks of the matrix of R.

All uncertainty is over queries: with millions of documents a p-value of one R says nothing. Intervals draw queries
anew within their labels; tests permute the labels of the queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.columns import same_documents
from influence.analysis.grouping import RESAMPLES, Grouping, finite_row, group_rows, mean_interval
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Query, Reading

PERMUTATIONS = 2000


def block_table(
    r: pd.DataFrame,
    queries: Sequence[Query],
    group_by: Grouping = "task",
    *,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean off-diagonal R of each pair of labels, with interval and permutation test.

    Args:
        r: Result of `correlation.correlation`, rows in the order of `queries`.

    Returns:
        A row a pair of labels (a = b for pairs within one): a, b, pairs (with a defined R), mean, low, high (95 %
        bootstrap over queries; a query drawn twice is no pair with itself), p (two-sided: how often a block of the
        same size under permuted labels lies as far from their mean; at least 1 / (permutations + 1)). NaN where there
        is no pair.
    """
    rows_of = group_rows(queries, group_by)
    labels = list(rows_of)
    value_QQ, defined_QQ = _pairs(r)
    weights = {
        label: _drawn(rows, len(r), resamples, seed + n) for n, (label, rows) in enumerate(rows_of.items())
    }
    order, sizes = np.concatenate(list(rows_of.values())), [len(rows) for rows in rows_of.values()]
    shuffled = _shuffled(order, sizes, len(r), permutations, seed)
    rows = []
    for a, b in combinations_with_replacement(range(len(labels)), 2):
        own_a, own_b = (_indicator(rows_of[labels[n]], len(r)) for n in (a, b))
        mean, pairs = _block_means(own_a, own_b, value_QQ, defined_QQ)
        drawn, _ = _block_means(weights[labels[a]], weights[labels[b]], value_QQ, defined_QQ)
        low, high = _interval(drawn)
        null, _ = _block_means(shuffled[a], shuffled[b], value_QQ, defined_QQ)
        n_pairs = int(pairs[0]) // (2 if a == b else 1)
        rows.append((labels[a], labels[b], n_pairs, mean[0], low, high, _two_sided(mean[0], null)))
    return pd.DataFrame(rows, columns=["a", "b", "pairs", "mean", "low", "high", "p"])


def within_means(
    r: pd.DataFrame,
    queries: Sequence[Query],
    group_by: Grouping = "task",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """The blocks on the diagonal of `block_table`, without tests: label, pairs, mean, low, high."""
    value_QQ, defined_QQ = _pairs(r)
    rows = []
    for n, (label, members) in enumerate(group_rows(queries, group_by).items()):
        own, drawn = _indicator(members, len(r)), _drawn(members, len(r), resamples, seed + n)
        mean, pairs = _block_means(own, own, value_QQ, defined_QQ)
        means, _ = _block_means(drawn, drawn, value_QQ, defined_QQ)
        rows.append((label, int(pairs[0]) // 2, mean[0], *_interval(means)))
    return pd.DataFrame(rows, columns=["label", "pairs", "mean", "low", "high"])


def permutation_test(
    r: pd.DataFrame,
    queries: Sequence[Query],
    group_by: Grouping = "task",
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Do queries of one label correlate more than queries of different labels?

    Returns:
        One row: within, between (mean R over pairs), difference, p (one-sided: the share of label permutations,
        this one among them, whose difference is at least as large), permutations. NaN without pairs of both kinds.
    """
    rows_of = group_rows(queries, group_by)
    value_QQ, defined_QQ = _pairs(r)
    order, sizes = np.concatenate(list(rows_of.values())), [len(rows) for rows in rows_of.values()]
    own = [_indicator(rows, len(r)) for rows in rows_of.values()]
    within, between = _within_and_between(own, value_QQ, defined_QQ)
    null_within, null_between = _within_and_between(
        _shuffled(order, sizes, len(r), permutations, seed), value_QQ, defined_QQ
    )
    difference, null = within[0] - between[0], null_within - null_between
    p = (
        (1 + int((null >= difference - 1e-12).sum())) / (1 + permutations)
        if np.isfinite(difference)
        else np.nan
    )
    record = (within[0], between[0], difference, p, permutations)
    return pd.DataFrame([record], columns=["within", "between", "difference", "p", "permutations"])


def largest_pairs(r: pd.DataFrame, queries: Sequence[Query], n: int = 20) -> pd.DataFrame:
    """The `n` pairs of different queries with the highest R: a, b (query ids), task_a, task_b, r."""
    value_QQ, defined_QQ = _pairs(r)
    first, second = np.nonzero(np.triu(defined_QQ, 1))
    values = value_QQ[first, second]
    order = np.argsort(-values, kind="stable")[:n]
    return pd.DataFrame(
        {
            "a": [queries[row].id for row in first[order]],
            "b": [queries[row].id for row in second[order]],
            "task_a": [queries[row].task for row in first[order]],
            "task_b": [queries[row].task for row in second[order]],
            "r": values[order],
        }
    )


def cross_correlation(a: Scores, b: Scores, by: Reading = "normed") -> pd.DataFrame:
    """R over the documents between the scores of equal prompts in two runs, such as of two models.

    Returns:
        A row a prompt that stands in both: query_a, query_b, task, r (NaN if either does not vary).

    Raises:
        InputError: the runs scored different documents, share no prompt, or a prompt stands twice in one of them.
    """
    if not same_documents(a, b):
        raise InputError(
            f"{a.folder} and {b.folder} did not score the same documents in the same order.",
            have=f"{len(a.documents):,} and {len(b.documents):,} documents",
            fix="Score both on one corpus, with a shared tokenizer or --max-length that keeps the same documents.",
        )
    pair_of = [{query.prompt: query for query in scores.queries} for scores in (a, b)]
    for scores, pairs in zip((a, b), pair_of, strict=True):
        if len(pairs) < len(scores.queries):
            raise InputError(f"A prompt stands twice in {scores.folder}: pairs would be ambiguous.")
    rows = [
        (
            query.id,
            pair_of[1][prompt].id,
            query.task,
            pearson(finite_row(a, query.id, by), finite_row(b, pair_of[1][prompt].id, by)),
        )
        for prompt, query in pair_of[0].items()
        if prompt in pair_of[1]
    ]
    if not rows:
        raise InputError(f"No prompt stands in both {a.folder} and {b.folder}.")
    return pd.DataFrame(rows, columns=["query_a", "query_b", "task", "r"])


def cross_summary(cross: pd.DataFrame) -> pd.DataFrame:
    """Mean R of equal prompts for each task: task, n, mean, sd, low, high."""
    rows = [{"task": task, **mean_interval(part["r"])} for task, part in cross.groupby("task", sort=False)]
    return pd.DataFrame(rows, columns=["task", "n", "mean", "sd", "low", "high"])


def pearson(x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]) -> float:
    """Pearson R of two rows where both are known (not NaN), in float64; NaN if either does not vary."""
    unknown = np.isnan(x) | np.isnan(y)
    if unknown.any():
        x, y = x[~unknown], y[~unknown]
    if not len(x) or x.min() == x.max() or y.min() == y.max():
        return float("nan")
    u, v = (_scaled(z) for z in (x, y))
    return float(np.clip(u @ v / np.sqrt((u @ u) * (v @ v)), -1.0, 1.0))


def _scaled(x: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    centred = x - np.mean(x, dtype=np.float64)
    return np.asarray(centred / np.abs(centred).max(), np.float64)


def _pairs(r: pd.DataFrame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """R with zeros where there is no pair, and ones where there is."""
    value_QQ = r.to_numpy(float, copy=True)
    np.fill_diagonal(value_QQ, np.nan)
    defined_QQ = ~np.isnan(value_QQ)
    return np.where(defined_QQ, value_QQ, 0.0), defined_QQ.astype(float)


def _indicator(rows: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.float64]:
    own = np.zeros((1, n))
    own[0, rows] = 1
    return own


def _drawn(rows: npt.NDArray[np.int64], n: int, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """How often each query is drawn, `[resamples, Q]`."""
    drawn = np.random.default_rng(seed).choice(rows, (resamples, len(rows)))
    weights = np.zeros((resamples, n))
    np.add.at(weights, (np.arange(resamples)[:, None], drawn), 1.0)
    return weights


def _shuffled(
    order: npt.NDArray[np.int64], sizes: Sequence[int], n: int, permutations: int, seed: int
) -> list[npt.NDArray[np.float64]]:
    """Members of each label under permuted labels, `[permutations, Q]` each."""
    permuted = np.random.default_rng(seed).permuted(np.tile(order, (permutations, 1)), axis=1)
    result = []
    start = 0
    for size in sizes:
        own = np.zeros((permutations, n))
        np.put_along_axis(own, permuted[:, start : start + size], 1.0, axis=1)
        result.append(own)
        start += size
    return result


def _block_means(
    a_NQ: npt.NDArray[np.float64],
    b_NQ: npt.NDArray[np.float64],
    value_QQ: npt.NDArray[np.float64],
    defined_QQ: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weighted mean R over ordered pairs, and the weight of those pairs."""
    total_N = np.einsum("nq,nq->n", a_NQ @ value_QQ, b_NQ)
    weight_N = np.einsum("nq,nq->n", a_NQ @ defined_QQ, b_NQ)
    return np.divide(total_N, weight_N, out=np.full_like(total_N, np.nan), where=weight_N > 0), weight_N


def _within_and_between(
    members: Sequence[npt.NDArray[np.float64]],
    value_QQ: npt.NDArray[np.float64],
    defined_QQ: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    total = weight = np.zeros(len(members[0]))
    for own in members:
        mean, pairs = _block_means(own, own, value_QQ, defined_QQ)
        total, weight = total + np.where(pairs > 0, mean, 0.0) * pairs, weight + pairs
    everyone = np.asarray(sum(members))
    mean_all, pairs_all = _block_means(everyone, everyone, value_QQ, defined_QQ)
    rest = np.where(pairs_all > 0, mean_all, 0.0) * pairs_all - total
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(total / weight), np.asarray(rest / (pairs_all - weight))


def _interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _two_sided(value: float, null: npt.NDArray[np.float64]) -> float:
    null = null[~np.isnan(null)]
    if np.isnan(value) or not len(null):
        return np.nan
    centre = null.mean()
    as_far = int((np.abs(null - centre) >= abs(value - centre) - 1e-12).sum())
    return (1 + as_far) / (1 + len(null))
