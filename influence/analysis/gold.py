"""Does a ranking find the document that states the answer? Only for queries whose gold documents are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.columns import columns_of
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Reading

_RESAMPLES = 10_000


def gold_columns(scores: Scores) -> dict[str, npt.NDArray[np.int64]]:
    """Columns of the gold documents of each query that names any: `{query id: columns}`.

    Raises:
        InputError: a gold document is not in the corpus that was scored.
    """
    column_of = columns_of(scores, {identity for query in scores.queries for identity in query.gold})
    columns = {}
    for query in scores.queries:
        absent = [identity for identity in query.gold if identity not in column_of]
        if absent:
            raise InputError(
                f"Gold document {absent[0]!r} of query {query.id} is not in the corpus of {scores.folder}."
            )
        if query.gold:
            columns[query.id] = np.array([column_of[identity] for identity in query.gold])
    return columns


def best_rank(row: npt.NDArray[np.floating], gold: npt.NDArray[np.int64]) -> float:
    """Rank (from 1) of the best gold document in one row of scores `[D]`; ties share their mean rank.

    Documents that were not scored (NaN) share the last ranks.
    """
    row = np.where(np.isnan(row), -np.inf, row)
    best = row[gold].max()
    above, equal = int((row > best).sum()), int((row == best).sum())
    return above + (equal + 1) / 2


def gold_ranks(scores: Scores, by: Reading = "normed") -> pd.Series[float]:
    """Rank of the best gold document of each query, over all documents; indexed by query id."""
    columns = gold_columns(scores)
    return pd.Series(
        {query: best_rank(scores.row(query, by), gold) for query, gold in columns.items()}, dtype=float
    )


def recall_table(ranks: pd.DataFrame, ks: Sequence[int] = (10, 100, 500), seed: int = 0) -> pd.DataFrame:
    """Recall@k, median rank and MRR of ranks `[queries × methods]`, with 95 % bootstrap intervals over queries.

    Columns: method, measure, value, low, high, n.
    """
    resample = np.random.default_rng(seed).integers(0, len(ranks), (_RESAMPLES, len(ranks)))
    rows = []
    for method in ranks.columns:
        rank = ranks[method].to_numpy(float)
        measures = {f"recall@{k}": (rank <= k).astype(float) for k in ks} | {"MRR": 1 / rank}
        for measure, values in measures.items():
            low, high = np.percentile(values[resample].mean(1), [2.5, 97.5])
            rows.append((method, measure, values.mean(), low, high, len(rank)))
        low, high = np.percentile(np.median(rank[resample], axis=1), [2.5, 97.5])
        rows.append((method, "median rank", np.median(rank), low, high, len(rank)))
    return pd.DataFrame(rows, columns=["method", "measure", "value", "low", "high", "n"])
