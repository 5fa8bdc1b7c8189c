"""The linear datamodeling score: do sums of scores over random subsets rank what retraining on the subsets gives?

LDS of a query: Spearman's correlation, over subsets, of the true log p(completion | prompt) after training on the
subset with the sum of the subset's scores (Park et al., arXiv 2303.14186). It is averaged over queries. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Array = npt.NDArray[np.float64]

RESAMPLES = 500
_LEVELS = (2.5, 97.5)
#: The name of what predicts one seed's outcome by another's.
CEILING = "two seeds with each other"


def spearman(a_SQ: npt.ArrayLike, b_SQ: npt.ArrayLike) -> Array:
    """Spearman's correlation over the first axis, `[Q]`; ties share a mean rank, NaN where a side is constant."""
    a, b = _unit_ranks(np.stack([np.asarray(a_SQ, np.float64), np.asarray(b_SQ, np.float64)]))
    return np.asarray((a * b).sum(0))


def _unit_ranks(values_NSQ: Array) -> Array:
    """Ranks over subsets, centred and of norm 1, so that products are correlations; NaN where all are equal."""
    ranks_NSQ = rankdata(values_NSQ, axis=1)
    ranks_NSQ -= ranks_NSQ.mean(axis=1, keepdims=True)
    size_NQ = np.sqrt((ranks_NSQ**2).sum(1, keepdims=True))
    return np.asarray(np.divide(ranks_NSQ, size_NQ, out=np.full_like(ranks_NSQ, np.nan), where=size_NQ > 0))


@dataclass(frozen=True)
class Lds:
    """How well a method predicts retraining.

    Attributes:
        value: Mean over queries and seeds.
        low, high: 95 % interval: queries and subsets drawn anew.
        beside, beside_low, beside_high: The same of the difference to the reference.
        by_query: `[Q]`, NaN where a query's outcome or prediction does not vary.
    """

    value: float
    low: float
    high: float
    beside: float
    beside_low: float
    beside_high: float
    by_query: Array


def lds_table(
    truth_KSQ: Array,
    predicted: Mapping[str, Array],
    reference: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Lds]:
    """The LDS of every method, and of one seed by another where there are several.

    All methods share their draws, so that differences between them are of the same queries and subsets.

    Args:
        truth_KSQ: log p(completion | prompt) after training on each subset, with each of K seeds, nats.
        predicted: Method -> sum of its scores over each subset, `[S, Q]`.
        reference: The method that others are compared with.
    """
    methods = list(predicted)
    predicted_MSQ = np.stack([predicted[name] for name in methods])
    subsets, queries = truth_KSQ.shape[1:]
    by_query_MQ = _by_query(truth_KSQ, predicted_MSQ)
    rng = np.random.default_rng(seed)
    drawn_RM = np.empty((resamples, len(by_query_MQ)))
    for number in range(resamples):
        of_S, of_Q = rng.integers(0, subsets, subsets), rng.integers(0, queries, queries)
        drawn = _by_query(truth_KSQ[:, of_S][:, :, of_Q], predicted_MSQ[:, of_S][:, :, of_Q])
        drawn_RM[number] = _means(drawn)
    names = [*methods, *([CEILING] if len(truth_KSQ) > 1 else [])]
    at = names.index(reference)
    value_M = _means(by_query_MQ)
    result = {}
    for place, name in enumerate(names):
        difference_R = drawn_RM[:, place] - drawn_RM[:, at]
        result[name] = Lds(
            float(value_M[place]),
            *_interval(drawn_RM[:, place]),
            float(value_M[place] - value_M[at]),
            *_interval(difference_R),
            by_query_MQ[place],
        )
    return result


def _by_query(truth_KSQ: Array, predicted_MSQ: Array) -> Array:
    """LDS of each method and query, a mean over seeds, and last that of each pair of seeds: `[M (+ 1), Q]`."""
    ranks = _unit_ranks(np.concatenate([truth_KSQ, predicted_MSQ]))
    seeds = len(truth_KSQ)
    by_seed_KMQ = np.einsum("ksq,msq->kmq", ranks[:seeds], ranks[seeds:])
    if seeds == 1:
        return np.asarray(by_seed_KMQ[0])
    pairs = [(ranks[a] * ranks[b]).sum(0) for a in range(seeds) for b in range(a)]
    return np.concatenate([by_seed_KMQ.mean(0), np.mean(pairs, axis=0)[None]])


def _means(value_MQ: Array) -> Array:
    """Mean of each row without its NaNs; NaN for a row of nothing else."""
    known = np.isfinite(value_MQ)
    total = np.where(known, value_MQ, 0.0).sum(1)
    result: Array = np.divide(total, known.sum(1), out=np.full(len(value_MQ), np.nan), where=known.any(1))
    return result


def _interval(drawn_R: Array) -> tuple[float, float]:
    known = drawn_R[np.isfinite(drawn_R)]
    low, high = np.percentile(known, _LEVELS) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def without_presence(value_SQ: Array, present_SQ: Array) -> Array:
    """What a line on the number of gold documents in a subset leaves of a value, for each query: `[S, Q]`."""
    x = present_SQ - present_SQ.mean(0)
    y = value_SQ - value_SQ.mean(0)
    slope_Q = np.divide((x * y).sum(0), (x * x).sum(0), out=np.zeros(x.shape[1:]), where=(x * x).sum(0) > 0)
    return np.asarray(y - slope_Q * x)


def best_possible(between_seeds: float) -> float:
    """The LDS that a perfect predictor of what seeds share reaches against one seed: the root of theirs."""
    return float(np.sqrt(max(between_seeds, 0.0)))


def chance(subsets: int, queries: int) -> float:
    """Standard deviation of the LDS of scores that say nothing, if queries are independent: `1 / √((S − 1) Q)`."""
    return float(1 / np.sqrt(max(subsets - 1, 1) * max(queries, 1)))


def random_subsets(documents: int, count: int, left_out: float, seed: int = 0) -> list[npt.NDArray[np.bool_]]:
    """Which documents each random subset keeps, `[D]` each; exactly the same share is left out of each."""
    rng = np.random.default_rng([seed, documents, round(1e6 * left_out)])
    away = max(1, round(left_out * documents))
    kept = []
    for _ in range(count):
        kept_D = np.ones(documents, bool)
        kept_D[rng.choice(documents, away, replace=False)] = False
        kept.append(kept_D)
    return kept


def sums_over(kept: Sequence[npt.NDArray[np.bool_]], rows: Sequence[npt.NDArray[np.floating]]) -> Array:
    """Sum of each query's scores over each subset, in float64: `[S, Q]`, from rows `[D]` that are read one by one."""
    kept_SD = np.stack(kept).astype(np.float64)
    return np.stack([kept_SD @ np.nan_to_num(np.asarray(row_D, np.float64)) for row_D in rows], axis=1)
