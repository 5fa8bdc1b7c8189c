"""Do two queries draw on the same documents, and do those of one task more than those of different tasks?

Pearson R between the scores of two queries over all documents. Finding 1 of Ruis et al. (arXiv 2411.12580): queries of
one procedure correlate, factual queries do not. All uncertainty is over queries: with millions of documents a p-value
of one R says nothing. Intervals draw queries anew within their labels; tests permute the labels of the queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.grouping import (
    RESAMPLES,
    Grouping,
    group_rows,
)
from influence.errors import ComputeError, InputError
from influence.store.scores import Scores
from influence.types import Query, Reading

#: Numbers of a block held in float64 at a time (16 MB each for the block and its copy).
BLOCK_NUMBERS = 2**21


#: Which scores count: all, or only those of one sign, the others taken as 0.
Part = Literal["all", "positive", "negative"]


def correlation(scores: Scores, by: Reading = "normed", part: Part = "all") -> pd.DataFrame:
    """Pearson R between the score rows of every pair of queries, over all documents that were scored.

    Two passes in column blocks over the memory-mapped matrix, in float64: memory does not grow with documents.
    `per_nat` divides a row by a positive number, so its R is that of `dot`.

    Args:
        part: "positive" correlates max(score, 0), "negative" min(score, 0).

    Returns:
        `[Q, Q]`, rows and columns named by query id. NaN where R is not defined: a query whose scores are all
        equal, or fewer than two documents.

    Raises:
        InputError: there is no such reading or part.
        ComputeError: a score is not finite.
    """

    if part not in ("all", "positive", "negative"):
        raise InputError(f"There is no part {part!r} of the scores.", fix="Use all, positive or negative.")
    if by not in ("dot", "per_nat", "normed"):
        raise InputError(f"There is no reading {by!r} of a score.", fix="Use dot, per_nat or normed.")
    n_queries, n_documents = len(scores.queries), scores.documents_scored
    low_Q = np.full(n_queries, np.inf)
    high_Q = np.full(n_queries, -np.inf)
    sum_Q = np.zeros(n_queries)
    for block_QD in _blocks(scores, by, part):
        low_Q = np.minimum(low_Q, block_QD.min(axis=1))
        high_Q = np.maximum(high_Q, block_QD.max(axis=1))
        sum_Q += block_QD.sum(axis=1)
    _check_finite(scores, low_Q, high_Q)
    varies_Q = high_Q > low_Q
    # Scaled to at most 1, so that squares neither overflow nor vanish.
    scale_Q = np.where(varies_Q, np.maximum(np.abs(low_Q), np.abs(high_Q)), 1.0)
    mean_Q = sum_Q / max(n_documents, 1)
    products_QQ = np.zeros((n_queries, n_queries))
    for block_QD in _blocks(scores, by, part):
        centred_QD = (block_QD - mean_Q[:, None]) / scale_Q[:, None]
        products_QQ += centred_QD @ centred_QD.T
    variance_Q = np.where(varies_Q, np.diag(products_QQ), np.nan)
    r_QQ = products_QQ / np.sqrt(variance_Q[:, None] * variance_Q[None, :])
    r_QQ = np.clip((r_QQ + r_QQ.T) / 2, -1.0, 1.0)
    np.fill_diagonal(r_QQ, np.where(varies_Q, 1.0, np.nan))
    ids = [query.id for query in scores.queries]
    return pd.DataFrame(r_QQ, index=ids, columns=ids)


def _blocks(scores: Scores, by: Reading, part: Part) -> Iterator[npt.NDArray[np.float64]]:
    """Column blocks `[Q, C]` of a part of a reading in float64 (`per_nat` as `dot`)."""
    dot_QD = scores.dot
    n_queries, n_documents = dot_QD.shape
    width = max(1, BLOCK_NUMBERS // max(n_queries, 1))
    for start in range(0, n_documents, width):
        block_QC = np.asarray(dot_QD[:, start : start + width], np.float64)
        if by == "normed":
            norm_C = np.asarray(scores.gradient_norm[start : start + width], np.float64)
            block_QC = np.divide(block_QC, norm_C, out=np.zeros_like(block_QC), where=norm_C != 0)
        if scores.scored is not None:
            block_QC = block_QC[:, scores.scored[start : start + width]]
            if not block_QC.size:
                continue
        if part == "positive":
            block_QC = np.maximum(block_QC, 0.0)
        elif part == "negative":
            block_QC = np.minimum(block_QC, 0.0)
        yield block_QC


def _check_finite(scores: Scores, low_Q: npt.NDArray[np.float64], high_Q: npt.NDArray[np.float64]) -> None:
    if scores.dot.shape[1] == 0:
        return
    bad = np.flatnonzero(~(np.isfinite(low_Q) & np.isfinite(high_Q)))
    if len(bad):
        raise ComputeError(
            f"Scores of query {scores.queries[bad[0]].id!r} in {scores.folder} are not finite.",
            have=f"{len(bad)} of {len(low_Q)} queries with NaN or infinite scores",
            fix="Score again, with the model in float32.",
        )


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
