"""Tables and page of evaluated runs whose numbers are known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from internalization_runs import DIGITS, write_metrics, write_run

from influence.analysis.grouping import wilson
from influence.analysis.internalization import pooled_rows, position_rows, read_evaluation, stage_rows
from influence.errors import StoreError
from influence.report.internalization import internalization_page, verdict, write_results
from influence.report.internalization_figures import marked, spread

HOSTILE = "<script>window.PWN=1</script><img src=x onerror=window.PWN=1></title></style>'\"{{7*7}}"
ACCURACIES = {0: 1.0, 8: 0.9, 16: 0.5, 24: 0.1}


def test_a_row_a_stage(tmp_path: Path) -> None:
    rows = stage_rows([write_run(tmp_path / "run", ACCURACIES)])
    assert rows["removed"].tolist() == [0, 8, 16, 24]
    assert rows["accuracy"].tolist() == [1.0, 0.9, 0.5, 0.1]
    assert rows["right"].tolist() == [200, 180, 100, 20]
    assert (rows["accuracy_low"].iloc[2], rows["accuracy_high"].iloc[2]) == pytest.approx(
        (0.4313, 0.5687), abs=1e-4
    )
    assert rows["generated_tokens"].tolist() == [33, 25, 17, 9]
    # of the wrong half, every second answer has one wrong token and the others six
    assert rows["token_accuracy"].iloc[2] == pytest.approx(0.5 + 0.25 * 5 / 6)
    for name in ("token_accuracy", "relative_speed", "examples_per_second"):
        assert (rows[f"{name}_low"] <= rows[name]).all()
        assert (rows[name] <= rows[f"{name}_high"]).all()
    assert rows["relative_speed"].tolist() == pytest.approx([9 / 33, 9 / 25, 9 / 17, 1.0], rel=0.03)
    assert rows["examples_per_second"].tolist() == pytest.approx(
        [1000 / n for n in (33, 25, 17, 9)], rel=0.03
    )


def test_wilson_interval() -> None:
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(13, 20) == pytest.approx((0.4329, 0.8188), abs=1e-4)


def test_relative_speed_is_of_pairs(tmp_path: Path) -> None:
    """Examples that are slow for both models say nothing about their ratio."""
    evaluation = write_run(tmp_path / "run", {24: 0.5})
    (stage,) = evaluation.stages
    slow = np.where(np.arange(len(stage.seconds_M)) % 2, 50.0, 1.0)
    object.__setattr__(stage, "seconds_M", slow)
    object.__setattr__(stage, "baseline_M", slow / 2)
    row = stage_rows([evaluation]).iloc[0]
    assert row["relative_speed_low"] == pytest.approx(0.5)
    assert row["relative_speed_high"] == pytest.approx(0.5)
    assert row["examples_per_second_high"] > 1.3 * row["examples_per_second_low"]


def test_a_row_a_position(tmp_path: Path) -> None:
    rows = position_rows([write_run(tmp_path / "run", ACCURACIES)]).query("removed == 16")
    assert rows["position"].tolist() == list(range(1, DIGITS + 1))
    assert rows["accuracy"].tolist() == [0.75, 0.75, 0.5, 0.75, 0.75, 0.75]
    assert (rows["n"] == 200).all()


def test_runs_are_pooled_by_method_and_removal(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", ACCURACIES),
        write_run(tmp_path / "b", {0: 1.0, 8: 0.5, 24: 0.3}, seed=1),
        write_run(tmp_path / "c", {24: 0.0}, mode="no-cot"),
    ]
    pooled = pooled_rows(stage_rows(runs)).set_index(["method", "removed"])
    assert pooled.loc[("stepwise", 8), ["runs", "accuracy", "accuracy_least", "accuracy_most"]].tolist() == [
        2,
        0.7,
        0.5,
        0.9,
    ]
    assert pooled.loc[("stepwise", 8), "accuracy_sd"] == pytest.approx(np.std([0.5, 0.9], ddof=1))
    assert pooled.loc[("stepwise", 8), "seeds"] == "0, 1"
    assert pooled.loc[("stepwise", 16), "runs"] == 1
    assert np.isnan(pooled.loc[("stepwise", 16), "accuracy_sd"])
    assert pooled.loc[("no-cot", 24), "accuracy"] == 0.0


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        (
            {0: 1.0, 8: 0.95, 16: 0.5},
            "With 8 tokens removed, exact match is 0.950 (95 % 0.910 to 0.973) against 1.000 at the first stage: the "
            "most of the chain that can go with 90 % of it kept. At the last stage, with 16 removed, it is 0.500.",
        ),
        (
            {0: 1.0, 8: 0.5, 16: 1.0},
            "With 16 tokens removed, exact match is 1.000 (95 % 0.981 to 1.000) against 1.000 at the first stage: the "
            "most of the chain that can go with 90 % of it kept. It does not fall steadily: it is lower with 8 "
            "removed.",
        ),
        ({0: 0.0, 8: 0.5}, "The first stage answers no example right; the last one has exact match 0.500."),
        ({8: 0.5}, "The one stage, with 8 tokens removed, has exact match 0.500."),
    ],
)
def test_the_verdict_follows_the_numbers(tmp_path: Path, accuracies: dict[int, float], said: str) -> None:
    run = write_run(tmp_path / "run", accuracies)
    assert verdict(stage_rows([run]), "tokens") == said
    assert said in internalization_page(run, tmp_path / "page.html").read_text(encoding="utf-8")


def test_nothing_evaluated_and_a_damaged_stage(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No stage of"):
        read_evaluation(tmp_path)
    run = write_run(tmp_path / "run", ACCURACIES).run
    (run / "evaluation" / "stage-008.json").write_text("{}")
    with pytest.raises(StoreError, match=r"stage-008\.json is not the file that was written"):
        read_evaluation(run)


def test_results_of_a_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", ACCURACIES)
    write_metrics(run.run, list(ACCURACIES))
    other = write_run(tmp_path / "b", ACCURACIES, seed=1)
    no_cot = write_run(tmp_path / "no-cot", {24: 0.01}, mode="no-cot")
    page = write_results(run, [other, no_cot])
    text = page.read_text(encoding="utf-8")
    stored = json.loads((run.run / "evaluation.json").read_text())
    assert [row["accuracy"] for row in stored["stages"]] == [1.0, 0.9, 0.5, 0.1]
    assert pd.read_csv(run.run / "evaluation.csv")["right"].tolist() == [200, 180, 100, 20]
    assert len(pd.read_csv(run.run / "evaluation-positions.csv")) == 4 * DIGITS
    assert pd.read_csv(run.run / "evaluation-pooled.csv")["runs"].tolist() == [2] * 4
    drawn = {path.name for path in (run.run / "figures").iterdir()}
    assert {"trade-off.svg", "trade-off.pdf", "evaluated-accuracy.pdf", "training-loss.svg"} <= drawn
    for said in (
        "0.900",
        "180/200",
        "0.851 to 0.934",
        "Exact match, no-cot",
        "Teacher-forced accuracy",
        "Several runs",
    ):
        assert said in text, said
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert "<script" not in text
    again = internalization_page(run, tmp_path / "again.html", others=[other, no_cot])
    assert again.read_text(encoding="utf-8") == text


def test_a_page_of_little(tmp_path: Path) -> None:
    """One stage, no speed, no metrics, nothing to compare with."""
    run = write_run(tmp_path / "run", {24: 0.0}, timed=0, baseline=False)
    text = write_results(run).read_text(encoding="utf-8")
    assert "No speed was measured." in text
    assert "there is no curve of its training" in text
    assert "Several runs" not in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {0: 0.5}, text=HOSTILE, settings={HOSTILE: HOSTILE})
    text = internalization_page(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert "{{7*7}}" in text


def test_words_that_are_wrong() -> None:
    assert marked("7 8 1 0", "7 9 1") == [(False, "7"), (True, "8"), (False, "1"), (True, "0")]
    assert marked("", "7") == []


def test_spread_keeps_the_ends() -> None:
    assert spread(range(100), 4) == [0, 33, 66, 99]
    assert spread([1, 2], 4) == [1, 2]
