"""Blocks of R: means known by hand, exact permutation p, intervals, and two runs of the same prompts."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import make_document, make_query, write_scores

from influence.analysis.agreement import cross_correlation, cross_summary, pearson
from influence.analysis.correlation import block_table, correlation, largest_pairs, permutation_test
from influence.errors import InputError


def queries_of(*sizes: int):
    return [
        make_query(n, id=f"{task}{n}", task=task, prompt=f"{task} {n}?")
        for task, size in zip("abc", sizes, strict=False)
        for n in range(size)
    ]


def frame(matrix) -> pd.DataFrame:
    return pd.DataFrame(np.array(matrix, float))


def test_block_means_leave_out_the_diagonal_and_what_is_not_defined() -> None:
    queries = queries_of(3, 2)
    r = frame(
        [
            [1, 0.9, 0.7, 0.1, 0.2],
            [0.9, 1, np.nan, 0.3, 0.4],
            [0.7, np.nan, 1, 0.5, 0.6],
            [0.1, 0.3, 0.5, 1, -0.5],
            [0.2, 0.4, 0.6, -0.5, 1],
        ]
    )
    table = block_table(r, queries).set_index(["a", "b"])
    assert table.loc[("a", "a"), ["pairs", "mean"]].tolist() == [2, pytest.approx(0.8)]
    assert table.loc[("a", "b"), ["pairs", "mean"]].tolist() == [6, pytest.approx(0.35)]
    assert table.loc[("b", "b"), ["pairs", "mean"]].tolist() == [1, pytest.approx(-0.5)]
    assert table.loc[("b", "b"), ["low", "high"]].tolist() == [-0.5, -0.5]  # one pair, or none
    assert list(table.index) == [("a", "a"), ("a", "b"), ("b", "b")]


def test_a_lonely_query_has_no_block() -> None:
    table = block_table(frame([[1, 0.5, 0.2], [0.5, 1, 0.2], [0.2, 0.2, 1]]), queries_of(2, 1)).set_index(
        ["a", "b"]
    )
    assert table.loc[("b", "b"), "pairs"] == 0
    assert table.loc[("b", "b"), ["mean", "low", "high", "p"]].isna().all()


def test_the_p_of_perfect_blocks_is_that_of_counting() -> None:
    n = 4
    same = np.kron(np.eye(2), np.ones((n, n)))
    result = permutation_test(frame(same), queries_of(n, n), permutations=20_000).iloc[0]
    assert (result["within"], result["between"], result["difference"]) == (1, 0, 1)
    assert result["p"] == pytest.approx(2 / comb(2 * n, n), rel=0.15)  # this labelling and its mirror image


def test_labels_that_mean_nothing_are_not_significant() -> None:
    rng = np.random.default_rng(1)
    ps = []
    for _ in range(60):
        noise = np.tril(rng.normal(size=(10, 10)), -1)
        r = frame(noise + noise.T + np.eye(10))
        ps.append(permutation_test(r, queries_of(5, 5), permutations=200).iloc[0]["p"])
    assert 0.3 < np.mean(ps) < 0.7
    assert min(ps) >= 1 / 201


def test_block_p_is_two_sided() -> None:
    n = 5
    apart = np.kron(np.eye(2), np.ones((n, n)))
    table = block_table(frame(apart), queries_of(n, n), permutations=5000).set_index(["a", "b"])
    assert table.loc[("a", "a"), "p"] < 0.03
    assert table.loc[("a", "b"), "p"] < 0.03
    flat = block_table(frame(np.full((10, 10), 0.3)), queries_of(n, n), permutations=50)
    assert (flat["p"] == 1).all()
    assert np.allclose(flat[["low", "high"]], 0.3)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_intervals_hold_the_mean_and_the_order_of_queries_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries = queries_of(4, 3, 3)
    r = frame(np.corrcoef(rng.normal(size=(10, 6))))
    table = block_table(r, queries, resamples=200, permutations=20)
    assert (table["low"] <= table["high"]).all()
    order = rng.permutation(10)
    other = block_table(r.iloc[order, order], [queries[row] for row in order], resamples=200, permutations=20)
    for row in other.to_dict("records"):
        assert row["mean"] == pytest.approx(table_mean(table, row["a"], row["b"]))


def table_mean(table: pd.DataFrame, a: str, b: str) -> float:
    found = table[((table["a"] == a) & (table["b"] == b)) | ((table["a"] == b) & (table["b"] == a))]
    return float(found["mean"].iloc[0])


def test_largest_pairs() -> None:
    r = frame([[1, 0.2, 0.9], [0.2, 1, np.nan], [0.9, np.nan, 1]])
    pairs = largest_pairs(r, queries_of(2, 1))
    assert pairs.values.tolist() == [["a0", "b0", "a", "b", 0.9], ["a0", "a1", "a", "a", 0.2]]


def test_parts(tmp_path: Path) -> None:
    dot = np.array([[3.0, 1, -1, -2, 0], [6, 2, -5, -1, 7], [-1, -1, 4, 5, 0]])
    scores = write_scores(tmp_path / "s", dot)
    for part, kept in (("positive", np.maximum(dot, 0)), ("negative", np.minimum(dot, 0))):
        np.testing.assert_allclose(correlation(scores, "dot", part), np.corrcoef(kept), atol=1e-12)
    with pytest.raises(InputError, match="left"):
        correlation(scores, "dot", "left")  # type: ignore[arg-type]


def test_two_runs_of_the_same_prompts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(3, 40))
    second = np.stack([-2 * first[1] + 5, first[0], np.ones(40)])
    queries = queries_of(3)
    others = [make_query(9, id=f"other{n}", task="a", prompt=queries[n].prompt) for n in (1, 0, 2)]
    a = write_scores(tmp_path / "a", first, queries=queries)
    b = write_scores(tmp_path / "b", second, queries=others)
    cross = cross_correlation(a, b, "dot")
    assert cross[["query_a", "query_b"]].values.tolist() == [
        ["a0", "other0"],
        ["a1", "other1"],
        ["a2", "other2"],
    ]
    np.testing.assert_allclose(cross["r"], [1, -1, np.nan])
    assert cross_summary(cross).iloc[0]["mean"] == pytest.approx(0)
    assert cross_summary(cross).iloc[0]["n"] == 2
    far = write_scores(
        tmp_path / "c", first, queries=queries, documents=[make_document(n + 1) for n in range(40)]
    )
    with pytest.raises(InputError, match="same documents"):
        cross_correlation(a, far)
    with pytest.raises(InputError, match="No prompt"):
        cross_correlation(a, write_scores(tmp_path / "d", first, queries=[make_query(n) for n in range(3)]))


def test_pearson_is_numpys_and_keeps_its_digits() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 1000))
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pearson(1e200 * x, 1e-200 * x) == pytest.approx(1)
    assert np.isnan(pearson(np.ones(3), np.arange(3.0)))
