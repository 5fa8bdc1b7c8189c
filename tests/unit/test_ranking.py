"""Ranks over all documents against a full sort, and the tables and shares built from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stores import make_document, make_query, write_scores

from influence.analysis.documents import COLUMNS, rank_curve, ranks, top_table
from influence.analysis.sources import source_shares
from influence.errors import InputError


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.float32, st.integers(1, 60), elements=st.integers(-4, 4).map(lambda n: n / 3)),
    st.data(),
)
def test_ranks_are_those_of_a_stable_sort(row: np.ndarray, data: st.DataObject) -> None:
    columns = np.array(data.draw(st.lists(st.integers(0, len(row) - 1), unique=True)), np.int64)
    expected = np.empty(len(row), np.int64)
    expected[np.argsort(-row, kind="stable")] = np.arange(1, len(row) + 1)
    np.testing.assert_array_equal(ranks(row, columns), expected[columns])


def test_the_union_of_both_readings(tmp_path: Path) -> None:
    dot = np.array([[4.0, 3, 2, 1, -8, -1]])
    norm = np.array([8.0, 1, 1, 0.1, 16, 0.5])  # normed: 0.5, 3, 2, 10, −0.5, −2
    scores = write_scores(tmp_path / "s", dot, gradient_norm=norm, query_nll=np.array([2.0]))
    table = top_table(scores, 1, bottom=True)
    assert list(table.columns) == list(COLUMNS)
    top = table[table["end"] == "top"]
    assert top["document"].tolist() == ["doc-3", "doc-0"]  # in the order of normed
    assert top["rank_normed"].tolist() == [1, 4]
    assert top["rank_dot"].tolist() == [4, 1]
    np.testing.assert_allclose(top["normed"], [10, 0.5])
    np.testing.assert_allclose(top["per_nat"], [0.5, 2])
    assert top["snippet"].tolist() == ["Text of document 3.", "Text of document 0."]
    bottom = table[table["end"] == "bottom"]
    assert bottom["document"].tolist() == ["doc-5", "doc-4"]  # most negative normed first
    assert bottom["rank_dot"].tolist() == [5, 6]


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (2, 12), elements=st.integers(-3, 3).map(float)), st.integers(1, 15))
def test_holds_the_top_k_of_a_full_sort(dot: np.ndarray, k: int) -> None:
    import tempfile

    norm = np.tile([0.5, 1.0, 4.0], 4)
    with tempfile.TemporaryDirectory() as folder:
        scores = write_scores(Path(folder) / "s", dot, gradient_norm=norm)
        table = top_table(scores, k, bottom=True)
    for row, query in enumerate(scores.queries):
        mine = table[(table["query"] == query.id) & (table["end"] == "top")].set_index("column")
        bottom = table[(table["query"] == query.id) & (table["end"] == "bottom")]
        by_dot = np.argsort(-dot[row], kind="stable")
        by_normed = np.argsort(-dot[row] / norm, kind="stable")
        assert set(mine.index) == {*by_dot[:k], *by_normed[:k]}
        for rank, column in enumerate(by_dot[:k], 1):
            assert mine.loc[column, "rank_dot"] == rank
        assert mine["rank_normed"].is_monotonic_increasing
        assert set(bottom["column"]) == {*by_dot[-k:], *by_normed[-k:]}
        assert bottom["rank_normed"].is_monotonic_decreasing


def test_k_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        top_table(write_scores(tmp_path / "s", [[1.0]]), 0)


def test_curve_reads_the_sorted_row_at_its_ranks(tmp_path: Path) -> None:
    dot = np.random.default_rng(1).permuted(np.stack([np.arange(1.0, 101), -np.arange(1.0, 101)]), axis=1)
    rank_P, values_QP = rank_curve(write_scores(tmp_path / "s", dot), 10, "dot")
    assert rank_P.tolist() == list(range(1, 11))
    np.testing.assert_array_equal(values_QP[0], 101 - rank_P)
    np.testing.assert_array_equal(values_QP[1], -rank_P)


def test_curve_of_fewer_documents_than_k(tmp_path: Path) -> None:
    rank_P, values_QP = rank_curve(write_scores(tmp_path / "s", [[5.0]]), 1000, "dot")
    assert rank_P.tolist() == [1]
    assert values_QP.tolist() == [[5.0]]


def test_source_shares_are_multiples_of_the_corpus_share(tmp_path: Path) -> None:
    dot = np.array([[9.0, 8, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 9, 8]])
    sources = ["maths", "maths", *["web"] * 6]
    scores = write_scores(
        tmp_path / "s",
        dot,
        queries=[make_query(0), make_query(1, task="facts", group="factual")],
        documents=[make_document(n, source=source) for n, source in enumerate(sources)],
    )
    shares = source_shares(scores, top_table(scores, 2), 2, "dot").set_index(["source", "group"])
    assert shares.index.tolist()[0] == ("web", "reasoning")  # largest source first
    assert shares.loc[("maths", "reasoning"), ["count", "of", "multiplier"]].tolist() == [2, 2, 4.0]
    assert shares.loc[("maths", "factual"), "multiplier"] == 0
    assert shares.loc[("web", "factual"), "multiplier"] == pytest.approx(1 / 0.75)


def test_both_ends_of_the_table_are_one_ranking_with_ties(tmp_path: Path) -> None:
    dot = np.array([[1.0, 0, 1, 0, 0, 1, 0]])
    scores = write_scores(tmp_path / "run", dot)
    table = top_table(scores, 2, bottom=True)
    for end, ranked in (("top", [1, 2]), ("bottom", [7, 6])):
        own = table[table["end"] == end]
        for by in ("normed", "dot"):
            assert own["column"].tolist() == scores.ranking("slopes-00", 2, by, end == "bottom").tolist()
            assert own[f"rank_{by}"].tolist() == ranked
