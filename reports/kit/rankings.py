"""The ways to rank documents for a query, as one row of scores each: what is compared wherever the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from influence.analysis.bm25 import Bm25
from influence.analysis.documents import document_texts, finite_row
from influence.store.scores import Scores

#: Gives the scores `[D]` of the query with this id; more is higher in the ranking.
Row = Callable[[str], npt.NDArray[np.floating]]

METHODS = (
    "influence, normed",
    "influence, dot",
    "gradient dot product",
    "gradient cosine",
    "BM25",
)


def methods(influence: Scores, gradients: Scores) -> dict[str, Row]:
    """The rows of each of `METHODS`, over the same documents in the same order.

    Args:
        influence: Scored with the fitted Hessian.
        gradients: The same queries and documents scored with the identity.
    """

    def reading(scores: Scores, by: str) -> Row:
        return lambda query: finite_row(scores, query, by)  # type: ignore[arg-type]

    # the norm of the query's gradient divides a whole row: `normed` ranks as the cosine does
    return dict(
        zip(
            METHODS,
            (
                reading(influence, "normed"),
                reading(influence, "dot"),
                reading(gradients, "dot"),
                reading(gradients, "normed"),
                bm25_rows(influence),
            ),
            strict=True,
        )
    )


def bm25_rows(scores: Scores) -> Row:
    """BM25 of every document for prompt and completion together: what the model read."""
    index = Bm25(
        (text for _, texts in document_texts(scores) for text in texts),
        [query.prompt + query.completion for query in scores.queries],
    )
    return lambda query: index.row(scores.index(query))
