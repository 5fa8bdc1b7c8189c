"""`influence train stepwise`, `no-cot` and `explicit-cot` from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from chain_tasks import sums_task
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from influence.cli.train import train
from influence.errors import InputError

QUICK = ["--model", "tiny", "--batch-size", "8", "--lr", "1e-2", "--check-examples", "8"]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return sums_task(tmp_path / "sums").folder


def test_stepwise_leaves_stages_and_shows_its_progress(task: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "sums"
    arguments = ["stepwise", "--task", str(task), "--out", str(out), *QUICK, "--delta", "2"]
    dry = CliRunner().invoke(train, [*arguments, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert re.search(r"5 checkpoints of [\d.]+ MB: [\d.]+ GB of disk · at most 18 steps", dry.stdout)
    assert not out.exists()
    result = CliRunner().invoke(train, [*arguments, "--smoothing", "off", "--no-reset-optimizer"])
    assert result.exit_code == 0, result.output
    assert "48 examples" in result.stderr
    assert "longest sequence 14 tokens, longest chain 4 tokens · 5 stages, 6 steps an epoch" in result.stderr
    assert "stage 5/5 · 4 of 4 removed · step 18/18 · loss " in result.stderr
    assert result.stdout.startswith("5 stages, 18 steps, ")
    about = json.loads((out / "stage-002" / "stage.json").read_text())
    assert about["settings"]["smoothing"] is None
    assert about["settings"]["reset_optimizer"] is False
    AutoModelForCausalLM.from_pretrained(out / "stage-004")
    AutoTokenizer.from_pretrained(out / "stage-004")


@pytest.mark.parametrize(("command", "stage"), [("no-cot", "stage-004"), ("explicit-cot", "stage-000")])
def test_baselines(command: str, stage: str, task: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = CliRunner().invoke(
        train, [command, "--task", str(task), "--out", str(out), *QUICK, "--epochs", "0.5"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads((out / stage / "stage.json").read_text())["mode"] == command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--delta", "100"], "at most the optimizer steps of an epoch"),
        (["--max-tokens", "2"], "No example is left"),
        (["--by-step", "--keep-positions"], "only when tokens are removed"),
    ],
)
def test_what_cannot_work_is_said_before_training(
    options: list[str], message: str, task: Path, tmp_path: Path
) -> None:
    arguments = ["stepwise", "--task", str(task), "--out", str(tmp_path / "run"), *QUICK, *options]
    result = CliRunner().invoke(train, arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_smoothing_is_a_number_or_off(task: Path, tmp_path: Path) -> None:
    arguments = ["stepwise", "--task", str(task), "--out", str(tmp_path / "run"), *QUICK]
    result = CliRunner().invoke(train, [*arguments, "--smoothing", "none"])
    assert result.exit_code == 2
    assert "a number, or off" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cap", "0.5"], "--cap has an effect only with --adaptive"),
        (["--recovered", "0.95"], "--recovered has an effect only with --adaptive"),
        (["--patience", "1"], "--patience has an effect only with --adaptive"),
        (["--adaptive", "--delta", "2"], "--delta has no effect"),
        (["--random-cut", "--smoothing", "4"], "Leave --smoothing out"),
    ],
)
def test_an_option_without_effect_is_refused(
    options: list[str], message: str, task: Path, tmp_path: Path
) -> None:
    arguments = ["stepwise", "--task", str(task), "--out", str(tmp_path / "run"), *QUICK, *options]
    result = CliRunner().invoke(train, arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "run").exists()


def test_a_line_of_another_format_is_named(task: Path, tmp_path: Path) -> None:
    with (task / "train.txt").open("a") as file:
        file.write("1 2 3 = 6\n")
    arguments = ["no-cot", "--task", str(task), "--out", str(tmp_path / "run"), *QUICK]
    result = CliRunner().invoke(train, arguments)
    assert isinstance(result.exception, InputError)
    assert "train.txt:49 is not an example" in str(result.exception)
