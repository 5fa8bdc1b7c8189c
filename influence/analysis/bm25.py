"""BM25, the lexical baseline that stands beside influence everywhere, and whether a ranking finds the gold documents.

Okapi BM25 in Lucene's form, k1 = 1.5, b = 0.75 (Robertson & Zaragoza 2009):

    score(q, d) = Σ_{w in q} ln(1 + (D − n_w + ½) / (n_w + ½)) · tf / (tf + k1 (1 − b + b |d| / mean |d|))

Words are runs of letters, digits and underscores, lower-cased (`\\w+`): no stop words, no stemming. Text of scripts
without blanks, such as Chinese, Japanese and Thai, is cut into pairs of neighbouring letters. A word that the query
repeats counts each time. Grosse et al. (arXiv 2308.03296) prefilter with it: the top 10,000 of a query.

Texts are streamed and only words of the queries are kept, 8 bytes for each in each document that has it; the library
bm25s, which the tests compare with, holds every word of every document.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.agreement import overlap
from influence.analysis.documents import columns_of, document_texts, finite_row, ranks, with_labels
from influence.analysis.normalise import UNSPACED
from influence.errors import InputError
from influence.store.scores import Scores, lowest
from influence.types import Reading

_logger = logging.getLogger(__name__)
_RESAMPLES = 10_000


def gold_columns(scores: Scores) -> dict[str, npt.NDArray[np.int64]]:
    """Columns of the gold documents, or of their windows, of each query that names any: `{query id: columns}`.

    Raises:
        InputError: a gold document is not in the corpus that was scored.
    """
    columns_by_id = columns_of(scores, {identity for query in scores.queries for identity in query.gold})
    columns = {}
    for query in scores.queries:
        absent = [identity for identity in query.gold if identity not in columns_by_id]
        if absent:
            raise InputError(
                f"Gold document {absent[0]!r} of query {query.id} is not in the corpus of {scores.folder}."
            )
        if query.gold:
            columns[query.id] = np.array([c for identity in query.gold for c in columns_by_id[identity]])
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


K1 = 1.5
B = 0.75
_WORD = re.compile(rf"[{UNSPACED}]+|[^\W{UNSPACED}]+")
_UNSPACED_WORD = re.compile(rf"[{UNSPACED}]")
_BLOCK = 4096


class Bm25:
    """BM25 of every document for each of some queries, computed one query at a time.

    Args:
        document_texts: Read once, in column order.
        query_texts: All texts that will be asked for.

    Raises:
        InputError: there are no documents.
    """

    def __init__(self, document_texts: Iterable[str], query_texts: Sequence[str]) -> None:
        from scipy.sparse import csr_matrix

        self._counts = [Counter(_words(text)) for text in query_texts]
        word_of: dict[str, int] = {}
        for counts in self._counts:
            for word in counts:
                word_of.setdefault(word, len(word_of))
        self._word_of = word_of
        self._blocks = []
        lengths: list[npt.NDArray[np.int64]] = []
        holders_V = np.zeros(len(word_of), np.int64)
        for texts in _blocks(document_texts):
            length_D, start, place = [], [0], []
            for text in texts:
                words = _words(text)
                length_D.append(len(words))
                place += [word_of[word] for word in words if word in word_of]
                start.append(len(place))
            block = csr_matrix(
                (np.ones(len(place), np.float32), place, start), shape=(len(texts), len(word_of))
            )
            block.sum_duplicates()
            holders_V += np.bincount(block.indices, minlength=len(word_of))
            self._blocks.append(block)
            lengths.append(np.array(length_D))
        n_documents = sum(map(len, lengths))
        if not n_documents:
            raise InputError("There are no documents to compare with.")
        self._idf_V = np.log1p((n_documents - holders_V + 0.5) / (holders_V + 0.5))
        mean = max(sum(int(length_D.sum()) for length_D in lengths) / n_documents, 1.0)
        for block, length_N in zip(self._blocks, lengths, strict=True):
            saturation_D = (K1 * (1 - B + B * length_N / mean)).astype(np.float32)
            block.data /= block.data + np.repeat(saturation_D, np.diff(block.indptr))

    def row(self, query: int) -> npt.NDArray[np.float32]:
        """BM25 of every document for the query text of this number, `[D]`, at least 0, without unit.

        Higher is more alike. A document that shares no word with the query scores 0.
        """
        weight_V = np.zeros(len(self._word_of), np.float32)
        for word, count in self._counts[query].items():
            place = self._word_of[word]
            weight_V[place] = count * self._idf_V[place]
        return np.concatenate([block @ weight_V for block in self._blocks])


def bm25_scores(document_texts: Iterable[str], query_texts: Iterable[str]) -> npt.NDArray[np.float32]:
    """BM25 of every document for every query text, `[Q, D]`, all in memory: for corpora that are not large.

    Raises:
        InputError: there are no documents.
    """
    queries = list(query_texts)
    documents = list(document_texts)
    index = Bm25(documents, queries)
    return np.array([index.row(number) for number in range(len(queries))], np.float32).reshape(
        len(queries), len(documents)
    )


def _words(text: str) -> list[str]:
    words: list[str] = []
    for word in _WORD.findall(text.lower()):
        if len(word) > 1 and _UNSPACED_WORD.match(word):
            words += [word[place : place + 2] for place in range(len(word) - 1)]
        else:
            words.append(word)
    return words


def _blocks(texts: Iterable[str]) -> Iterable[list[str]]:
    block: list[str] = []
    for text in texts:
        block.append(text)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


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
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """BM25 of the top documents of each query, how far the rankings agree, and where the gold documents stand.

    All texts are read once; then each query is a row of the matrix at a time.

    Args:
        k: Documents of each list.
        ks: Depths of the overlaps; those larger than the corpus are left out.

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
    index = Bm25(
        _texts(
            scores,
        ),
        [query.prompt + query.completion for query in scores.queries],
    )
    columns_by_id = columns_of(scores, {name for query in scores.queries for name in query.gold})
    documents, overlaps, gold, strangers = [], [], [], []
    for number, query in enumerate(scores.queries):
        row_of = {by: finite_row(scores, query.id, by) for by in READINGS} | {"bm25": index.row(number)}
        if not row_of["bm25"].any():
            strangers.append(query.id)
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
        held = np.array([c for name in query.gold for c in columns_by_id.get(name, ())], np.int64)
        if len(held):
            gold.append((query.id, *(best_rank(row_of[name], held) for name in (*READINGS, "bm25"))))
    if strangers:
        _logger.warning(
            "Of %s queries no word stands in any document (%s%s): BM25 ranks all documents alike for them.",
            f"{len(strangers):,}",
            ", ".join(strangers[:3]),
            ", …" if len(strangers) > 3 else "",
        )
    table = with_labels(pd.concat(documents, ignore_index=True), scores)
    return (
        table[list(BM25_COLUMNS)],
        pd.DataFrame(overlaps, columns=["query", "reading", "k", "overlap", "chance"]),
        pd.DataFrame(gold, columns=["query", *READINGS, "bm25"]),
    )


def _texts(scores: Scores) -> Iterator[str]:
    for _, texts in document_texts(scores):
        yield from texts
