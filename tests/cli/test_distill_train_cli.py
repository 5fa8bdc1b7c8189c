"""`influence distill`: the whole in one command, tune and evaluate as steps, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from pretended import Pretender
from tiny import tiny_model

from influence.cli import distill, distill_train
from influence.cli.main import cli
from influence.train import answering


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    model = tiny_model(dtype=torch.float32, max_position_embeddings=256)
    model.tokenizer.eos_token = model.tokenizer.bos_token
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that is sampled pretends; what is tuned is real."""

    def taken(settings: dict[str, object]) -> Pretender:
        for name in ("model", "batch_size", "concurrency", "per_minute", "device", "dtype"):
            settings.pop(name)
        return Pretender()

    monkeypatch.setattr(distill_train, "taken_generator", taken)
    monkeypatch.setattr(distill, "taken_generator", taken)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["distill", *map(str, arguments)], catch_exceptions=True)


TASK = ("--task", "last-letter", "--model")
SMALL = ("--epochs", "1", "--answer-tokens", "4")


def test_the_whole_in_one_command(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "ll"
    arguments = (
        *("--system", "rar2", *TASK, base, "--samples", "2", "--limit", "6", "--test-limit", "4"),
        *(*SMALL, "--no-controls", "--out", out),
    )
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert "System 2               1.000" in done.output
    assert "Failed." in done.output
    assert (out / "report.html").exists()
    again = run(*arguments)
    assert again.exit_code == 0, again.output
    other = run(*arguments, "--epochs", "2")
    assert "other arguments" in str(other.exception)


def test_the_same_in_steps(base: Path, tmp_path: Path) -> None:
    for split, folder in (("train", "samples"), ("test", "test")):
        arguments = ("--system", "rar2", *TASK, base, "--samples", "2", "--limit", "4", "--split", split)
        assert run("sample", *arguments, "--out", tmp_path / folder).exit_code == 0
    assert run("filter", tmp_path / "samples", "--out", tmp_path / "pairs").exit_code == 0
    tuned = ("tune", tmp_path / "pairs", "--samples", tmp_path / "samples", "--model", base, *SMALL)
    done = run(*tuned, "--out", tmp_path / "model")
    assert done.exit_code == 0, done.output
    assert "4 pairs, answer-only" in done.output
    evaluate = ("evaluate", *TASK, base, "--tuned", tmp_path / "model", "--system-2", tmp_path / "test")
    more = (
        "--control",
        f"again={tmp_path / 'model'}",
        "--answer-tokens",
        "4",
        "--out",
        tmp_path / "evaluation",
    )
    done = run(*evaluate, "--limit", "4", *more)
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "evaluation" / "results.json").read_text())
    models = {row["model"]: row["accuracy"] for row in results["tables"]["models"]}
    assert (models["System 1"], models["System 2"]) == (0, 1)
    assert models["again"] == models["distilled"]
    wrong = run(*evaluate, "--limit", "3", "--out", tmp_path / "other")
    assert "other inputs" in str(wrong.exception)


def test_what_has_no_effect_or_cannot_be_done_is_refused(base: Path, tmp_path: Path) -> None:
    whole = ("--system", "rar2", "--task", "last-letter", "--out", tmp_path / "x")
    done = run(*whole, "--model", base, "--delta", "2")
    assert done.exit_code == 2
    assert "only with --way stepwise" in done.output
    done = run(*whole, "--model", base, "--way", "stepwise", "--adaptive", "--delta", "2")
    assert "--delta has no effect" in done.output
    done = run(*whole, "--model", "openai:http://localhost:1/v1#m")
    assert done.exit_code == 2
    assert "--weights" in done.output
    assert not (tmp_path / "x").exists()


def test_a_stage_is_asked_as_a_stage(base: Path) -> None:
    assert type(answering.load_generator(base)).__name__ == "LocalGenerator"
