"""BM25, the lexical baseline that stands beside influence everywhere.

Okapi BM25 in Lucene's form, k1 = 1.5, b = 0.75 (Robertson & Zaragoza 2009; library bm25s):

    score(q, d) = Σ_{w in q} ln(1 + (D − n_w + ½) / (n_w + ½)) · tf / (tf + k1 (1 − b + b |d| / mean |d|))

Words are runs of letters, digits and underscores, lower-cased (`\\w+`): no stop words, no stemming. A word that
the query repeats counts each time. Grosse et al. (arXiv 2308.03296) prefilter with it: the top 10,000 of a query.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from influence.errors import InputError

K1 = 1.5
B = 0.75
_WORD = r"(?u)\w+"


def bm25_scores(document_texts: Iterable[str], query_texts: Iterable[str]) -> npt.NDArray[np.float32]:
    """BM25 of every document for every query text, `[Q, D]`, at least 0, without unit; higher is more alike.

    A document that shares no word with the query scores 0.

    Raises:
        InputError: there are no documents.
    """
    import bm25s

    def words(texts: list[str]) -> list[list[str]]:
        tokens = bm25s.tokenize(
            texts, lower=True, token_pattern=_WORD, stopwords=[], return_ids=False, show_progress=False
        )
        assert isinstance(tokens, list)
        return tokens

    documents = words(list(document_texts))
    if not documents:
        raise InputError("There are no documents to compare with.")
    queries = words(list(query_texts))
    score_QD = np.zeros((len(queries), len(documents)), np.float32)
    known = {word for document in documents for word in document}
    if not known:
        return score_QD
    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    index.index(documents, show_progress=False)
    for row, query in enumerate(queries):
        found = [word for word in query if word in known]
        if found:
            score_QD[row] = index.get_scores(found)
    return score_QD
