"""Concentration, power laws and tails where each number is known in closed form."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from stores import make_query, write_scores

from influence.analysis.concentration import concentration, pareto_tail, power_law
from influence.analysis.grouping import bootstrap_means, group_rows, mean_interval, summarise, welch_tests
from influence.errors import ComputeError, InputError

ROW = np.array([3.0, -1, 0, 5, 2, -4, 1, -5])


def at(table, side: str, unit: str, point: float):
    row = table[(table["side"] == side) & (table["unit"] == unit) & (table["at"] == point)]
    assert len(row) == 1
    return row.iloc[0]


def test_closed_form(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "s", [ROW], query_nll=np.array([2.0]))
    table = concentration(scores, percents=(1, 25, 50, 75, 100), counts=(1, 3, 4, 5))
    assert at(table, "positive", "percent", 100)["cumulative"] == 5.5  # (5 + 3 + 2 + 1) / 2 nats
    assert at(table, "positive", "percent", 50)["cumulative"] == 4
    assert at(table, "positive", "percent", 50)["share"] == pytest.approx(8 / 11)
    assert at(table, "positive", "percent", 1)["documents"] == 1  # rounded up
    assert at(table, "positive", "documents", 3)["cumulative"] == 5
    assert at(table, "negative", "documents", 1)["cumulative"] == -2.5
    assert at(table, "negative", "percent", 100)["cumulative"] == -5
    assert at(table, "negative", "percent", 50)["share"] == pytest.approx(0.9)
    assert set(table[table["unit"] == "documents"]["at"]) == {1, 3, 4}  # 5: no side has so many
    assert set(table[(table["side"] == "negative") & (table["unit"] == "documents")]["at"]) == {1, 3}


def test_rank_by_another_reading_adds_up_in_that_order(tmp_path: Path) -> None:
    norm = np.array([10.0, 1, 1, 100, 1, 1, 1, 1])  # normed: 0.3 . . 0.05 2 . 1 .
    scores = write_scores(tmp_path / "s", [ROW], gradient_norm=norm)
    table = concentration(scores, "per_nat", rank_by="normed", percents=(100,), counts=(1, 2, 3))
    sums = [at(table, "positive", "documents", k)["cumulative"] for k in (1, 2, 3)]
    assert sums == [2, 3, 6]
    assert at(table, "positive", "percent", 100)["cumulative"] == 11


def test_a_side_without_documents_is_zero_and_has_no_share(tmp_path: Path) -> None:
    table = concentration(write_scores(tmp_path / "s", [[1.0, 2, 0]]))
    negative = table[table["side"] == "negative"]
    assert (negative["cumulative"] == 0).all()
    assert negative["share"].isna().all()
    assert (negative["documents"] == 0).all()


@settings(max_examples=25)
@given(
    arrays(np.float64, 40, elements=st.integers(-1000, 1000).map(float)), st.sampled_from(["dot", "normed"])
)
def test_curves_are_concave_and_end_at_the_sum(dot: np.ndarray, by) -> None:
    norm = np.linspace(1, 2, 40)
    with tempfile.TemporaryDirectory() as folder:
        scores = write_scores(Path(folder) / "s", [dot], gradient_norm=norm)
        table = concentration(scores, by, percents=(10, 50, 100), counts=range(1, 41))
    reading = dot / norm if by == "normed" else dot
    for side, sign in (("positive", 1), ("negative", -1)):
        kept = reading[sign * reading > 0]
        assert at(table, side, "percent", 100)["cumulative"] == pytest.approx(kept.sum())
        curve = (
            table[(table["side"] == side) & (table["unit"] == "documents")]["cumulative"].to_numpy() * sign
        )
        assert len(curve) == len(kept)
        gains = np.diff(curve, prepend=0)
        assert (gains > 0).all()
        assert (np.diff(gains) <= 1e-9).all()


def test_impossible_points_and_scores_are_refused(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "s", [[1.0, np.nan]])
    with pytest.raises(InputError, match="101"):
        concentration(scores, percents=(101,))
    with pytest.raises(ComputeError, match="slopes-00"):
        concentration(scores)
    with pytest.raises(ComputeError, match="per_nat"):
        concentration(write_scores(tmp_path / "t", [[1.0, 2]], query_nll=[0.0]))


def test_an_exact_power_law_is_recovered(tmp_path: Path) -> None:
    rank = np.arange(1, 1001)
    rows = [np.r_[8 * rank**-0.35, -3 * rank**-1.5], np.r_[np.full(1000, 2.0), np.zeros(1000)]]
    shuffled = np.random.default_rng(0).permutation(2000)
    table = power_law(write_scores(tmp_path / "s", np.array(rows)[:, shuffled]), k=500, by="dot")
    table = table.set_index(["query", "side"])
    steep = table.loc[("slopes-00", "positive")]
    assert steep["slope"] == pytest.approx(-0.35)
    assert steep["intercept"] == pytest.approx(np.log(8))
    assert steep["r2"] == pytest.approx(1)
    assert steep["se"] == pytest.approx(0, abs=1e-8)
    assert steep["n"] == 500
    assert table.loc[("slopes-00", "negative"), "slope"] == pytest.approx(-1.5)
    assert table.loc[("slopes-01", "positive"), "slope"] == pytest.approx(0, abs=1e-12)
    assert np.isnan(table.loc[("slopes-01", "negative"), "slope"])
    assert table.loc[("slopes-01", "negative"), "n"] == 0


def test_slope_and_its_error_are_those_of_least_squares(tmp_path: Path) -> None:
    row = np.random.default_rng(3).pareto(2, 700)
    fit = power_law(write_scores(tmp_path / "s", [row]), k=100).iloc[0]
    y = np.log(np.sort(row)[::-1][:100])
    known = stats.linregress(np.log(np.arange(1, 101)), y)
    assert fit["slope"] == pytest.approx(known.slope)
    assert fit["se"] == pytest.approx(known.stderr)
    assert fit["r2"] == pytest.approx(known.rvalue**2)


def test_pareto_tail(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pareto = (1 - rng.random(20_000)) ** (-1 / 2.5)  # P(x) = x^-2.5 above 1
    uniform = rng.uniform(1, 1.2, 20_000)
    table = pareto_tail(write_scores(tmp_path / "s", [pareto, uniform]), k=2000, by="dot")
    table = table.set_index(["query", "side"])
    good, bad = table.loc[("slopes-00", "positive")], table.loc[("slopes-01", "positive")]
    top = np.sort(pareto)[::-1][:2000]
    assert good["alpha"] == pytest.approx(1999 / np.log(top[:-1] / top[-1]).sum())
    assert abs(good["alpha"] - 2.5) < 3 * good["se"]
    assert good["p"] > 0.05
    assert bad["p"] == pytest.approx(1 / 1001)
    known = stats.kstest(top[:-1] / top[-1], stats.pareto(good["alpha"]).cdf).statistic
    assert good["ks"] == pytest.approx(known)
    assert np.isnan(table.loc[("slopes-00", "negative"), "alpha"])


QUERIES = [make_query(n) for n in range(3)] + [
    make_query(n, id=f"fact-{n}", task="capital", group="factual") for n in range(3)
]


def test_groups_and_their_summary(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "s", np.arange(1, 7)[:, None] * np.ones((6, 4)), queries=QUERIES)
    table = concentration(scores, percents=(100,), counts=(1,))
    table = table[table["unit"] == "percent"]
    summary = summarise(table, scores.queries, "cumulative", ["side", "unit", "at"], "group").set_index(
        ["label", "side"]
    )
    slopes = summary.loc[("reasoning", "positive")]
    assert slopes["mean"] == 8
    assert slopes["sd"] == 4
    assert 4 <= slopes["low"] < 8 < slopes["high"] <= 12
    assert summary.loc[("factual", "positive"), "mean"] == 20
    assert list(group_rows(QUERIES, {"fact-1": "mine", "slopes-00": "mine"})["mine"]) == [0, 4]
    assert list(group_rows(QUERIES)) == ["slopes", "capital"]
    with pytest.raises(InputError, match="fact-9"):
        group_rows(QUERIES, {"fact-9": "x"})
    with pytest.raises(InputError, match="author"):
        group_rows(QUERIES, "author")  # type: ignore[arg-type]


def test_welch_is_scipys(tmp_path: Path) -> None:
    import pandas as pd

    values = [1.0, 2, 4, 7, 9, 8]
    table = pd.DataFrame({"query": [q.id for q in QUERIES], "slope": values})
    test = welch_tests(table, QUERIES, "slope").iloc[0]
    known = stats.ttest_ind(values[:3], values[3:], equal_var=False)
    assert (test["a"], test["b"]) == ("reasoning", "factual")
    assert test["t"] == pytest.approx(known.statistic)
    assert test["p"] == pytest.approx(known.pvalue)
    assert test["df"] == pytest.approx(known.df)
    lonely = welch_tests(table.iloc[2:], QUERIES, "slope").iloc[0]
    assert np.isnan(lonely["p"])


def test_bootstrap_has_the_known_spread() -> None:
    values = np.random.default_rng(0).normal(size=200)
    means = bootstrap_means(values, 5000)
    assert means.std() == pytest.approx(values.std() / np.sqrt(200), rel=0.05)
    interval = mean_interval(np.r_[values, np.nan])
    assert interval["n"] == 200
    assert interval["low"] == pytest.approx(values.mean() - 1.96 * values.std() / np.sqrt(200), abs=0.02)
    assert np.isnan(mean_interval([np.nan])["mean"])
