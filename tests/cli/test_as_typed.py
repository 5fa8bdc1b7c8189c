"""`influence fit-hessian`, `influence score --queries slopes`, `influence report`: with nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from inputs import Inputs

import influence.ready
from influence.cli.main import cli
from influence.store.scores import open_scores


@pytest.fixture
def empty(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and a package whose ready model and corpus are small."""
    package = tmp_path / "package"
    shutil.copytree(inputs.model, package / "models" / "miniworld" / "base")
    (package / "corpora" / "miniworld").mkdir(parents=True)
    lines = inputs.corpus.read_text().splitlines(keepends=True)[:30]
    (package / "corpora" / "miniworld" / "documents.jsonl").write_text("".join(lines))
    (package / "queries").mkdir()
    shutil.copy(inputs.queries, package / "queries" / "slopes.jsonl")
    monkeypatch.setattr(influence.ready, "_folder", lambda kind: package / kind)
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def _typed(command: str) -> Result:
    result = CliRunner().invoke(cli, command.split()[1:], prog_name="influence", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_fit_score_and_report_run_with_nothing_else(empty: Path) -> None:
    fitted = _typed("influence fit-hessian").stdout.splitlines()
    assert fitted[0] == (
        "Assumed: influence fit-hessian --model miniworld --corpus miniworld --out runs/miniworld/hessian"
    )
    scored = _typed("influence score --queries slopes.jsonl").stdout.splitlines()
    assert scored[0] == (
        "Assumed: influence score --queries slopes.jsonl --model miniworld --corpus miniworld "
        "--hessian runs/miniworld/hessian --out runs/miniworld/scores-slopes"
    )
    assert scored[1] == "The Hessian in runs/miniworld/hessian is finished."
    assert len(open_scores("runs/miniworld/scores-slopes").documents) == 30
    assert _typed("influence report").stdout == "runs/miniworld/scores-slopes/report.html\n"
    assert Path("runs/miniworld/scores-slopes/report.html").is_file()


def test_score_fits_the_hessian_that_is_missing(empty: Path) -> None:
    scored = _typed("influence score --queries slopes --damping 1").stdout.splitlines()
    assert "--out runs/miniworld/scores-slopes-damping-1.0" in scored[0]
    assert "--damping 1.0" in scored[0]
    assert "fitted first" in scored[1]
    assert json.loads(Path("runs/miniworld/hessian/manifest.json").read_text())["status"] == "complete"
    again = _typed("influence score --queries slopes --damping 1").stdout
    assert "Already there: runs/miniworld/scores-slopes-damping-1.0" in again


def test_runs_are_listed_and_shown(empty: Path) -> None:
    _typed("influence score --queries slopes")
    records = json.loads(_typed("influence runs --json").stdout)
    assert [record["kind"] for record in records] == ["hessian", "scores"]
    assert records[1]["model"] == records[1]["corpus"] == "miniworld"
    assert records[1]["queries"] == 3
    assert records[1]["state"] == "finished"
    assert records[1]["bytes"] > 1000
    listed = _typed("influence runs").stdout
    assert "runs/miniworld/scores-slopes" in listed
    shown = _typed("influence show runs/miniworld/scores-slopes").stdout
    assert "damping" in shown
    below = _typed("influence show runs/miniworld/scores-slopes/manifest.json --json").stdout
    assert json.loads(below)["kind"] == "scores"
    assert (
        _typed("influence top runs/miniworld q1 --k 3").stdout
        == _typed("influence top runs/miniworld/scores-slopes q1 --k 3").stdout
    )


def test_what_programs_read(empty: Path) -> None:
    """The answers as JSON, without a line of anything else."""
    planned = _typed("influence score --queries slopes --dry-run --json").stdout
    assert json.loads(planned)["documents"] == 30
    assert not Path("runs").exists(), "a dry run fits nothing"
    _typed("influence score --queries slopes")
    top = json.loads(_typed("influence top runs/miniworld q1 --k 3 --json").stdout)
    scores = open_scores("runs/miniworld/scores-slopes")
    assert [row["document"] for row in top] == scores.top("q1", 3)["document"].tolist()
    assert [row["normed"] for row in top] == pytest.approx(scores.top("q1", 3)["normed"].tolist())
    (checked,) = json.loads(_typed("influence verify runs/miniworld/hessian --json").stdout)
    assert checked["kind"] == "hessian"
    assert checked["files"] > 3
    page = json.loads(_typed("influence doctor --model miniworld --device cpu --json").stdout)
    assert {"change", "difference", "cosine", "harmless"} <= page["findings"][0].keys()


def test_all_in_one_command_and_again(empty: Path) -> None:
    command = "influence run --model miniworld --corpus miniworld --queries slopes --out runs/all"
    first = _typed(command).stdout
    assert "$ influence fit-hessian --model miniworld" in first
    assert "Left out: No query has an answer" in first
    assert first.endswith("Report: runs/all/report.html\n")
    assert (empty / "runs" / "all" / "scores" / "analysis" / "correlation").is_dir()
    assert _typed(command).stdout == "Already there: runs/all/report.html\n"
    assert (
        _typed("influence run --config runs/all/run.toml").stdout == "Already there: runs/all/report.html\n"
    )
