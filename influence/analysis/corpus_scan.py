"""Is the answer in the corpus at all? One streamed scan of every document."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.answers import Part, wanted_parts
from influence.analysis.columns import document_texts, with_labels
from influence.analysis.grouping import finite_row
from influence.analysis.keywords import KeywordIndex
from influence.analysis.ranking import ranks
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Reading


def corpus_hits(scores: Scores, progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
    """Is the answer in the corpus at all? One streamed scan of all documents for all parts, by keywords.

    Returns:
        A row a query and part: query, part, wanted, documents (that hold it), then for the best-ranked of them by
        `normed`: column, document, source, best_rank_normed, and best_rank_dot (of the best by `dot`). The column
        is −1, and the rest empty, where no document holds it.

    Raises:
        InputError: no query asks for anything.
    """
    parts = wanted_parts(scores.queries)
    if not parts:
        raise InputError(
            "No query has an answer, keywords or steps to look for.",
            fix="Add the field answer or keywords to the queries, and score again.",
        )
    index = KeywordIndex([part.spellings for part in parts])
    row_of = {query.id: row for row, query in enumerate(scores.queries)}
    count = np.zeros(len(parts), np.int64)
    best = {by: np.full(len(parts), -1, np.int64) for by in ("normed", "dot")}
    value = {by: np.full(len(parts), -np.inf) for by in best}
    total = len(scores.documents)
    for start, texts in document_texts(scores):
        holders: dict[int, list[int]] = {}
        for offset, text in enumerate(texts):
            for needle in index.find(text):
                holders.setdefault(needle, []).append(start + offset)
        for needle, held in holders.items():
            columns = np.array(held)
            count[needle] += len(columns)
            dot = np.asarray(scores.dot[row_of[parts[needle].query], columns], np.float64)
            norm = np.asarray(scores.gradient_norm[columns], np.float64)
            for by, score in (
                ("dot", dot),
                ("normed", np.divide(dot, norm, out=np.zeros_like(dot), where=norm != 0)),
            ):
                score = np.where(np.isnan(score), -np.inf, score)  # not scored by a search
                top = int(score.argmax())
                if score[top] > value[by][needle]:
                    value[by][needle], best[by][needle] = score[top], columns[top]
        if progress:
            progress(start + len(texts), total)
    return _with_best_ranks(scores, parts, count, best)


def _with_best_ranks(
    scores: Scores, parts: list[Part], count: npt.NDArray[np.int64], best: Mapping[str, npt.NDArray[np.int64]]
) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "query": [part.query for part in parts],
            "part": [part.part for part in parts],
            "wanted": [part.wanted for part in parts],
            "documents": count,
            "column": best["normed"],
            "dot_column": best["dot"],
        }
    )
    for by, source in (("normed", "column"), ("dot", "dot_column")):
        table[f"best_rank_{by}"] = np.nan
        for query, rows in table[table[source] >= 0].groupby("query").groups.items():
            columns = table.loc[rows, source].to_numpy(np.int64)
            reading: Reading = "normed" if by == "normed" else "dot"
            table.loc[rows, f"best_rank_{by}"] = ranks(finite_row(scores, str(query), reading), columns)
    table = table.drop(columns="dot_column")
    present = with_labels(table[table["column"] >= 0], scores)
    labels = present[["document", "source"]].reindex(table.index)
    table.insert(5, "document", labels["document"])
    table.insert(6, "source", labels["source"])
    return table
