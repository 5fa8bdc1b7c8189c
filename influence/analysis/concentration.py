"""How much influence do the top documents hold, how fast does it fall with rank, and do queries share these documents?

Finding 2 of Ruis et al. (arXiv 2411.12580): a reasoning query draws less from each document, and more evenly,
than a factual one. Signs: positive documents raise log p(completion | prompt), negative ones lower it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import finite_row, with_labels
from influence.analysis.grouping import Grouping, group_rows
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Reading

#: Top-k % of the documents of one sign.
PERCENTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
#: Absolute numbers of documents.
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
SIDES = ("positive", "negative")
_SIMULATIONS = 1000


def concentration(
    scores: Scores,
    by: Reading = "per_nat",
    *,
    rank_by: Reading | None = None,
    percents: Sequence[float] = PERCENTS,
    counts: Sequence[int] = COUNTS,
) -> pd.DataFrame:
    """Influence summed over the top documents of each sign, in rank order.

    One query at a time: memory is a few rows of the matrix.

    Args:
        by: What is summed. `per_nat` is comparable between queries.
        rank_by: What the documents are ranked by; the same reading by default. The sign is that of `dot` in all.
        percents: Points at this many percent of the documents of that sign, rounded up.
        counts: Points at this many documents; left out where a side has fewer.

    Returns:
        A row a query, side and point. Columns query, side ("positive" | "negative"), unit ("percent" | "documents"),
        at (the percent or number), documents (how many that is), cumulative (their sum, in the unit of `by`; at
        most 0 on the negative side), share (of the side's whole sum, 0 to 1; NaN where that is 0).

    Raises:
        ComputeError: a score is not finite.
    """
    _check_points(percents, counts)
    rows = []
    for query in scores.queries:
        value_D = finite_row(scores, query.id, by)
        rank_D = value_D if rank_by in (None, by) else finite_row(scores, query.id, rank_by or by)
        for side in SIDES:
            sums_N = _running_sums(value_D, rank_D, side)
            n = len(sums_N)
            whole = sums_N[-1] if n else 0.0
            points = [("percent", at, int(np.ceil(n * at / 100 - 1e-9))) for at in percents]
            points += [("documents", at, at) for at in counts if at <= n]
            for unit, at, k in points:
                value = sums_N[k - 1] if k else 0.0
                rows.append((query.id, side, unit, float(at), k, value, value / whole if whole else np.nan))
    columns = ["query", "side", "unit", "at", "documents", "cumulative", "share"]
    return pd.DataFrame(rows, columns=columns)


def _check_points(percents: Sequence[float], counts: Sequence[int]) -> None:
    bad = [at for at in percents if not 0 < at <= 100] + [at for at in counts if at < 1]
    if bad:
        raise InputError(
            f"A point of a concentration curve cannot be {bad[0]}.",
            fix="Percents lie above 0 and up to 100, counts from 1.",
        )


def _running_sums(
    value_D: npt.NDArray[np.floating], rank_D: npt.NDArray[np.floating], side: str
) -> npt.NDArray[np.float64]:
    """Running sums over the documents of one sign, strongest first."""
    sign = 1 if side == "positive" else -1
    chosen = sign * value_D > 0
    own = value_D[chosen]
    # Sorting numbers is several times faster than sorting places by them.
    strongest = (
        np.sort(own)[::-sign] if rank_D is value_D else own[np.argsort(-sign * rank_D[chosen], kind="stable")]
    )
    return np.cumsum(strongest, dtype=np.float64)


def _strongest(row_D: npt.NDArray[np.floating], k: int, side: str) -> npt.NDArray[np.float64]:
    """Absolute values of the `k` strongest scores of one sign, largest first."""
    key = row_D if side == "positive" else -row_D
    key = key[key > 0]
    if len(key) > k:
        key = np.partition(key, len(key) - k)[len(key) - k :]
    return np.sort(key.astype(np.float64))[::-1]


def power_law(scores: Scores, k: int = 500, by: Reading = "per_nat") -> pd.DataFrame:
    """Slope of log |score| on log rank over the top `k` documents of each sign, by ordinary least squares.

    A slope near 0 is a flat top; a steep one, a few documents that stand out. `per_nat` divides a row by a
    constant, so its slope is that of `dot`.

    Returns:
        A row a query and side: query, side, slope, se (standard error of the slope; the residuals of neighbouring
        ranks are not independent, so it is a lower bound), intercept (log score at rank 1), r2, n (documents used).
        NaN with fewer than three.
    """
    rows = []
    for query in scores.queries:
        row_D = finite_row(scores, query.id, by)
        for side in SIDES:
            y = np.log(_strongest(row_D, k, side))
            rows.append((query.id, side, *_line(np.log(np.arange(1, len(y) + 1)), y), len(y)))
    return pd.DataFrame(rows, columns=["query", "side", "slope", "se", "intercept", "r2", "n"])


def _line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Slope, its standard error, intercept and R² of y on x."""
    if len(x) < 3:
        return np.nan, np.nan, np.nan, np.nan
    dx, dy = x - x.mean(), y - y.mean()
    slope = dx @ dy / (dx @ dx)
    residual = dy - slope * dx
    rest, whole = residual @ residual, dy @ dy
    se = np.sqrt(rest / (len(x) - 2) / (dx @ dx))
    return slope, se, y.mean() - slope * x.mean(), 1 - rest / whole if whole > 0 else np.nan


def pareto_tail(scores: Scores, k: int = 500, by: Reading = "per_nat", seed: int = 0) -> pd.DataFrame:
    """Pareto tail of the top `k` documents: P(score > x) = (x / threshold)^−alpha, as in Grosse et al. (2308.03296).

    The threshold is the k-th strongest score; alpha is the maximum likelihood over the k − 1 above it (Hill's
    estimator). `p` is the Kolmogorov–Smirnov test by parametric bootstrap, alpha fitted anew in each simulation
    (Clauset, Shalizi, Newman 2009): a small p says that the tail is no Pareto.

    Returns:
        A row a query and side: query, side, alpha, se (alpha / √n), threshold (in the unit of `by`), ks, p,
        n (scores above the threshold). NaN with fewer than ten, or where they are all equal.
    """
    rows = []
    for query in scores.queries:
        row_D = finite_row(scores, query.id, by)
        for side in SIDES:
            x = _strongest(row_D, k, side)
            n = max(len(x) - 1, 0)
            fit = (np.nan,) * 5
            if n >= 10 and x[0] > x[-1]:
                excess = np.log(x[:-1] / x[-1])
                alpha = 1 / excess.mean()
                ks = float(_exponential_ks(excess[None])[0])
                # A simulated statistic equal to ours counts, and ours is one of them: p is never 0.
                p = (1 + int((_simulated_ks(n, seed) >= ks).sum())) / (1 + _SIMULATIONS)
                fit = (alpha, alpha / np.sqrt(n), x[-1], ks, p)
            rows.append((query.id, side, *fit, n))
    return pd.DataFrame(rows, columns=["query", "side", "alpha", "se", "threshold", "ks", "p", "n"])


def _exponential_ks(samples_SN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Kolmogorov–Smirnov distance of each row from the exponential of its own mean: log of a Pareto is exponential."""
    n = samples_SN.shape[1]
    ordered_SN = np.sort(samples_SN, axis=1)
    cdf_SN = -np.expm1(-ordered_SN / samples_SN.mean(axis=1, keepdims=True))
    steps_N = np.arange(n + 1) / n
    distance_SN = np.maximum(steps_N[1:] - cdf_SN, cdf_SN - steps_N[:-1])
    return np.asarray(distance_SN.max(axis=1))


@cache
def _simulated_ks(n: int, seed: int) -> npt.NDArray[np.float64]:
    """The statistic under the hypothesis; with the mean fitted it does not depend on alpha, only on n."""
    return _exponential_ks(np.random.default_rng(seed).exponential(size=(_SIMULATIONS, n)))


def document_reuse(
    scores: Scores, k: int = 500, by: Reading = "normed", group_by: Grouping = "task"
) -> pd.DataFrame:
    """Every document of some query's top `k`, the most shared first.

    Returns:
        Columns column, document, source, queries (in whose top k it stands), labels (how many different ones they
        have), best_rank (its best rank in any of them, from 1), and one column `in <label>` a label.

    Raises:
        InputError: `k` is not positive.
    """
    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))
    rows_of = group_rows(scores.queries, group_by)
    pieces = []
    for label, members in rows_of.items():
        for row in members:
            query = scores.queries[row].id
            finite_row(scores, query, by)
            listed = scores.ranking(query, k, by)
            pieces.append(
                pd.DataFrame({"column": listed, "rank": np.arange(1, len(listed) + 1), "label": label})
            )
    listed_all = pd.concat(pieces, ignore_index=True)
    per_label = listed_all.groupby(["column", "label"]).size().unstack(fill_value=0)
    per_label = per_label.reindex(columns=list(rows_of), fill_value=0)
    table = pd.DataFrame(
        {
            "queries": per_label.sum(axis=1),
            "labels": (per_label > 0).sum(axis=1),
            "best_rank": listed_all.groupby("column")["rank"].min(),
        }
    )
    table = table.join(per_label.rename(columns={label: f"in {label}" for label in rows_of}))
    table = table.sort_values(["queries", "best_rank"], ascending=[False, True], kind="stable")
    return with_labels(table.rename_axis("column").reset_index(), scores)


def reuse_counts(reuse: pd.DataFrame) -> pd.DataFrame:
    """How many documents stand in the top k of exactly so many queries: queries, documents."""
    counts = reuse["queries"].value_counts().sort_index()
    return pd.DataFrame({"queries": counts.index, "documents": counts.to_numpy()})
