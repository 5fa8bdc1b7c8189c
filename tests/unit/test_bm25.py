"""BM25 against its formula."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import make_document, make_query, write_scores

from influence.analysis.bm25 import beside_bm25, bm25_scores
from influence.errors import InputError

DOCUMENTS = [
    "The slope of a line is rise over run.",
    "A cat sat on the line; the line broke.",
    "Nothing to see here",
    "",
    "x",
]
QUERIES = ["SLOPE of the line", "line line", "x y", "zebra", ""]


def formula(document: str, query: str) -> float:
    def words(text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())

    corpus = [words(text) for text in DOCUMENTS]
    mean = sum(map(len, corpus)) / len(corpus)
    mine = words(document)
    total = 0.0
    for word in words(query):
        n = sum(word in other for other in corpus)
        tf = mine.count(word)
        idf = math.log(1 + (len(corpus) - n + 0.5) / (n + 0.5))
        total += idf * tf / (tf + 1.5 * (1 - 0.75 + 0.75 * len(mine) / mean))
    return total


def test_equals_the_formula() -> None:
    expected = [[formula(document, query) for document in DOCUMENTS] for query in QUERIES]
    score_QD = bm25_scores(DOCUMENTS, QUERIES)
    assert score_QD.shape == (5, 5)
    np.testing.assert_allclose(score_QD, expected, rtol=1e-5, atol=1e-7)
    assert score_QD[0].argmax() == 0
    assert not score_QD[3:].any()


def test_empty_documents_and_no_documents() -> None:
    assert bm25_scores(["", "?!"], ["a"]).tolist() == [[0.0, 0.0]]
    assert bm25_scores(["a"], []).shape == (0, 1)
    with pytest.raises(InputError):
        bm25_scores([], ["a"])


def test_equals_bm25s_over_many_blocks() -> None:
    """The library, which holds every word of every document in memory."""
    import bm25s

    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{n}" for n in range(400)])
    chance = 1 / np.arange(1, 401)
    texts = [
        " ".join(rng.choice(vocabulary, rng.integers(0, 60), p=chance / chance.sum())) for _ in range(9000)
    ]
    queries = [" ".join(rng.choice(vocabulary, 20)) for _ in range(3)]
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    index.index([text.split() for text in texts], show_progress=False)
    theirs = [index.get_scores(query.split()) for query in queries]
    np.testing.assert_allclose(bm25_scores(texts, queries), theirs, rtol=1e-4, atol=1e-5)


def test_text_without_blanks_is_cut_into_pairs_of_letters() -> None:
    texts = ["首都是北京市。", "他喜欢苹果和香蕉。", "The capital is Beijing.", "กรุงเทพเป็นเมืองหลวง"]
    scores = bm25_scores(texts, ["北京在哪里?", "กรุงเทพ", "北"])
    assert (scores > 0).tolist() == [
        [True, False, False, False],
        [False, False, False, True],
        [False] * 4,
    ]


def test_queries_that_share_no_word_with_any_document_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scores = write_scores(
        tmp_path,
        np.ones((2, 3)),
        queries=[replace(make_query(0), id="far", prompt="xyzzy", completion=" qux"), make_query(1)],
        documents=[replace(make_document(n), text=make_query(1).prompt) for n in range(3)],
    )
    logging.getLogger("influence").propagate = True
    beside_bm25(scores)
    assert "Of 1 queries no word stands in any document (far)" in caplog.text
