"""A finished score store: readings, rankings, tables, export, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stores import make_document, make_query, write_scores

from influence.errors import InputError, StoreError
from influence.store.artefact import MANIFEST
from influence.store.scores import ARRAYS, Scores, open_scores
from influence.types import Query, Reading, Step

DOT = np.array([[4.0, -2.0, 6.0, 0.0, 4.0], [-1.0, -8.0, 3.0, 0.0, 5.0]])
NORM = np.array([2.0, 1.0, 4.0, 0.0, 2.0])
NLL = np.array([2.0, 0.5])


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    return make_store(tmp_path / "run", DOT)


def make_store(folder: Path, dot: np.ndarray, norm: np.ndarray = NORM) -> Scores:
    queries = [make_query(i, id=f"q{i}") for i in range(len(dot))]
    documents = [make_document(i, id=f"d{i}") for i in range(dot.shape[1])]
    return write_scores(
        folder, dot, gradient_norm=norm, query_nll=NLL[: len(dot)], queries=queries, documents=documents
    )


def test_readings(scores: Scores) -> None:
    np.testing.assert_array_equal(scores.dot, DOT)
    np.testing.assert_array_equal(scores.gradient_norm, NORM)
    np.testing.assert_array_equal(scores.query_nll, NLL)
    np.testing.assert_array_equal(scores.per_nat, DOT / [[2.0], [0.5]])
    # A document without a gradient has no influence: 0, not NaN.
    expected = np.array([[2.0, -2.0, 1.5, 0.0, 2.0], [-0.5, -8.0, 0.75, 0.0, 2.5]])
    np.testing.assert_array_equal(scores.normed, expected)
    for reading in get_args(Reading):
        for row, query in enumerate(scores.queries):
            np.testing.assert_array_equal(scores.row(query.id, reading), getattr(scores, reading)[row])
    assert isinstance(scores.dot, np.memmap)


def test_ranking_breaks_ties_in_document_order(scores: Scores) -> None:
    assert scores.ranking("q0", 5).tolist() == [0, 4, 2, 3, 1]
    assert scores.ranking("q0", 1).tolist() == [0]
    assert scores.ranking("q0", 1, by="dot").tolist() == [2]
    assert scores.ranking("q0", 99, by="dot").tolist() == [2, 0, 4, 3, 1]
    assert scores.ranking("q0", 2, bottom=True).tolist() == [1, 3]
    assert scores.ranking("q1", 2, bottom=True, by="per_nat").tolist() == [1, 0]
    assert scores.ranking("q0", 4, bottom=True, by="dot").tolist() == [1, 3, 4, 0]
    assert scores.ranking("q0", 0).tolist() == []


@given(arrays(np.float64, st.integers(1, 40), elements=st.integers(-3, 3)), st.integers(0, 45), st.booleans())
def test_ranking_is_either_end_of_one_stable_sort(
    tmp_path_factory: pytest.TempPathFactory, row: np.ndarray, k: int, bottom: bool
) -> None:
    scores = make_store(tmp_path_factory.mktemp("run") / "x", row[None], np.ones(len(row)))
    whole = np.argsort(-row, kind="stable")
    expected = whole[::-1][:k] if bottom else whole[:k]
    assert scores.ranking("q0", k, bottom=bottom).tolist() == expected.tolist()


def test_top_is_a_table(scores: Scores) -> None:
    top = scores.top("q0", k=3)
    assert list(top.columns) == ["rank", "document", "source", "dot", "per_nat", "normed", "snippet"]
    assert top["rank"].tolist() == [1, 2, 3]
    assert top["document"].tolist() == ["d0", "d4", "d2"]
    assert top["dot"].tolist() == [4.0, 4.0, 6.0]
    assert top["per_nat"].tolist() == [2.0, 2.0, 3.0]
    assert top["normed"].tolist() == [2.0, 2.0, 1.5]
    assert top["snippet"].tolist() == [scores.documents.snippet(i) for i in (0, 4, 2)]
    assert scores.top("q1", k=1, bottom=True)["document"].tolist() == ["d1"]


def test_unknown_names_are_refused(scores: Scores) -> None:
    with pytest.raises(InputError, match="No query 'q9'") as caught:
        scores.top("q9")
    assert "q0, q1" in str(caught.value.have)
    with pytest.raises(InputError, match="no reading 'cosine'"):
        scores.row("q0", "cosine")  # type: ignore[arg-type]


def test_parquet_holds_every_score(scores: Scores, tmp_path: Path) -> None:
    path = scores.to_parquet(tmp_path / "new folder" / "all.parquet")
    table = pd.read_parquet(path)
    assert list(table.columns) == ["query", "document", "source", "dot", "per_nat", "normed"]
    assert len(table) == DOT.size
    for reading in get_args(Reading):
        wide = table.pivot(index="query", columns="document", values=reading)
        expected = getattr(scores, reading)
        np.testing.assert_array_equal(wide.loc[["q0", "q1"], [f"d{i}" for i in range(5)]], expected)
    assert list(path.parent.iterdir()) == [path]


def test_queries_come_back_with_every_field(tmp_path: Path) -> None:
    query = Query(
        "q", "slopes", "reasoning", "p", "c", "-2", (Step("7 - 3", ("4", "four")),), ("k",), False, ("d0",)
    )
    scores = write_scores(tmp_path / "run", np.ones((1, 1)), queries=[query])
    assert open_scores(scores.folder).queries == (query,)


def test_absent_unfinished_and_damaged_stores_are_refused(scores: Scores, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no scores"):
        open_scores(tmp_path / "nowhere")
    array = scores.folder / ARRAYS
    array.write_bytes(array.read_bytes()[:-8])
    with pytest.raises(StoreError, match=r"scores\.safetensors cannot be read"):
        _ = open_scores(scores.folder).dot
    manifest = scores.folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    with pytest.raises(StoreError, match="unfinished"):
        open_scores(scores.folder)


def test_reading_a_store_needs_no_torch(scores: Scores) -> None:
    code = (
        "import sys, influence\n"
        "scores = influence.open_scores(sys.argv[1])\n"
        "scores.top('q0'), scores.normed\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, str(scores.folder)], check=True, timeout=60)
