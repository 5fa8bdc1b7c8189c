"""The LDS: 1 where influence is exact, scipy's Spearman, no presence left, and subsets that leave out what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from influence.validation.lds import (
    CEILING,
    best_possible,
    chance,
    lds_table,
    random_subsets,
    spearman,
    sums_over,
    without_presence,
)
from influence.validation.methods import BM25
from influence.validation.tables import FAILS, HOLDS, verdict

DOCUMENTS, QUERIES, SUBSETS = 40, 6, 12


def outcome(noise: float = 0.0, seeds: int = 1) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A linear model: its parameters are the sum of the documents it saw, so influence is exact."""
    rng = np.random.default_rng(0)
    documents_DP, queries_QP = rng.standard_normal((DOCUMENTS, 3)), rng.standard_normal((QUERIES, 3))
    kept = random_subsets(DOCUMENTS, SUBSETS, 0.5)
    truth_SQ = np.stack([documents_DP[kept_D].sum(0) @ queries_QP.T for kept_D in kept])
    truth_KSQ = np.stack([truth_SQ + noise * rng.standard_normal(truth_SQ.shape) for _ in range(seeds)])
    exact_QD = queries_QP @ documents_DP.T
    rows = {"exact": exact_QD, "wrong": -exact_QD, BM25: rng.standard_normal(exact_QD.shape)}
    return truth_KSQ, {name: sums_over(kept, list(row)) for name, row in rows.items()}


def test_exact_influence_has_an_lds_of_one() -> None:
    table = lds_table(*outcome(), BM25, resamples=200)
    assert [table["exact"].value, table["exact"].low] == pytest.approx([1.0, 1.0])
    assert table["wrong"].value == pytest.approx(-1.0)
    assert table["exact"].by_query.tolist() == pytest.approx([1.0] * QUERIES)
    assert table["exact"].beside == pytest.approx(1 - table[BM25].value)
    assert table["exact"].beside_low > 0
    assert table[BM25].low < 0 < table[BM25].high
    assert CEILING not in table


def test_seeds_bound_what_can_be_reached() -> None:
    table = lds_table(*outcome(noise=4.0, seeds=2), BM25, resamples=200)
    between = table[CEILING].value
    assert 0.2 < between < 1
    assert table["exact"].value == pytest.approx(best_possible(between), abs=0.1)


def test_spearman_is_that_of_scipy_also_with_ties() -> None:
    rng = np.random.default_rng(1)
    a_SQ, b_SQ = rng.integers(0, 4, (9, 5)), rng.standard_normal((9, 5))
    expected = [spearmanr(a_SQ[:, q], b_SQ[:, q]).statistic for q in range(5)]
    np.testing.assert_allclose(spearman(a_SQ, b_SQ), expected, rtol=1e-12)
    assert np.isnan(spearman(np.ones((9, 1)), b_SQ[:, :1])).all()


def test_scores_that_say_nothing_spread_as_said() -> None:
    rng = np.random.default_rng(2)
    draws = [
        np.nanmean(spearman(rng.standard_normal((8, 30)), rng.standard_normal((8, 30)))) for _ in range(300)
    ]
    assert np.std(draws) == pytest.approx(chance(8, 30), rel=0.15)


def test_what_presence_explains_is_taken_out() -> None:
    rng = np.random.default_rng(3)
    present_SQ = rng.integers(0, 3, (10, 2)).astype(float)
    present_SQ[:, 1] = 1.0  # always there: explains nothing
    rest_SQ = rng.standard_normal((10, 2))
    left_SQ = without_presence(5 * present_SQ + rest_SQ, present_SQ)
    assert abs(np.corrcoef(left_SQ[:, 0], present_SQ[:, 0])[0, 1]) < 1e-12
    np.testing.assert_allclose(left_SQ[:, 1], rest_SQ[:, 1] - rest_SQ[:, 1].mean())


def test_subsets_leave_out_the_share_and_do_not_depend_on_their_number() -> None:
    few, many = random_subsets(30, 3, 0.1), random_subsets(30, 5, 0.1)
    assert [int((~kept).sum()) for kept in many] == [3] * 5
    assert all(np.array_equal(a, b) for a, b in zip(few, many, strict=False))
    assert len({kept.tobytes() for kept in many}) == 5


def row(method: str, lds: float, low: float, over_high: float) -> dict[str, object]:
    about = {"left_out": 0.5, "gold": "counted", "subsets": 8, "queries": 30, "seeds": 2}
    return about | {"method": method, "lds": lds, "low": low, "high": lds + 0.1, "over_high": over_high}


@pytest.mark.parametrize(
    ("lds", "low", "over_high", "state"),
    [(0.6, 0.5, 0.1, HOLDS), (0.2, -0.1, 0.1, FAILS), (0.4, 0.3, -0.05, FAILS), (0.4, 0.3, 0.0, HOLDS)],
)
def test_a_verdict_asks_for_more_than_chance_and_no_less_than_words(
    lds: float, low: float, over_high: float, state: str
) -> None:
    table = pd.DataFrame(
        [row("scores", lds, low, over_high), row(BM25, 0.5, 0.4, 0.0), row(CEILING, 0.64, 0.6, 0.2)]
    )
    said, why = verdict(table, "scores")
    assert said == state
    assert "BM25 0.50" in why
    assert "at most 0.80" in why
    assert ("predicts retraining better" in why) == (over_high < 0)
