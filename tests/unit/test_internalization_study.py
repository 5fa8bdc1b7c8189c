"""The tables of the reproduction of stepwise internalisation, on runs whose numbers are known."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from internalization_runs import write_run

from influence.errors import InputError
from influence.provenance import provenance
from influence.train.stepwise.settings import Settings
from reports.internalization.drawings import draw_removal, draw_trade_off
from reports.internalization.metrics import (
    Runs,
    best_over,
    curve_difference,
    end_difference,
    end_speed,
)
from reports.internalization.published import PUBLISHED, effects
from reports.internalization.results import findings_page
from reports.internalization.scales import ABLATIONS, SCALES, Scale, TaskRuns
from reports.internalization.tables import curves_table, effects_table, methods_table
from reports.kit.page import wrapped, write_results
from reports.kit.steps import expected_seconds

TASK = dataclasses.replace(SCALES["gpu"].tasks[0], name="known", title="a known task")

#: Run -> accuracy by removed tokens, such as the paper's.
LIKE_THE_PAPER: dict[str, dict[int, float]] = {
    "no-cot": {24: 0.3},
    "explicit-cot": {0: 1.0},
    "icot-kd": {24: 0.6},
    "stepwise": {0: 1.0, 12: 1.0, 24: 1.0},
    "adaptive": {0: 1.0, 12: 1.0, 24: 1.0},
    "no-smoothing": {0: 1.0, 12: 0.4, 24: 0.0},
    "no-reset": {0: 1.0, 12: 1.0, 24: 0.1},
    "right-side": {0: 1.0, 12: 0.2, 24: 0.2},
    "larger-delta": {0: 1.0, 12: 0.0, 24: 0.0},
    "kept-positions": {0: 1.0, 12: 1.0, 24: 1.0},
}


def seed_of(
    folder: Path, accuracies: dict[str, dict[int, float]], seed: int = 0, **settings: Any
) -> dict[str, Any]:
    runs = {}
    for name, by_removed in accuracies.items():
        mode = name if name in ("no-cot", "explicit-cot", "icot-kd") else "stepwise"
        run = folder / f"seed-{seed}" / name
        own = {"adaptive": name == "adaptive", **settings}
        runs[name] = write_run(run, by_removed, mode=mode, seed=seed, settings=own)
        for stage in runs[name].stages:
            stage.about.examples = 3200
            stage.about.capped = stage.removed == 12
    return runs


@pytest.fixture
def two_seeds(tmp_path: Path) -> list[Runs]:
    return [seed_of(tmp_path, LIKE_THE_PAPER, seed) for seed in range(2)]


def appears(table: pd.DataFrame, what: str, claim: str) -> tuple[str, str]:
    row = table[(table["what"] == what) & (table["claim"] == claim)]
    return str(row["appears"].item()), str(row["why"].item())


def test_differences_are_of_the_same_problems(two_seeds: list[Runs]) -> None:
    runs = two_seeds[0]
    difference = end_difference(runs, "stepwise", "icot-kd")
    assert difference.value == pytest.approx(0.4)
    # right_N of the runs are nested: of a pair the difference is 0 or 1, so its spread is that of a share of 0.4
    assert difference.resampled_R.std() == pytest.approx((0.4 * 0.6 / 200) ** 0.5, rel=0.1)
    assert curve_difference(runs, "stepwise", "no-smoothing").value == pytest.approx((0 + 0.6 + 1) / 3)
    assert best_over(runs, "no-smoothing", "no-cot", at_last=True) == pytest.approx(-0.3)
    assert best_over(runs, "no-smoothing", "no-cot", at_last=False) == pytest.approx(0.7)
    assert end_speed(runs, "explicit-cot").value == pytest.approx(9 / 33, rel=0.05)


def test_effects_of_runs_like_the_paper_s_all_appear(two_seeds: list[Runs]) -> None:
    table = effects_table(TASK, two_seeds)
    assert len(table) == len(effects(TASK)) == 21
    by_verdict = table.groupby("appears")["what"].apply(list).to_dict()
    # both schedules are equally good, and the coupled models are as fast as no CoT in these runs
    assert set(by_verdict) == {"yes", "no"}, by_verdict
    assert by_verdict["no"] == ["accuracy of stepwise, loss-triggered", "speed of ICoT-KD, no CoT = 1"]
    assert (table["seeds"] == 2).all()
    assert (table["low"] <= table["here"] + 1e-9).all()
    assert (table["here"] <= table["high"] + 1e-9).all()


def test_what_cannot_be_said_is_not_measured(tmp_path: Path, two_seeds: list[Runs]) -> None:
    one = effects_table(TASK, two_seeds[:1])
    assert set(one["appears"]) == {"not measured"}
    assert set(one["why"]) == {"one seed"}

    known = {name: LIKE_THE_PAPER[name] for name in LIKE_THE_PAPER if name != "icot-kd"}
    solved = {**known, "no-cot": {24: 0.99}, "right-side": {0: 0.0, 12: 0.0, 24: 0.0}}
    table = effects_table(TASK, [seed_of(tmp_path / "solved", solved, seed) for seed in range(2)])
    assert appears(table, "accuracy of stepwise", "more than no CoT") == ("not measured", "no CoT solves it")
    assert appears(table, "accuracy of stepwise", "more than icot-kd") == ("not measured", "no such run")

    failed = {**known, "no-cot": {24: 0.0}, "stepwise": {0: 1.0, 12: 0.5, 24: 0.0}}
    table = effects_table(TASK, [seed_of(tmp_path / "failed", failed, seed) for seed in range(2)])
    assert appears(table, "accuracy of stepwise", "more than no CoT") == ("no", "")
    assert appears(table, "accuracy with no-smoothing, all removed", "less than stepwise") == (
        "not measured", "stepwise does not solve it"
    )  # fmt: skip
    what = "accuracy with no-smoothing, mean over removal"
    assert appears(table, what, "less than stepwise") == ("yes", "")
    never = {**failed, "stepwise": {0: 0.0, 12: 0.0, 24: 0.0}}
    table = effects_table(TASK, [seed_of(tmp_path / "never", never, seed) for seed in range(2)])
    assert appears(table, what, "less than stepwise")[1] == "stepwise does not solve it at any stage"


def test_methods_and_curves(two_seeds: list[Runs]) -> None:
    methods = methods_table(TASK, two_seeds).set_index("method")
    assert methods.loc["stepwise", ["accuracy", "published", "published_speed"]].tolist() == [1.0, 1.0, 1.02]
    assert methods.loc["icot-kd", ["least", "most"]].tolist() == pytest.approx([0.6, 0.6])
    assert methods.loc["adaptive", "capped"] == 0.5  # of the stages at 0 and 12 removed tokens the second
    assert np.isnan(methods.loc["stepwise", "capped"])
    assert methods.loc["stepwise", "examples"] == 400
    curves = curves_table(TASK, two_seeds)
    own = curves[curves["run"] == "no-smoothing"]
    assert own["removed"].tolist() == [0, 12, 24]
    assert own["accuracy"].tolist() == pytest.approx([1.0, 0.4, 0.0])


def test_pages_and_figures(tmp_path: Path, two_seeds: list[Runs]) -> None:
    scale = Scale(tasks=(TASK,), examples=200, timed=40, seeds=2)
    tables = {
        "methods": methods_table(TASK, two_seeds),
        "curves": curves_table(TASK, two_seeds),
        "effects": effects_table(TASK, two_seeds),
    }
    made_by = provenance(3600, seeds=2, hours=1.0)
    write_results(tmp_path, scale.config(), made_by, tables, findings_page(scale, made_by, tables))
    page = (tmp_path / "findings.md").read_text()
    assert page == wrapped(findings_page(scale, made_by, tables))
    assert "nan" not in re.findall(r"[\w.]+", page)
    assert "| stepwise | 24 of 24 | 1 | 1 [1, 1] | 1 to 1 | 1.02 | " in page
    missing = page.partition("## Published, and not measured here")[2]
    assert "| 4×4 |" not in missing  # it is a row of its task
    assert all(f"| {problem} |" in missing for problem in PUBLISHED if problem != "4×4")
    draw_removal(tables["curves"], tmp_path / "a.svg", ["stepwise", "adaptive", *ABLATIONS], "stepwise")
    draw_trade_off(tables["curves"], tmp_path / "b.svg")
    first = (tmp_path / "a.svg").read_text()
    assert all(name in first for name in ABLATIONS)
    draw_removal(tables["curves"], tmp_path / "a.svg", ["stepwise", "adaptive", *ABLATIONS], "stepwise")
    assert (tmp_path / "a.svg").read_text() == first


def test_ablations_change_one_thing() -> None:
    for ablated in ("stepwise", "adaptive"):
        task = dataclasses.replace(TASK, ablated=ablated)
        runs = task.runs(seed=1)
        changed = {}
        for name in task.ablations:
            base, own = runs[task.changed_by(name)], runs[name]
            assert isinstance(base, Settings)
            assert isinstance(own, Settings)
            changed[name] = {
                field.name
                for field in dataclasses.fields(Settings)
                if getattr(base, field.name) != getattr(own, field.name)
            }
        assert changed == {
            "no-smoothing": {"smoothing"},
            "no-reset": {"reset_optimizer"},
            "right-side": {"side"},
            "larger-delta": {"delta"},
            "kept-positions": {"keep_positions"},
        }
        adaptive = runs["adaptive"]
        assert isinstance(adaptive, Settings)
        assert adaptive.adaptive


def test_where_the_right_goes_and_positions_stay_the_ablations_are_their_mirror_images(
    tmp_path: Path,
) -> None:
    settings = dataclasses.replace(TASK.stepwise, side="right", keep_positions=True)
    task = dataclasses.replace(TASK, stepwise=settings, ablations=("left-side", "moved-positions"))
    runs = task.runs(seed=1)
    assert runs["left-side"] == dataclasses.replace(settings, seed=1, side="left")
    assert runs["moved-positions"] == dataclasses.replace(settings, seed=1, keep_positions=False)
    known = {"no-cot": {24: 0.0}, "stepwise": {24: 1.0}, "left-side": {24: 0.0}, "moved-positions": {24: 0.1}}
    table = effects_table(task, [seed_of(tmp_path, known, seed) for seed in range(2)])
    left, moved = "accuracy with left-side, all removed", "accuracy with moved positions, all removed"
    assert appears(table, left, "more than stepwise") == ("no", "")
    assert appears(table, moved, "kept at most 0.05 below moved") == ("yes", "")


@pytest.mark.parametrize("wrong", [{"ablated": "no-cot"}, {"ablations": ("no-such",)}])
def test_unknown_ablations_are_refused(wrong: dict[str, Any]) -> None:
    task: TaskRuns = dataclasses.replace(TASK, **wrong)
    with pytest.raises(InputError, match="no such ablation"):
        task.runs(seed=0)


def test_time_left_scales_with_the_work() -> None:
    work = {"short": 1.0, "long": 10.0, "longest": 100.0}
    assert expected_seconds(["long"], {}, work) is None
    assert expected_seconds(["short", "longest"], {"short": 2.0, "long": 9.0}, work) == pytest.approx(102)
