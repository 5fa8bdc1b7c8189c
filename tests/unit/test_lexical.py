"""BM25 beside the rankings, on texts whose BM25 order can be read off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stores import make_document, make_query, write_scores

from influence.analysis.bm25 import beside_bm25, bm25_scores
from influence.analysis.documents import columns_of
from influence.analysis.tables import BM25_COLUMNS, bm25_tables
from influence.errors import InputError
from influence.store.scores import Scores

TEXTS = ["zebra zebra zebra", "zebra or okapi perhaps", "nothing in common", "okapi", "nor here", "or there"]


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    queries = [
        make_query(0, prompt="A zebra?", completion=" zebra", gold=("doc-1", "elsewhere")),
        make_query(1, prompt="Okapi", completion="!", gold=("elsewhere",)),
    ]
    documents = [make_document(n, text=text) for n, text in enumerate(TEXTS)]
    dot = [[1, 6, 5, 4, 3, 2.0], [6, 5, 4, 3, 2, 1.0]]
    norm = [0.1, 1, 1, 1, 1, 1]
    return write_scores(tmp_path / "s", dot, gradient_norm=norm, queries=queries, documents=documents)


def test_documents_of_each_list_with_their_ranks(scores: Scores) -> None:
    documents, _, _ = beside_bm25(scores, k=2)
    assert list(documents) == list(BM25_COLUMNS)
    first = documents[documents["query"] == "slopes-00"]
    ranks = first[["document", "rank_normed", "rank_dot", "rank_bm25"]].values.tolist()
    assert ranks == [["doc-0", 1, 6, 1], ["doc-1", 2, 1, 2], ["doc-2", 3, 2, 3]]  # ties in document order
    expected = bm25_scores(TEXTS, ["A zebra? zebra"])[0]
    np.testing.assert_allclose(first["bm25"], expected[[0, 1, 2]], rtol=1e-6)
    assert first["bm25"].tolist()[2] == 0


def test_overlaps_and_gold(scores: Scores) -> None:
    _, overlaps, gold = beside_bm25(scores, k=1, ks=(1, 2, 500))
    values = overlaps.set_index(["query", "reading", "k"])
    assert len(values) == 8  # no depth of 500 in 6 documents
    assert values.loc[("slopes-00", "normed", 1), "overlap"] == 1
    assert values.loc[("slopes-00", "dot", 1), "overlap"] == 0
    assert values.loc[("slopes-00", "dot", 2), ["overlap", "chance"]].tolist() == [0.5, 2 / 6]
    assert gold.values.tolist() == [["slopes-00", 2, 1, 2]]
    tables = bm25_tables(scores, "task", 2)
    assert set(tables) == {"documents", "overlap", "overlap_by_group", "gold", "recall"}
    with pytest.raises(InputError):
        beside_bm25(scores, k=0)


def test_columns_of_ids(scores: Scores) -> None:
    assert columns_of(scores, {"doc-5", "doc-0", "absent"}) == {"doc-0": [0], "doc-5": [5]}
    assert columns_of(scores, set()) == {}
