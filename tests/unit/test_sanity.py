"""Spiky token scores, sums, facts in another order, and the verdicts on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import make_document, make_query, write_scores

from influence.analysis.sanity import spike_ratio, sum_error, token_marks, word_order
from influence.analysis.tables import sanity_tables
from influence.errors import InputError
from influence.store.scores import Scores
from influence.store.token_scores import open_token_scores, write_token_scores


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


def test_sum_error() -> None:
    assert sum_error([1, 2, -3.0], 0.0) == 0
    assert sum_error([1, 2, -3.0], 0.6) == pytest.approx(0.1)
    assert sum_error([0, 0], 0) == 0
    assert sum_error([], 1) == np.inf


def with_tokens(folder: Path, values: list[list[float]]) -> Scores:
    """A run of one query and a document a list of token scores, which add up to its score."""
    scores = write_scores(folder, [[sum(own) for own in values]])
    pairs = [(0, column, np.array(own)) for column, own in enumerate(values)]
    write_token_scores(scores.folder, pairs, {column: np.ones(len(own)) for _, column, own in pairs})
    return scores


def state_of(scores: Scores, k: int = 20) -> dict[str, tuple[str, str]]:
    checks = sanity_tables(scores, k)["checks"]
    return {check: (state, why) for check, state, why in checks.itertuples(index=False)}


SUMS, SPIKES = "token scores add up to the score", "influence does not sit in a few tokens"
ORDER = "a fact in the other order has no influence"


def test_marks_and_sums_of_tokens(tmp_path: Path) -> None:
    scores = with_tokens(tmp_path / "s", [[1, 1, 1.5], [0.1, 9, 0.1], [0, 0.0]])
    tokens = open_token_scores(scores)
    assert tokens is not None
    marks = token_marks(scores, tokens).set_index("document")
    assert marks["spurious"].to_dict() == {"doc-0": False, "doc-1": True, "doc-2": False}
    assert marks.loc["doc-0", ["tokens", "dot", "sum"]].tolist() == [3, 3.5, 3.5]
    assert marks["error"].max() < 1e-6
    assert marks.loc["doc-1", "source"] == "wiki"
    states = state_of(scores)
    assert states[SUMS][0] == "holds"
    assert states[SPIKES] == (
        "does not hold",
        "1 of 3 documents are marked spurious (‖·‖₂ / ‖·‖₁ above 0.67)",
    )


def test_sums_that_do_not_add_up_are_said(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "s", [[4.0, 1.0]])
    write_token_scores(scores.folder, [(0, 0, np.array([1.0, 2, 2]))], {0: np.ones(3)})
    states = state_of(scores)
    assert states[SUMS] == (
        "does not hold",
        "1 documents, off by at most 2.0e-01 of the sum of absolute token scores",
    )
    assert states[SPIKES][0] == "holds"


def twins(folder: Path, dot: list[list[float]], flip_of: str = "doc-0") -> Scores:
    documents = [
        make_document(0),
        make_document(1),
        make_document(2, metadata={"flip_of": flip_of, "note": 1}),
        make_document(3, metadata={"note": "no flip_of"}),
    ]
    queries = [make_query(0, gold=("doc-0",)), make_query(1, gold=("doc-1",))]
    return write_scores(folder, dot, queries=queries, documents=documents)


def test_facts_in_the_other_order(tmp_path: Path) -> None:
    scores = twins(tmp_path / "s", [[8, 5, 1, 2.0], [1, 2, 3, 4.0]])
    (row,) = word_order(scores).to_dict("records")
    assert (row["query"], row["document"], row["flipped"]) == ("slopes-00", "doc-0", "doc-2")
    assert (row["dot"], row["dot_flipped"], row["ratio"]) == (8, 1, 0.125)
    assert (row["rank_normed"], row["rank_normed_flipped"]) == (1, 4)
    assert state_of(scores)[ORDER] == (
        "holds",
        "0.12 of the score is left in the other order (median of 1 facts)",
    )
    assert state_of(twins(tmp_path / "kept", [[8, 5, 7, 2.0], [1, 2, 3, 4.0]]))[ORDER][0] == "does not hold"
    negative = state_of(twins(tmp_path / "negative", [[-8, 5, 7, 2.0], [1, 2, 3, 4.0]]))
    assert negative[ORDER] == ("not checked", "none of 1 facts has a positive score")
    with pytest.raises(InputError, match="'doc-2' names 'doc-9'"):
        word_order(twins(tmp_path / "lost", [[8, 5, 7, 2.0], [1, 2, 3, 4.0]], "doc-9"))


def test_what_was_not_checked_is_said(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "s", [[1.0, 2.0]])
    checks = sanity_tables(scores, 5, scan=False)["checks"]
    assert set(checks["state"]) == {"not checked"}
    assert checks["why"].str.contains("--no-scan").sum() == 2
    assert checks["why"].str.contains("run influence tokens").sum() == 2
    assert checks["why"].str.contains("'flip_of' in its metadata").sum() == 1
