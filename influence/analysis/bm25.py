"""BM25, the lexical baseline that stands beside influence everywhere.

Okapi BM25 in Lucene's form, k1 = 1.5, b = 0.75 (Robertson & Zaragoza 2009):

    score(q, d) = Σ_{w in q} ln(1 + (D − n_w + ½) / (n_w + ½)) · tf / (tf + k1 (1 − b + b |d| / mean |d|))

Words are runs of letters, digits and underscores, lower-cased (`\\w+`): no stop words, no stemming. A word that
the query repeats counts each time. Grosse et al. (arXiv 2308.03296) prefilter with it: the top 10,000 of a query.

Texts are streamed and only words of the queries are kept, 8 bytes for each in each document that has it; the library
bm25s, which the tests compare with, holds every word of every document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from influence.errors import InputError

K1 = 1.5
B = 0.75
_WORD = re.compile(r"\w+")
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
    return _WORD.findall(text.lower())


def _blocks(texts: Iterable[str]) -> Iterable[list[str]]:
    block: list[str] = []
    for text in texts:
        block.append(text)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block
