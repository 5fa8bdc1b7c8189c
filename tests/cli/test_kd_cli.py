"""`influence train icot-kd` as a user types it, killed in each of its parts, and its evaluation."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import Server

SETTINGS = ("--model", "tiny", "--lr", "1e-3", "--batch-size", "16", "--epochs", "2", "--seed", "3")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def task(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("task") / "mult2"
    sizes = ("--train", "64", "--valid", "16", "--test", "16")
    made = server.run("data", "multiplication", "--digits", "2", *sizes, "--out", folder)
    assert made.exit_code == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def whole(server: Server, task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a kill."""
    out = tmp_path_factory.mktemp("whole") / "kd"
    result = server.run("train", "icot-kd", "--task", task, *SETTINGS, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "student: " in result.stdout
    assert "variance of the states unexplained" in result.stdout
    for part in (
        "Training the teacher, with explicit chains of thought.",
        "stage 1/1",
        "mind-reading · epoch 2/2",
        "thought emulation",
        "couple and optimize",
    ):
        assert part in result.stderr
    return out


def _contents(run: Path) -> dict[str, bytes]:
    """Weights and metrics of the three trainings; what a TensorBoard log and a manifest say depends on the time."""
    parts = [path for name in ("student", "emulator", "coupled") for path in (run / name).rglob("*")]
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in parts
        if path.is_file() and "tensorboard" not in path.parts
    }


def test_a_run_leaves_four_parts_with_metrics_and_nothing_to_resume(whole: Path) -> None:
    for name in ("student", "emulator", "coupled"):
        lines = [json.loads(line) for line in (whole / name / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        assert not (whole / name / "resume").exists()
        assert not (whole / name / "best.safetensors").exists()
    assert json.loads((whole / "teacher/stage-000/stage.json").read_text())["mode"] == "explicit-cot"
    stage = json.loads((whole / "coupled/stage.json").read_text())
    assert (stage["mode"], stage["removed"]) == ("icot-kd", 8)
    assert not list(whole.glob("*.part"))


@pytest.mark.parametrize(
    ("file", "times"),
    [
        ("teacher/stage-000", 1),
        ("student.part/best.safetensors", 2),
        ("emulator.part/best.safetensors", 2),
        ("coupled.part/stage.json", 1),
    ],
)
def test_a_killed_run_ends_with_the_same_weights(
    server: Server, task: Path, whole: Path, tmp_path: Path, file: str, times: int
) -> None:
    command = ("train", "icot-kd", "--task", task, *SETTINGS, "--out", tmp_path / "kd")
    often = ("--resume-seconds", "0")  # a state after each step
    killed = server.run(*command, *often, signal_at=(signal.SIGKILL, tmp_path / "kd" / file), times=times)
    assert killed.exit_code == -signal.SIGKILL, killed.stderr
    resumed = server.run(*command, *often)
    assert resumed.exit_code == 0, resumed.stderr
    assert _contents(tmp_path / "kd") == _contents(whole)


def test_another_run_does_not_go_on_in_the_folder(server: Server, task: Path, whole: Path) -> None:
    result = server.run("train", "icot-kd", "--task", task, *SETTINGS, "--delta", "2", "--out", whole)
    assert result.exit_code == 3
    assert "delta: None there, 2 now" in result.stderr


def test_a_teacher_that_is_there_is_used(server: Server, task: Path, whole: Path, tmp_path: Path) -> None:
    command = ("train", "icot-kd", "--task", task, *SETTINGS, "--mixture", "--out", tmp_path / "kd")
    result = server.run(*command, "--teacher", whole / "teacher", "--dtype", "bf16")
    assert result.exit_code == 0, result.stderr
    assert not (tmp_path / "kd/teacher").exists()
    line = json.loads((tmp_path / "kd/emulator/metrics.jsonl").read_text().splitlines()[0])
    assert 0 <= line["chain_token_accuracy"] <= 1
    no_teacher = server.run(*command[:-1], tmp_path / "other", "--teacher", whole / "coupled")
    assert no_teacher.exit_code == 2
    assert "no teacher" in no_teacher.stderr
    arguments = ("--task", task, "--out", tmp_path / "other", "--teacher", whole / "teacher")
    of_another = server.run("train", "icot-kd", "--model", "laptop", *arguments)
    assert of_another.exit_code == 2
    assert "teacher of another model" in of_another.stderr
    assert "model: tiny there, laptop here" in of_another.stderr
    assert not (tmp_path / "other").exists()


def test_a_task_without_chains_is_refused_before_any_training(server: Server, tmp_path: Path) -> None:
    for split, number in (("train", 1), ("valid", 2), ("test", 3)):
        (tmp_path / f"{split}.txt").write_text(f"{number} + 1|| #### {number + 1}\n")
    result = server.run("train", "icot-kd", "--task", tmp_path, *SETTINGS, "--out", tmp_path / "kd")
    assert result.exit_code == 2
    assert "nothing to distil" in result.stderr
    assert not (tmp_path / "kd").exists()


def test_the_coupled_model_is_evaluated_like_any_stage(server: Server, task: Path, whole: Path) -> None:
    result = server.run("evaluate", whole, "--task", task)
    assert result.exit_code == 0, result.stderr
