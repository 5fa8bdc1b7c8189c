"""Pearson R over all documents: closed forms, numpy as oracle, and what is not defined."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stores import make_query, write_scores

from influence.analysis import correlation as module
from influence.analysis.correlation import correlation
from influence.analysis.grouping import group_means, task_labels, task_order
from influence.errors import ComputeError, InputError
from influence.types import Reading


def test_closed_form(tmp_path: Path) -> None:
    scores = write_scores(
        tmp_path / "s",
        np.array([[1, 2, 3, 4], [10, 20, 30, 40], [4, 3, 2, 1], [1, -1, -1, 1.0]]),
    )
    r = correlation(scores, "dot")
    assert list(r.index) == list(r.columns) == [q.id for q in scores.queries]
    expected = [[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(r.to_numpy(), expected, atol=1e-15)


def test_normed_divides_each_document_by_its_own_norm(tmp_path: Path) -> None:
    normed = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]])
    norm = np.array([1.0, 100, 0.01, 7])
    scores = write_scores(tmp_path / "s", normed * norm, gradient_norm=norm)
    assert correlation(scores, "normed").iloc[0, 1] == pytest.approx(-1)
    assert correlation(scores, "dot").iloc[0, 1] > -0.9


def test_per_nat_is_the_r_of_dot_and_a_zero_norm_scores_zero(tmp_path: Path) -> None:
    dot = np.random.default_rng(0).normal(size=(3, 50))
    norm = np.where(np.arange(50) % 7 == 0, 0.0, 2.0)
    scores = write_scores(tmp_path / "s", dot, gradient_norm=norm, query_nll=np.array([1.0, 3, 9]))
    np.testing.assert_array_equal(correlation(scores, "per_nat"), correlation(scores, "dot"))
    np.testing.assert_allclose(correlation(scores, "normed"), np.corrcoef(np.where(norm > 0, dot / 2, 0)))


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, (4, 23), elements=st.floats(-1e6, 1e6).map(lambda x: round(x, 3))),
    st.sampled_from(get_args(Reading)),
    st.integers(1, 40),
)
def test_equals_numpy_for_any_block_size(dot: np.ndarray, by: Reading, width: int) -> None:
    norm = np.linspace(0.5, 3, dot.shape[1])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        scores = write_scores(Path(folder) / "s", dot, gradient_norm=norm)
        patch.setattr(module, "BLOCK_NUMBERS", width * len(dot))
        r = correlation(scores, by).to_numpy()
    reading = dot / norm if by == "normed" else dot
    varies = np.ptp(reading, axis=1) > 1e-6 * np.abs(reading).max(axis=1)
    with np.errstate(invalid="ignore"):
        expected = np.corrcoef(reading)
    both = varies[:, None] & varies[None, :]
    np.testing.assert_allclose(r[both], expected[both], atol=1e-8)
    constant = np.ptp(reading, axis=1) == 0
    assert np.isnan(r[constant]).all()
    assert np.isnan(r[:, constant]).all()
    assert np.array_equal(r, r.T, equal_nan=True)


def test_a_large_offset_does_not_cost_the_digits(tmp_path: Path) -> None:
    wave = np.sin(np.arange(1000.0))
    scores = write_scores(tmp_path / "s", np.stack([1e8 + wave, 1e8 - wave, np.full(1000, 0.1)]))
    r = correlation(scores, "dot").to_numpy()
    assert r[0, 1] == pytest.approx(-1, abs=1e-9)
    assert np.isnan(r[2]).all()  # 0.1 has no exact mean: constant all the same


def test_one_document_defines_no_r(tmp_path: Path) -> None:
    assert np.isnan(correlation(write_scores(tmp_path / "s", [[1.0], [2.0]]))).to_numpy().all()


def test_refusals(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "s", [[1.0, 2.0], [3.0, np.nan]])
    with pytest.raises(ComputeError, match="slopes-01"):
        correlation(scores, "dot")
    with pytest.raises(InputError, match="cosine"):
        correlation(scores, "cosine")  # type: ignore[arg-type]


def test_group_means_leave_out_the_diagonal_and_what_is_not_defined(tmp_path: Path) -> None:
    a, b, c = np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1]), np.array([1.0, -1, -1, 1])
    queries = [
        make_query(0, task="facts", group="factual"),
        make_query(1),
        make_query(2),
        make_query(3, task="facts", group="factual"),
        make_query(4, task="lone", group="control"),
    ]
    scores = write_scores(tmp_path / "s", np.stack([a, b, (b + c) / 2, np.zeros(4), a + b]), queries=queries)
    means = group_means(correlation(scores, "dot"), scores.queries)
    assert list(means.index) == ["slopes", "facts", "lone"]  # reasoning, factual, control
    half = np.sqrt(0.5)
    assert means.loc["slopes", "slopes"] == pytest.approx(half)
    assert np.isnan(means.loc["facts", "facts"])  # its one pair has a constant row
    assert np.isnan(means.loc["lone", "lone"])  # one query has no pair
    assert means.loc["slopes", "lone"] == pytest.approx((half + 0.5) / 2)
    assert means.loc["lone", "facts"] == pytest.approx(half)


def test_a_task_that_stands_in_two_groups_is_told_apart() -> None:
    queries = [make_query(0), make_query(1, group="control"), make_query(2, task="facts", group="factual")]
    assert task_labels(queries) == ["slopes (reasoning)", "slopes (control)", "facts"]
    assert task_order(queries) == [0, 2, 1]
