"""Near copies of memorised passages, and documents that are a query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import make_document, make_query, write_scores

from influence.analysis.copies import (
    _Index,
    containment,
    copy_ranks,
    near_copies,
    self_influence,
    shingles,
)
from influence.analysis.tables import sanity_tables
from influence.errors import InputError

PASSAGE = "It was a bright cold day in the harbour, and the bells were striking thirteen."


def test_near_copies_are_found_and_ranked(tmp_path: Path) -> None:
    texts = [
        "Nothing of the kind.",
        "CHAPTER 1. It was a bright, cold day in the harbour and the bells were striking 13!",
        "It was a day. The bells in the harbour were cold.",
        f"He read: {PASSAGE.upper()}",
    ]
    documents = [make_document(n, text=text) for n, text in enumerate(texts)]
    queries = [make_query(0, completion=PASSAGE), make_query(1, completion="…")]
    scores = write_scores(
        tmp_path / "s", [[1, 4, 2, 3], [1, 2, 3, 4.0]], queries=queries, documents=documents
    )
    assert containment(PASSAGE, texts[1]) == 1
    assert containment(PASSAGE, texts[2]) == 0
    copies = near_copies(scores, 4)
    assert copies[["query", "document", "rank_normed", "containment"]].values.tolist() == [
        ["slopes-00", "doc-1", 1, 1],
        ["slopes-00", "doc-3", 2, 1],
    ]
    row = copy_ranks(scores, ["slopes-00"]).iloc[0]
    assert row[["copies", "best_rank_normed", "best_rank_dot", "found"]].tolist() == [2, 1, 1, True]
    assert copy_ranks(scores)["query"].tolist() == ["slopes-00"]
    with pytest.raises(InputError, match="no words"):
        copy_ranks(scores, ["slopes-01"])


def test_a_short_passage_is_its_own_shingle() -> None:
    assert containment("two words", "Two words!") == 1
    assert np.isnan(containment("", "x"))


WORDS = st.lists(st.sampled_from(["seven", "7", "1,000", "1000", "don't", "the", "-4", "cat", "=", "3.5"]))


@given(st.lists(WORDS.map(" ".join), max_size=4), WORDS.map(" ".join))
def test_the_fast_look_loses_no_copy(passages, text) -> None:
    index = _Index(passages, 0.6)
    have = shingles(text)
    expected = [n for n, own in enumerate(map(shingles, passages)) if len(own & have) >= 0.6 * len(own)]
    assert index.held(text).tolist() == expected


def states(scores, k: int) -> dict[str, str]:
    return sanity_tables(scores, k)["checks"].set_index("check")["state"].to_dict()


def test_verdict_on_copies(tmp_path: Path) -> None:
    check = "a memorised passage finds its near copies"
    documents = [make_document(0), make_document(1), make_document(2, text=PASSAGE)]
    queries = [make_query(0, completion=PASSAGE)]
    low = write_scores(tmp_path / "low", [[3, 2, 1.0]], queries=queries, documents=documents)
    assert states(low, 2)[check] == "does not hold"
    assert states(low, 3)[check] == "holds"
    none = write_scores(tmp_path / "none", [[3, 2.0]], queries=queries, documents=documents[:2])
    assert states(none, 2)[check] == "not checked"


def test_a_text_raises_itself(tmp_path: Path) -> None:
    check = "a text raises itself"
    queries = [make_query(0, prompt="", completion="One two\nthree."), make_query(1)]
    documents = [make_document(0), make_document(1, text=" One two three.\n")]
    scores = write_scores(
        tmp_path / "s", [[5.0, 4.0], [1, 2.0]], gradient_norm=[5, 2.0], queries=queries, documents=documents
    )
    (row,) = self_influence(scores).to_dict("records")
    assert row == {
        "query": "slopes-00",
        "column": 1,
        "document": "doc-1",
        "source": "wiki",
        "dot": 4,
        "normed": 2,
        "rank_normed": 1,
        "rank_dot": 2,
    }
    assert states(scores, 1)[check] == "holds"
    against = write_scores(tmp_path / "a", [[5.0, -4.0], [1, 2.0]], queries=queries, documents=documents)
    assert states(against, 1)[check] == "does not hold"
