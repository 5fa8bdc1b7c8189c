"""Which documents stand at the top and bottom of a query, where in each reading, and how fast scores fall.

Positive scores: adding the document is predicted to raise log p(completion | prompt).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Reading

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "query",
    "end",
    "column",
    "document",
    "source",
    "rank_normed",
    "rank_dot",
    "dot",
    "per_nat",
    "normed",
    "snippet",
)


def top_table(scores: Scores, k: int, *, bottom: bool = False) -> pd.DataFrame:
    """For each query, the union of the top `k` documents by `normed` and the top `k` by `dot`.

    Rows of a query are in the order of `rank_normed`. Work per query is one row of the matrix at a time.

    Args:
        k: Documents of each reading; the union has `k` to `2 k` rows a query.
        bottom: Add the union of the two bottom `k` as rows with `end == "bottom"`, most negative first.

    Returns:
        Columns query, end ("top" | "bottom"), column (of the score matrix), document, source, rank_normed,
        rank_dot (from 1, over all documents, ties in document order), dot (nats, summed over tokens),
        per_nat (dot / I_q), normed (dot / ‖G_d‖₂), snippet.

    Raises:
        InputError: `k` is not positive.
    """
    import pandas as pd

    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))
    parts = []
    for row, query in enumerate(scores.queries):
        with np.errstate(divide="ignore", invalid="ignore"):  # I_q = 0: per_nat is not finite
            readings = {
                "dot": scores.row(query.id, "dot"),
                "per_nat": scores.row(query.id, "per_nat"),
                "normed": scores.row(query.id, "normed"),
            }
        for end in ("top", "bottom")[: 1 + bottom]:
            bottom_end = end == "bottom"
            columns = np.union1d(*(scores.ranking(query.id, k, by, bottom_end) for by in ("normed", "dot")))
            rank_normed = ranks(readings["normed"], columns)
            order = np.argsort(rank_normed if end == "top" else -rank_normed)
            part = {"rank_normed": rank_normed[order], "rank_dot": ranks(readings["dot"], columns)[order]}
            columns = columns[order]
            values = {name: reading[columns] for name, reading in readings.items()}
            parts.append(pd.DataFrame({"row": row, "end": end, "column": columns, **part, **values}))
    table = pd.concat(parts, ignore_index=True)
    columns = table["column"].to_numpy()
    table["query"] = [scores.queries[row].id for row in table["row"]]
    table["document"] = scores.documents.take("id", columns)
    table["source"] = scores.documents.take("source", columns)
    table["snippet"] = [scores.documents.snippet(int(column)) for column in columns]
    return table[list(COLUMNS)]


def ranks(row_D: npt.NDArray[np.floating], columns: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Ranks from 1 (highest score) of a few documents among all of `row_D`; ties in document order.

    NaN, a document that was not scored, ranks last. O(D log K) for K columns: each score is looked up among the K
    sorted ones, the row is never sorted.
    """
    n = len(row_D)
    unknown_D = np.isnan(row_D)
    if unknown_D.any():
        row_D = np.where(unknown_D, -np.inf, row_D)
    values = np.unique(row_D[columns])  # ascending
    if not len(values):
        return np.zeros(0, np.int64)
    slot_D = np.searchsorted(values, row_D)  # values[slot - 1] < score <= values[slot]
    higher = n - np.cumsum(np.bincount(slot_D, minlength=len(values) + 1))[: len(values)]
    equal = np.flatnonzero(values[np.minimum(slot_D, len(values) - 1)] == row_D)
    keys = np.sort(slot_D[equal] * n + equal)  # grouped by value, in document order within
    slots = np.searchsorted(values, row_D[columns])
    before = np.searchsorted(keys, slots * n + columns) - np.searchsorted(keys, slots * n)
    return np.asarray(1 + higher[slots] + before, np.int64)


def rank_curve(
    scores: Scores, k: int, by: Reading = "normed", points: int = 32
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Scores at log-spaced ranks from 1 to `k`, to be drawn against the rank.

    Returns:
        Ranks `[P]` (from 1, at most `points`) and the score of each query at that rank `[Q, P]`, in the unit of `by`.
    """
    n_queries, n_documents = len(scores.queries), scores.documents_scored
    k = min(k, n_documents)
    rank_P = np.unique(np.geomspace(1, max(k, 1), points).round().astype(np.int64))[: max(k, 0)]
    values_QP = np.zeros((n_queries, len(rank_P)))
    for row, query in enumerate(scores.queries):
        score_D = scores.row(query.id, by)
        score_D = score_D if scores.scored is None else score_D[scores.scored]
        highest = -np.sort(-np.partition(score_D, n_documents - k)[n_documents - k :]) if k else score_D
        values_QP[row] = highest[rank_P - 1]
    return rank_P, values_QP
