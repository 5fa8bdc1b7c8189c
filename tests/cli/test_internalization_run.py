"""`python -m reports.internalization`: a whole run, killed once, that does nothing twice."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from program import Server

from influence.errors import StoreError
from influence.store.verify import verify
from reports.internalization.__main__ import command
from reports.internalization.scales import ABLATIONS, METHODS, SCALES
from reports.internalization.study import STUDY

SMOKE = SCALES["smoke"]
RUNS = {*METHODS, *ABLATIONS}


def made(folder: Path) -> dict[str, int]:
    """Every file and when it was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


def test_a_whole_run_killed_once(tmp_path: Path, program: Server) -> None:
    out = tmp_path / "out"
    given = ("--scale", "smoke", "--out", out, "--seeds", 1)

    seed = out / "2x2" / "seed-0"
    killed = program.run(
        *given, module="reports.internalization", signal_at=(signal.SIGKILL, seed / "adaptive" / "stage-004")
    )
    assert killed.exit_code == -signal.SIGKILL, killed.stderr
    whole = {name: made(seed / name) for name in ("explicit-cot", "stepwise")}
    assert not (seed / "adaptive" / "evaluation").exists()
    assert not (out / "findings.md").exists()

    finished = program.run(*given, module="reports.internalization")
    assert finished.exit_code == 0, finished.stderr
    for name, before in whole.items():
        assert made(seed / name) == before, "what was whole before the kill is left as it was"
    assert "seed 1 of 1, step 5 of 20: train stepwise (done)" in finished.stderr
    assert re.search(r"seed 1 of 1, step 7 of 20: train adaptive \(about \d+ (s|min) left\)", finished.stderr)
    check_results(out, finished.stdout)

    before = made(out / "2x2")
    again = program.run(*given, module="reports.internalization")
    assert again.exit_code == 0
    unchanged = {name: when for name, when in made(out / "2x2").items() if not name.endswith(".html")}
    assert unchanged == {name: when for name, when in before.items() if not name.endswith(".html")}
    assert again.stdout == finished.stdout

    other = CliRunner().invoke(command, ["--scale", "laptop", "--out", str(out)])
    assert "made with other arguments" in str(other.exception)
    slower = dataclasses.replace(
        SMOKE.tasks[0], stepwise=dataclasses.replace(SMOKE.tasks[0].stepwise, lr=1e-4)
    )
    with pytest.raises(StoreError, match=r"seed-0/no-cot was made with other settings") as refused:
        STUDY.run(out, dataclasses.replace(SMOKE, tasks=(slower,)), seeds=1)
    assert "settings.lr: 0.001 there, 0.0001 now" in str(refused.value)


def check_results(out: Path, printed: str) -> None:
    """Structure of what is left: tables, pages, figures, and stages that are whole."""
    results = json.loads((out / "results.json").read_text())
    assert results["seeds"] == 1
    assert set(results["tables"]) == {"methods", "curves", "effects"}
    for name, records in results["tables"].items():
        assert len(pd.read_csv(out / f"{name}.csv")) == len(records) > 0, name
    methods = pd.read_csv(out / "methods.csv").set_index("method")
    assert list(methods.index) == list(METHODS)
    assert (methods["seeds"] == 1).all()
    assert methods["accuracy"].between(methods["accuracy_low"], methods["accuracy_high"]).all()
    assert methods["speed"].notna().all()
    assert methods.loc["explicit-cot", "generated"] > methods.loc["stepwise", "generated"]
    curves = pd.read_csv(out / "curves.csv")
    assert set(curves["run"]) == RUNS
    assert list(curves.loc[curves["run"] == "right-side", "removed"]) == [0, 4, 8]
    effects = pd.read_csv(out / "effects.csv")
    assert set(effects["appears"]) <= {"yes", "partly", "no", "not measured"}
    assert effects.loc[effects["appears"] == "not measured", "why"].notna().all()
    page = (out / "findings.md").read_text()
    assert "nan" not in re.findall(r"[\w.]+", page)
    for name in ("2x2-ablations.svg", "2x2-trade-off.svg"):
        assert (out / name).read_text().startswith("<?xml")
        assert name in page
    folder = out / "2x2" / "seed-0"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == RUNS
    stages = {path for path in folder.glob("*/stage-*") if path.is_dir()}
    assert {path.parent for path in folder.glob("*/stage-*/*.safetensors")} == stages
    verify(folder / "stepwise")  # a stage whose weights were removed is refused by everything that reads it
    assert "stepwise" in (folder / "stepwise.html").read_text()
    assert "more than no CoT: " in printed
    assert str(out / "findings.md") in printed.replace("\n", "")


@pytest.mark.parametrize("scale", ["laptop", "gpu"])
def test_settings_of_the_larger_scales_are_possible(scale: str) -> None:
    for task in SCALES[scale].tasks:
        left_out = set() if task.kd else {"icot-kd"}
        assert set(task.runs(seed=3)) == {*METHODS, *task.ablations} - left_out
        assert {settings.seed for settings in task.runs(seed=3).values()} == {3}


def test_errors_name_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for folder, scale, words in (
        (tmp_path, "smoke", "already holds other files"),
        (tmp_path / "x", "laptob", "Did you mean 'laptop'?"),
    ):
        given = ["--scale", scale, "--out", str(folder)]
        assert words in str(CliRunner().invoke(command, given).exception)
    assert not (tmp_path / "x").exists()
