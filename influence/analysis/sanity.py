"""Marks of scores not to be trusted, and checks that a memorised passage finds its copies. No torch: arrays in.

Grosse et al. (arXiv 2308.03296) drop sequences whose influence sits in a few tokens: an artefact of the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.columns import document_texts, top_documents
from influence.analysis.grouping import finite_row
from influence.analysis.normalise import tokens
from influence.analysis.ranking import ranks
from influence.errors import InputError
from influence.store.scores import Scores

#: ‖a‖₂ / ‖a‖₁ of token scores above which a document is marked.
SPIKE = 2 / 3
_SHINGLE = 5


def spike_ratio(token_scores: npt.ArrayLike) -> float:
    """‖a‖₂ / ‖a‖₁ of a document's token scores: 1 if one token holds all, 1/√T if T share alike; NaN for zeros."""
    size = np.abs(np.asarray(token_scores, np.float64).ravel())
    if not size.size or size.max() == 0:
        return float("nan")
    size = size / size.max()
    return float(np.sqrt(size @ size) / size.sum())


def mark_spikes(
    token_scores: Mapping[tuple[str, str], npt.ArrayLike], threshold: float = SPIKE
) -> pd.DataFrame:
    """A mark for each (query, document) whose token scores are known.

    Returns:
        Columns query, document, ratio, spurious (ratio above `threshold`). A document of one token always is.
    """
    rows = []
    for (query, document), values in token_scores.items():
        ratio = spike_ratio(values)
        rows.append((query, document, ratio, ratio > threshold))
    return pd.DataFrame(rows, columns=["query", "document", "ratio", "spurious"])


def sum_error(parts: npt.ArrayLike, whole: float) -> float:
    """|Σ parts − whole| relative to Σ |parts|: how well a decomposition by token or layer adds up. 0 for all zeros."""
    values = np.asarray(parts, np.float64).ravel()
    size = float(np.abs(values).sum())
    error = abs(float(values.sum()) - float(whole))
    return error / size if size else (0.0 if error == 0 else float("inf"))


def shingles(text: str, n: int = _SHINGLE) -> set[tuple[str, ...]]:
    """Every run of `n` canonical tokens of a text; the whole text if it is shorter."""
    keys = [token.key for token in tokens(text)]
    return {tuple(keys[start : start + n]) for start in range(max(1, len(keys) - n + 1))} if keys else set()


def containment(passage: str, text: str, n: int = _SHINGLE) -> float:
    """Part of the passage's shingles that stand in the text: near 1 for a copy within it. NaN for an empty passage."""
    wanted = shingles(passage, n)
    return len(wanted & shingles(text, n)) / len(wanted) if wanted else float("nan")


def near_copies(scores: Scores, k: int = 20, threshold: float = 0.5) -> pd.DataFrame:
    """Top documents that hold a near copy of the completion: what memorisation looks like.

    Returns:
        A row a query and top document at or above `threshold`: query, column, document, source, rank_normed,
        rank_dot, containment (part of the completion's 5-token runs that stand in the document).
    """
    top = top_documents(scores, k)
    completion_of = {query.id: query.completion for query in scores.queries}
    top["containment"] = [
        containment(completion_of[query], scores.documents.text(int(column)))
        for query, column in zip(top["query"], top["column"], strict=True)
    ]
    return top[top["containment"] >= threshold].reset_index(drop=True)


def copy_ranks(scores: Scores, queries: Sequence[str], threshold: float = 0.8) -> pd.DataFrame:
    """For memorised passages: where do the documents that hold a near copy of the completion stand? Scans all texts.

    Args:
        queries: Ids of the queries whose completion is a memorised passage.

    Returns:
        A row a query: query, copies (documents), best_rank_normed, best_rank_dot, found (a copy is first by `normed`).

    Raises:
        InputError: there is no such query.
    """
    wanted = {name: shingles(scores.queries[scores.index(name)].completion) for name in queries}
    empty = [name for name, own in wanted.items() if not own]
    if empty:
        raise InputError(f"The completion of query {empty[0]!r} has no words.")
    holders: dict[str, list[int]] = {name: [] for name in wanted}
    for start, texts in document_texts(scores):
        for offset, text in enumerate(texts):
            have = shingles(text)
            for name, own in wanted.items():
                if len(own & have) >= threshold * len(own):
                    holders[name].append(start + offset)
    rows = []
    for name, columns in holders.items():
        best = [np.nan, np.nan]
        if columns:
            best = [ranks(finite_row(scores, name, by), np.array(columns)).min() for by in ("normed", "dot")]
        rows.append((name, len(columns), *best, best[0] == 1))
    return pd.DataFrame(rows, columns=["query", "copies", "best_rank_normed", "best_rank_dot", "found"])
