"""Documents that hold a passage nearly word for word, and documents that are a query.

What memorisation must look like: a memorised passage returns its near copies, and a text raises itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import document_texts, finite_row, ranks, top_documents, with_labels
from influence.analysis.normalise import atoms, needed_atoms, tokens
from influence.errors import InputError
from influence.store.scores import Scores

#: Canonical tokens from which on a completion is a passage: a shorter one stands in many a document by chance.
PASSAGE_TOKENS = 10
_SHINGLE = 5

Shingles = set[tuple[str, ...]]


def shingles(text: str, n: int = _SHINGLE) -> Shingles:
    """Every run of `n` canonical tokens of a text; the whole text if it is shorter."""
    keys = [token.key for token in tokens(text)]
    return {tuple(keys[start : start + n]) for start in range(max(1, len(keys) - n + 1))} if keys else set()


def containment(passage: str, text: str, n: int = _SHINGLE) -> float:
    """Part of the passage's shingles that stand in the text: near 1 for a copy within it. NaN for an empty passage."""
    wanted = shingles(passage, n)
    return len(wanted & shingles(text, n)) / len(wanted) if wanted else float("nan")


def passages(scores: Scores) -> list[str]:
    """Ids of the queries whose completion is long enough to be known again."""
    return [query.id for query in scores.queries if len(tokens(query.completion)) >= PASSAGE_TOKENS]


def near_copies(scores: Scores, k: int = 20, threshold: float = 0.5) -> pd.DataFrame:
    """Top documents that hold a near copy of the completion, of queries whose completion is a passage.

    Returns:
        A row a query and top document at or above `threshold`: query, column, document, source, rank_normed,
        rank_dot, containment (part of the completion's 5-token runs that stand in the document).
    """
    wanted = set(passages(scores))
    completion_of = {query.id: query.completion for query in scores.queries}
    top = top_documents(scores, k)
    top = top[top["query"].isin(wanted)].reset_index(drop=True)
    top["containment"] = [
        containment(completion_of[query], scores.documents.text(int(column)))
        for query, column in zip(top["query"], top["column"], strict=True)
    ]
    return top[top["containment"] >= threshold].reset_index(drop=True)


def copy_ranks(
    scores: Scores,
    queries: Sequence[str] | None = None,
    threshold: float = 0.8,
) -> pd.DataFrame:
    """Where do the documents stand that hold a near copy of the completion? One scan of all texts.

    Args:
        queries: Ids of the queries whose completion is a memorised passage; by default `passages`.
        threshold: Part of the completion's 5-token runs that a near copy holds.

    Returns:
        A row a query: query, copies (documents), best_rank_normed, best_rank_dot (NaN without a copy), found (a copy
        is first by `normed`).

    Raises:
        InputError: there is no such query, or its completion has no words.
    """
    names = passages(scores) if queries is None else list(queries)
    index = _Index([scores.queries[scores.index(name)].completion for name in names], threshold)
    empty = [name for name, own in zip(names, index.wanted, strict=True) if not own]
    if empty:
        raise InputError(f"The completion of query {empty[0]!r} has no words.")
    holders: list[list[int]] = [[] for _ in names]
    for start, texts in document_texts(scores) if names else ():
        for offset, text in enumerate(texts):
            for place in index.held(text):
                holders[place].append(start + offset)
    rows = []
    for name, columns in zip(names, holders, strict=True):
        best = [np.nan, np.nan]
        if columns:
            best = [ranks(finite_row(scores, name, by), np.array(columns)).min() for by in ("normed", "dot")]
        rows.append((name, len(columns), *best, best[0] == 1))
    return pd.DataFrame(rows, columns=["query", "copies", "best_rank_normed", "best_rank_dot", "found"])


class _Index:
    """Which of many passages does a text hold? Texts that lack their words are passed over without being read."""

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self.wanted = [shingles(text) for text in texts]
        self._threshold = threshold
        number: dict[str, int] = {}
        flat = [[number.setdefault(key, len(number)) for key in one] for own in self.wanted for one in own]
        width = max(map(len, flat), default=1)
        padded = [one + one[:1] * (width - len(one)) for one in flat]
        # [width, shingles], for all() is several times faster along the first
        self._keys = np.array(padded, np.int64).reshape(-1, width).T.copy()
        self._sizes = np.array([len(own) for own in self.wanted], np.int64)
        self._of_atom: dict[str, list[int]] = {}
        self._always = np.zeros(len(number), bool)
        for key, place in number.items():
            needs = needed_atoms(key)
            self._always[place] = not needs
            for atom in set().union(*needs):
                self._of_atom.setdefault(atom, []).append(place)

    def held(self, text: str) -> npt.NDArray[np.int64]:
        """Numbers of the passages of which the text holds at least the threshold."""
        possible = self._possible(text)
        if len(possible):
            have = shingles(text)
            enough = [len(self.wanted[n] & have) >= self._threshold * self._sizes[n] for n in possible]
            possible = possible[enough]
        return possible

    def _possible(self, text: str) -> npt.NDArray[np.int64]:
        """Those that it may hold: enough of their shingles have all their words somewhere in the text."""
        there = self._always.copy()
        there[[place for atom in atoms(text) & self._of_atom.keys() for place in self._of_atom[atom]]] = True
        whole = np.concatenate([[0], there[self._keys].all(axis=0).cumsum()])
        ends = self._sizes.cumsum()
        return np.flatnonzero(whole[ends] - whole[ends - self._sizes] >= self._threshold * self._sizes)


def self_influence(scores: Scores) -> pd.DataFrame:
    """Scores of the documents that are a query themselves: its prompt and completion, white space aside.

    Returns:
        A row a query and document: query, column, document, source, dot, normed, rank_normed, rank_dot. With an empty
        prompt and one model, dot cannot be negative.
    """
    names: dict[str, list[str]] = {}
    for query in scores.queries:
        names.setdefault(_plain(query.prompt + query.completion), []).append(query.id)
    matches = [
        (name, start + offset)
        for start, texts in document_texts(scores)
        for offset, text in enumerate(texts)
        for name in names.get(_plain(text), ())
    ]
    table = pd.DataFrame(sorted(matches), columns=["query", "column"]).astype({"column": np.int64})
    for by in ("dot", "normed"):
        table[by] = [float(scores.row(name, by)[column]) for name, column in sorted(matches)]
    for by in ("normed", "dot"):
        table[f"rank_{by}"] = [
            int(ranks(finite_row(scores, name, by), np.array([column]))[0])  # type: ignore[arg-type]
            for name, column in sorted(matches)
        ]
    return with_labels(table, scores)


def _plain(text: str) -> str:
    return " ".join(text.split())
