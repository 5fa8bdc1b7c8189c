"""BM25 beside the rankings of influence: is influence more than shared words?

The text that BM25 gets of a query is its prompt and completion joined as they stand: what the model read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from influence.analysis.bm25 import Bm25
from influence.analysis.columns import columns_of, document_texts, with_labels
from influence.analysis.gold import best_rank
from influence.analysis.grouping import finite_row
from influence.analysis.ranking import ranks
from influence.analysis.stages import overlap
from influence.errors import InputError
from influence.store.scores import Scores, lowest
from influence.types import Reading

READINGS: tuple[Reading, ...] = ("normed", "dot")
KS = (10, 50, 500)
#: Columns of the table of documents, `analysis/bm25/documents.parquet`.
BM25_COLUMNS = (
    "query", "column", "document", "source", "bm25", "rank_bm25", "rank_normed", "rank_dot"
)  # fmt: skip


def beside_bm25(
    scores: Scores,
    k: int = 500,
    ks: Sequence[int] = KS,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """BM25 of the top documents of each query, how far the rankings agree, and where the gold documents stand.

    All texts are read once; then each query is a row of the matrix at a time.

    Args:
        k: Documents of each list.
        ks: Depths of the overlaps; those larger than the corpus are left out.
        progress: Called with (documents read, all of them).

    Returns:
        - a row a query and document of its top `k` by `normed`, by `dot` (which ranks as `per_nat`) or by BM25:
          query, column, document, source, bm25 (score, at least 0; 0: no word in common), rank_bm25, rank_normed,
          rank_dot (from 1, over all documents, ties in document order); in the order of rank_normed
        - a row a query, reading and depth: query, reading, k, overlap (part of the reading's first k that is among
          BM25's first k), chance (k / documents: what unrelated rankings share)
        - a row a query whose gold documents are in the corpus, with the rank of the best of them (ties share their
          mean rank): query, normed, dot, bm25

    Raises:
        InputError: `k` is not positive.
        ComputeError: a score is not finite.
    """
    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))
    total = len(scores.documents)
    index = Bm25(_texts(scores, progress), [query.prompt + query.completion for query in scores.queries])
    column_of = columns_of(scores, {name for query in scores.queries for name in query.gold})
    documents, overlaps, gold = [], [], []
    for number, query in enumerate(scores.queries):
        row_of = {by: finite_row(scores, query.id, by) for by in READINGS} | {"bm25": index.row(number)}
        deepest = min(max(k, *ks), total)
        list_of = {name: total - 1 - lowest(-row_D[::-1], deepest) for name, row_D in row_of.items()}
        columns = np.unique(np.concatenate([listed[:k] for listed in list_of.values()]))
        part = {"query": query.id, "column": columns, "bm25": row_of["bm25"][columns]}
        part |= {f"rank_{name}": ranks(row_of[name], columns) for name in ("bm25", *READINGS)}
        documents.append(pd.DataFrame(part).sort_values("rank_normed"))
        for by in READINGS:
            for depth in (depth for depth in ks if depth <= total):
                shared = overlap(list_of[by], list_of["bm25"], depth)
                overlaps.append((query.id, by, depth, shared, depth / total))
        held = np.array([column_of[name] for name in query.gold if name in column_of], np.int64)
        if len(held):
            gold.append((query.id, *(best_rank(row_of[name], held) for name in (*READINGS, "bm25"))))
    table = with_labels(pd.concat(documents, ignore_index=True), scores)
    return (
        table[list(BM25_COLUMNS)],
        pd.DataFrame(overlaps, columns=["query", "reading", "k", "overlap", "chance"]),
        pd.DataFrame(gold, columns=["query", *READINGS, "bm25"]),
    )


def _texts(scores: Scores, progress: Callable[[int, int], None] | None) -> Iterator[str]:
    total = len(scores.documents)
    for start, texts in document_texts(scores):
        yield from texts
        if progress:
            progress(start + len(texts), total)
