"""Spiky token scores, sums, and near copies of memorised passages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import make_document, make_query, write_scores

from influence.analysis.sanity import (
    containment,
    copy_ranks,
    mark_spikes,
    near_copies,
    spike_ratio,
    sum_error,
)
from influence.errors import InputError


@pytest.mark.parametrize(
    ("values", "ratio"),
    [
        ([0, 0, -7.0], 1),
        ([1.0] * 9, 1 / 3),
        ([3.0, -4.0], 5 / 7),
        ([1e-200, 1e-200], 1 / np.sqrt(2)),
        ([1e200, -1e200], 1 / np.sqrt(2)),
        ([0.0, 0.0], np.nan),
        ([], np.nan),
    ],
)
def test_spike_ratio(values, ratio) -> None:
    assert spike_ratio(values) == pytest.approx(ratio, nan_ok=True)


@given(
    st.lists(st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-6), min_size=1, max_size=30),
    st.floats(0.1, 10),
)
def test_spike_ratio_is_bounded_and_knows_no_scale(values, scale) -> None:
    ratio = spike_ratio(values)
    assert 1 / np.sqrt(len(values)) - 1e-9 <= ratio <= 1 + 1e-9
    assert spike_ratio([scale * value for value in values]) == pytest.approx(ratio)


def test_marks() -> None:
    marks = mark_spikes({("q", "even"): [1, 1, 1.0], ("q", "spiky"): [0.1, 9, 0.1], ("q", "none"): [0, 0]})
    assert marks.set_index("document")["spurious"].to_dict() == {"even": False, "spiky": True, "none": False}


def test_sum_error() -> None:
    assert sum_error([1, 2, -3.0], 0.0) == 0
    assert sum_error([1, 2, -3.0], 0.6) == pytest.approx(0.1)
    assert sum_error([0, 0], 0) == 0
    assert sum_error([], 1) == np.inf


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
    with pytest.raises(InputError, match="no words"):
        copy_ranks(scores, ["slopes-01"])


def test_a_short_passage_is_its_own_shingle() -> None:
    assert containment("two words", "Two words!") == 1
    assert np.isnan(containment("", "x"))
