"""`influence distill`: the whole in one command, tune and evaluate as steps, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

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
        for name in ("model", "batch_size", "concurrency", "per_minute", "extra_body", "device", "dtype"):
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
    assert "other arguments of its tuning" in str(other.exception)
    assert f"--replies-of {out}" in str(other.exception)
    monkeypatch.setattr(Pretender, "replies", lambda *arguments: pytest.fail("asked twice"))
    more = (*arguments[:-1], tmp_path / "more", "--epochs", "2", "--replies-of", out, "--price", 1e6, 0)
    done = run(*more)
    assert done.exit_code == 0, done.output
    assert (out / "samples/traces.jsonl").read_bytes() == (
        tmp_path / "more/samples/traces.jsonl"
    ).read_bytes()
    id_ = json.loads((out / "samples/traces.jsonl").read_text().splitlines()[0])["id"]
    shown = run("trace", out / "samples", id_).output
    assert shown.count("== Sample") == 2
    assert "-- rephrase: asked" in shown
    assert "-> answer: " in shown
    assert "has no input 'nobody'" in str(run("trace", out / "samples", "nobody").exception)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--way", "stepwise", "--delta", "2"), r"--delta is at most the optimizer steps.*--tune-batch"),
        (("--longest", "3"), "Every lesson is too long"),
        ((), "no room for what is tuned"),
    ],
)
def test_what_tuning_cannot_do_is_said_before_anything_is_asked(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], says: str
) -> None:
    monkeypatch.setattr(Pretender, "replies", lambda *arguments: pytest.fail("asked"))
    if not options:
        monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=10))
    arguments = ("--system", "rar2", *TASK, base, "--limit", "6", "--test-limit", "4", *options)
    done = run(*arguments, "--no-controls", "--out", tmp_path / "new")
    assert re.search(says, str(done.exception), re.DOTALL)
    assert not (tmp_path / "new").exists()


def test_lessons_that_are_too_long_are_named_and_can_be_left_out(base: Path) -> None:
    from influence.distill.lessons import Lesson
    from influence.distill.settings import TuneSettings
    from influence.distill.tune_check import fitting
    from influence.errors import InputError
    from influence.models.load import load_model

    model = load_model(base)
    lessons = [Lesson("short", "a", "b"), Lesson("long", "a " * 300, "b")]
    with pytest.raises(InputError, match=r"256 positions(.|\n)*long(.|\n)*--longest 256"):
        fitting(lessons, model, TuneSettings())
    assert [lesson.id for lesson in fitting(lessons, model, TuneSettings(longest=256))] == ["short"]


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
