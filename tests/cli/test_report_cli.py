"""`influence report`: what it writes, prints and refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stores import write_scores

from influence.cli.main import cli
from influence.errors import StoreError

DOT = np.arange(12.0).reshape(2, 6)


def test_writes_the_file_and_prints_its_path(tmp_path: Path) -> None:
    write_scores(tmp_path / "run", DOT)
    out = tmp_path / "new folder" / "r.html"
    result = CliRunner().invoke(
        cli,
        ["report", str(tmp_path / "run"), "--out", str(out), "--k", "2", "--by", "dot", "--texts", "none"],
    )
    assert result.exit_code == 0, result.output
    assert result.output == f"{out}\n"
    page = out.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "Text of document" not in page
    assert [path.name for path in out.parent.iterdir()] == ["r.html"]


def test_refuses_an_absent_and_an_unfinished_store(tmp_path: Path) -> None:
    write_scores(tmp_path / "running", DOT, complete=False)
    for run, message in (("nothing", "holds no scores"), ("running", "is unfinished")):
        result = CliRunner().invoke(cli, ["report", str(tmp_path / run), "--out", str(tmp_path / "r.html")])
        assert isinstance(result.exception, StoreError)
        assert message in str(result.exception)
    assert not (tmp_path / "r.html").exists()


def test_exits_with_3_and_a_next_step_and_no_traceback(tmp_path: Path) -> None:
    write_scores(tmp_path / "running", DOT, complete=False)
    command = [sys.executable, "-m", "influence", "report", str(tmp_path / "running"), "--out", "r.html"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 3
    assert "next:" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("option", [["--k", "0"], ["--by", "cosine"], ["--texts", "some"]])
def test_refuses_options_that_do_not_exist(tmp_path: Path, option: list[str]) -> None:
    result = CliRunner().invoke(cli, ["report", str(tmp_path), "--out", str(tmp_path / "r.html"), *option])
    assert result.exit_code == 2


def test_help_states_sign_and_unit() -> None:
    text = " ".join(CliRunner().invoke(cli, ["report", "--help"]).output.split())
    assert "POSITIVE when adding the document is predicted to RAISE log p(completion | prompt)" in text
    assert "dot is in nats" in text
