"""How sure a number is: t-intervals over seeds, and queries drawn anew within each seed.

A statistic of one seed comes with the same statistic on resampled queries. Over seeds its mean is taken. With two or
more seeds its interval is Student's t-interval of the seeds' values, and never narrower than the spread that resampled
queries give the mean: a few seeds may agree by chance. With one seed only queries vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student

from influence.analysis.grouping import bootstrap_means

RESAMPLES = 2000
_LEVELS = (2.5, 97.5)
#: Standard deviations of a normal distribution to each side of its mean that hold 95 % of it.
_NORMAL = 1.96


@dataclass(frozen=True)
class Statistic:
    """A number of one seed.

    Attributes:
        value: On the queries as they are.
        resampled_R: On queries drawn with replacement, `[RESAMPLES]`; NaN with fewer than two queries.
        n: Queries.
    """

    value: float
    resampled_R: npt.NDArray[np.float64]
    n: int

    def minus(self, other: Statistic | float) -> Statistic:
        """The difference; queries of two statistics are drawn independently, unless they were drawn together."""
        return self._with(other, np.subtract)

    def over(self, other: Statistic | float) -> Statistic:
        """The ratio."""
        return self._with(other, np.divide)

    def times(self, factor: float) -> Statistic:
        """A multiple."""
        return self._with(factor, np.multiply)

    def _with(self, other: Statistic | float, operation: np.ufunc) -> Statistic:
        value, resampled, n = (
            (other.value, other.resampled_R, other.n)
            if isinstance(other, Statistic)
            else (other, np.full(1, other), self.n)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return Statistic(
                float(operation(np.float64(self.value), value)),
                np.asarray(operation(self.resampled_R, resampled)),
                min(self.n, n),
            )


def mean_of(values: npt.ArrayLike, seed: int = 0) -> Statistic:
    """Mean of one value a query; NaN values are left out."""
    known_N = _known(values)
    if not len(known_N):
        return _NOTHING
    resampled_R = bootstrap_means(known_N, RESAMPLES, seed) if len(known_N) > 1 else _NOTHING.resampled_R
    return Statistic(float(known_N.mean()), resampled_R, len(known_N))


def spread_of(values: npt.ArrayLike, seed: int = 0) -> Statistic:
    """Standard deviation (n − 1) of one value a query; NaN values are left out."""
    known_N = _known(values)
    n = len(known_N)
    if n < 2:
        return _NOTHING
    drawn_RN = known_N[np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))]
    return Statistic(float(known_N.std(ddof=1)), drawn_RN.std(axis=1, ddof=1), n)


_NOTHING = Statistic(np.nan, np.full(RESAMPLES, np.nan), 0)


def _known(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values_N = np.asarray(values, np.float64)
    return values_N[~np.isnan(values_N)]


def pair_means(
    r: pd.DataFrame, labels: Sequence[str], kinds: Mapping[str, Sequence[tuple[str, str]]], seed: int = 0
) -> dict[str, Statistic]:
    """Mean R over the pairs of queries of each kind.

    All kinds share their draws, so that differences between them are of the same queries. A query drawn twice is no
    pair with itself.

    Args:
        r: `[Q, Q]`, symmetric; NaN where R is not defined.
        labels: Of each query, in the order of `r`.
        kinds: name -> pairs of labels whose pairs of queries count.
    """
    value_QQ = r.to_numpy(float, copy=True)
    np.fill_diagonal(value_QQ, np.nan)
    defined_QQ = (~np.isnan(value_QQ)).astype(float)
    value_QQ = np.nan_to_num(value_QQ)
    label_Q = np.array(labels, object)
    rng = np.random.default_rng(seed)
    drawn_of = {
        label: _counts(np.flatnonzero(label_Q == label), len(label_Q), rng)
        for label in dict.fromkeys(label for pairs in kinds.values() for pair in pairs for label in pair)
    }
    result = {}
    for kind, pairs in kinds.items():
        total_R, weight_R = np.zeros((2, RESAMPLES + 1))
        for a, b in pairs:
            a_RQ, b_RQ = drawn_of[a], drawn_of[b]
            total_R += np.einsum("rq,rq->r", a_RQ @ value_QQ, b_RQ)
            weight_R += np.einsum("rq,rq->r", a_RQ @ defined_QQ, b_RQ)
        mean_R = np.divide(total_R, weight_R, out=np.full_like(total_R, np.nan), where=weight_R > 0)
        n = sum(int((drawn_of[label][0] > 0).sum()) for label in {label for pair in pairs for label in pair})
        result[kind] = Statistic(float(mean_R[0]), mean_R[1:], n)
    return result


def _counts(rows: npt.NDArray[np.int64], n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How often each query is taken: first all once, then drawn with replacement, `[1 + RESAMPLES, Q]`."""
    counts = np.zeros((1 + RESAMPLES, n))
    counts[0, rows] = 1
    if len(rows):
        drawn = rng.choice(rows, (RESAMPLES, len(rows)))
        np.add.at(counts, (1 + np.arange(RESAMPLES)[:, None], drawn), 1.0)
    return counts


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval; NaN where nothing could be measured.

    Attributes:
        seeds: Seeds in which it could be measured.
        between: Standard deviation between seeds (n − 1); NaN with one.
        queries: Queries, summed over seeds.
        least: The lowest value of a seed.
        most: The highest value of a seed.
        by_seed: The value of each seed.
        query_spread: Standard deviation of the mean under resampled queries; NaN where none could be resampled.
    """

    value: float
    low: float
    high: float
    seeds: int
    between: float
    queries: int
    least: float
    most: float
    by_seed: tuple[float, ...] = ()
    query_spread: float = np.nan

    def columns(self, value: str = "value", prefix: str = "") -> dict[str, Any]:
        """Columns of a table: the mean under the name `value`, its interval as `PREFIXlow` and `PREFIXhigh`.

        `PREFIXby_seed` and `PREFIXquery_spread` are all that the interval is made of.
        """
        return {
            value: self.value,
            f"{prefix}low": self.low,
            f"{prefix}high": self.high,
            f"{prefix}by_seed": list(self.by_seed),
            f"{prefix}query_spread": self.query_spread,
        }

    def span(self) -> dict[str, float]:
        """Columns of a table: `least` and `most`."""
        return {"least": self.least, "most": self.most}

    def counts(self, queries: str = "queries") -> dict[str, int]:
        """Columns of a table: `seeds`, and the queries under the name `queries`."""
        return {"seeds": self.seeds, queries: self.queries}


def over_seeds(statistics: Sequence[Statistic]) -> Interval:
    """Mean over seeds: a t-interval over two or more of them, the interval of its resampled queries with one."""
    known = [statistic for statistic in statistics if np.isfinite(statistic.value)]
    if not known:
        return Interval(np.nan, np.nan, np.nan, 0, np.nan, 0, np.nan, np.nan)
    values = np.array([statistic.value for statistic in known])
    means_R = np.stack([statistic.resampled_R for statistic in known]).mean(axis=0)
    means_R = means_R[np.isfinite(means_R)]
    spread = float(means_R.std(ddof=1)) if len(means_R) > 1 else np.nan
    mean = float(values.mean())
    if len(known) > 1:
        between = float(values.std(ddof=1))
        half = float(student.ppf(0.975, len(known) - 1)) * between / np.sqrt(len(known))
        half = max(half, 0.0 if np.isnan(spread) else _NORMAL * spread)
        low, high = mean - half, mean + half
    else:
        between = np.nan
        low, high = np.percentile(means_R, _LEVELS) if len(means_R) else (np.nan, np.nan)
    return Interval(
        mean,
        float(low),
        float(high),
        len(known),
        between,
        sum(statistic.n for statistic in known),
        float(values.min()),
        float(values.max()),
        tuple(values.tolist()),
        spread,
    )
