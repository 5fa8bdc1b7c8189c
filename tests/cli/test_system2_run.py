"""`python -m reports.system2`: the smoke scale, killed once, that does nothing twice."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pandas as pd
from click.testing import CliRunner
from program import Server

from influence.store.formats.distillation import MODELS
from reports.system2.__main__ import command


def test_a_whole_run_killed_once(tmp_path: Path, program: Server) -> None:
    out = tmp_path / "out"
    given = ("--scale", "smoke", "--out", out)
    run = out / "seed-0" / "coin-flip"
    killed = program.run(
        *given, module="reports.system2", signal_at=(signal.SIGKILL, run / "controls" / "no-filter" / "model")
    )
    assert killed.exit_code == -signal.SIGKILL, killed.stderr
    kept = [run / "model" / "model.safetensors", run / "samples" / "traces.jsonl"]
    before = [path.stat().st_mtime_ns for path in kept]
    assert not (out / "findings.md").exists()

    finished = program.run(*given, module="reports.system2")
    assert finished.exit_code == 0, finished.stderr
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert "seed 1 of 1, step 1 of 6: base model of words (done)" in finished.stderr
    results = json.loads((out / "results.json").read_text())
    assert results["seeds"] == 1
    assert results["parameters"] < 10_000_000
    models = pd.read_csv(out / "models.csv")
    assert list(models["model"]) == list(MODELS)
    assert models["accuracy"].between(models["accuracy_low"], models["accuracy_high"]).all()
    tokens = models.set_index("model")["tokens"]
    assert tokens["System 2"] > tokens["System 2, one sample"] > tokens["distilled"]
    assert set(pd.read_csv(out / "effects.csv")["appears"]) <= {"yes", "partly", "no", "not measured"}
    assert "Coin flip, System 2 is better than System 1" in finished.stdout
    assert "distilled, stepwise" in (run / "report.html").read_text()
    assert (run / "ways" / "stepwise" / "stage.json").exists()

    again = program.run(*given, module="reports.system2")
    assert again.exit_code == 0
    assert again.stdout == finished.stdout

    other = CliRunner().invoke(command, ["--scale", "laptop", "--out", str(out)])
    assert "made with other arguments" in str(other.exception)
    unknown = CliRunner().invoke(command, ["--scale", "laptob", "--out", str(tmp_path / "x")])
    assert "Did you mean 'laptop'?" in str(unknown.exception)
    assert not (tmp_path / "x").exists()
