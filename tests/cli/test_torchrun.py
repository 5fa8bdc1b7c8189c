"""Several processes that share a run, with and without FSDP: the same numbers, and what becomes of faults."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kills import contents
from program import Server
from safetensors.numpy import load_file

_SETTINGS = ("--batch-tokens", 150, "--device", "cpu", "--dtype", "float64")


def fit(given: Path, out: Path) -> list[object]:
    return [
        "fit-hessian",
        "--model",
        given / "model",
        "--corpus",
        given / "few.jsonl",
        "--out",
        out,
        *_SETTINGS,
    ]


def score(given: Path, hessian: Path, out: Path) -> list[object]:
    return [
        *("score", "--queries", given / "queries.jsonl", "--model", given / "model", "--hessian", hessian),
        *("--corpus", given / "few.jsonl", "--out", out, *_SETTINGS),
    ]


def index(given: Path, hessian: Path, out: Path) -> list[object]:
    return [
        *("index", "build", "--model", given / "model", "--hessian", hessian, "--bytes", 1024),
        *("--corpus", given / "few.jsonl", "--out", out, *_SETTINGS),
    ]


def succeed(program: Server, *arguments: object, processes: int | None = None) -> str:
    result = program.run(*arguments, processes=processes)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def alone(program: Server, given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit, scores and an index of one process."""
    folder = tmp_path_factory.mktemp("alone")
    few = (given / "corpus.jsonl").read_text().splitlines(keepends=True)[:120]  # seven blocks
    (given / "few.jsonl").write_text("".join(few))
    succeed(program, *fit(given, folder / "hessian"))
    succeed(program, *score(given, folder / "hessian", folder / "scores"))
    succeed(program, *index(given, folder / "hessian", folder / "index"))
    return folder


def assert_same_fit(found: Path, expected: Path) -> None:
    assert {path.name for path in found.iterdir()} == {path.name for path in expected.iterdir()}
    for name in ("activation_covariance", "gradient_covariance", "lambda_matrix"):
        ours, theirs = (load_file(folder / f"{name}.safetensors") for folder in (found, expected))
        assert ours.keys() == theirs.keys()
        for layer in ours:
            np.testing.assert_allclose(ours[layer], theirs[layer], rtol=0, atol=1e-12 * theirs[layer].max())


@pytest.mark.parametrize(("processes", "options"), [(2, ()), (4, ()), (3, ("--fsdp",))])
def test_any_number_of_processes_gives_the_same_numbers(
    program: Server, given: Path, alone: Path, tmp_path: Path, processes: int, options: tuple[str, ...]
) -> None:
    succeed(program, *fit(given, tmp_path / "hessian"), *options, processes=processes)
    assert_same_fit(tmp_path / "hessian", alone / "hessian")
    done = score(given, alone / "hessian", tmp_path / "scores")
    said = succeed(program, *done, *options, processes=processes)
    assert said.count("Scores of 3 queries × 120 documents") == 1
    assert contents(tmp_path / "scores") == contents(alone / "scores")
    building = index(given, alone / "hessian", tmp_path / "index")
    succeed(program, *building, *options, processes=processes)
    assert contents(tmp_path / "index") == contents(alone / "index")
    manifest = json.loads((tmp_path / "scores" / "manifest.json").read_text())
    assert manifest["provenance"]["processes"] == processes


def test_a_killed_run_goes_on_with_another_number_of_processes(
    program: Server, given: Path, alone: Path, tmp_path: Path
) -> None:
    state = tmp_path / "hessian" / "covariances.state.safetensors"
    result = program.run(*fit(given, state.parent), processes=2, signal_at=(signal.SIGKILL, state), times=3)
    assert result.exit_code == -9
    assert state.exists()
    part = tmp_path / "hessian" / "eigen-1.state.safetensors"
    result = program.run(*fit(given, part.parent), processes=4, signal_at=(signal.SIGKILL, part))
    assert result.exit_code == -9
    succeed(program, *fit(given, tmp_path / "hessian"))
    assert_same_fit(tmp_path / "hessian", alone / "hessian")

    block = tmp_path / "scores" / "blocks" / "000001.safetensors"  # the second process writes it
    scoring = score(given, alone / "hessian", tmp_path / "scores")
    result = program.run(*scoring, processes=2, signal_at=(signal.SIGKILL, block))
    assert result.exit_code == -9
    written = block.stat().st_mtime_ns
    result = program.run(
        *scoring, processes=3, signal_at=(signal.SIGKILL, block.with_name("000005.safetensors"))
    )
    assert result.exit_code == -9
    assert block.stat().st_mtime_ns == written  # what one of two wrote, three take over
    succeed(program, *scoring, processes=2)
    assert contents(tmp_path / "scores") == contents(alone / "scores")


def test_a_process_that_is_stopped_ends_the_run_with_a_line(
    program: Server, given: Path, alone: Path, tmp_path: Path
) -> None:
    block = tmp_path / "scores" / "blocks" / "000001.safetensors"
    result = program.run(
        *score(given, alone / "hessian", tmp_path / "scores"),
        processes=2,
        signal_at=(signal.SIGSTOP, block),
        environment={"INFLUENCE_SILENCE_SECONDS": "5"},
    )
    assert result.exit_code == 4
    assert result.stderr.count("Error:") == 1
    assert "of 2 processes, process 1 on" in result.stderr
    assert "the same command goes on where this run stopped" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "--hessian", "nowhere"), "nowhere"),
        (("score", "--hessian", "identity", "--dry-run"), "--dry-run runs as one process"),
        (("score", "--hessian", "identity", "--device", "cuda:1"), "would be that of every process"),
        (("score", "--no-such-option"), "No such option"),
        (("top", "somewhere"), "influence top runs as one process"),
    ],
)
def test_an_error_of_all_processes_is_printed_once(
    program: Server, given: Path, alone: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    rest = score(given, tmp_path, tmp_path / "out") if "score" in arguments else []
    result = program.run(*arguments[:1], *rest[1:], *arguments[1:], processes=2)
    assert result.exit_code != 0
    assert result.stderr.count("Error:") == 1, result.stderr
    assert said in result.stderr


def test_an_error_of_one_process_ends_all_and_is_printed_once(
    program: Server, given: Path, alone: Path, tmp_path: Path
) -> None:
    scoring = score(given, alone / "hessian", tmp_path / "scores")
    begun = program.run(*scoring, signal_at=(signal.SIGKILL, tmp_path / "scores" / "queries.json"))
    assert begun.exit_code == -9
    (tmp_path / "scores" / "blocks" / "000001.safetensors.part").mkdir(parents=True)  # of the second process
    result = program.run(*scoring, processes=2)
    assert result.exit_code == 2
    assert result.stderr.count("Error:") == 1, result.stderr
    assert "000001.safetensors" in result.stderr
    assert "Traceback" not in result.stderr


def test_torchrun_itself(given: Path, alone: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    scoring = score(given, alone / "hessian", tmp_path / "scores")
    done = subprocess.run(
        [*command, "-m", "influence", *map(str, scoring)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Scores of 3 queries × 120 documents") == 1
    np.testing.assert_allclose(
        load_file(tmp_path / "scores" / "scores.safetensors")["dot"],
        load_file(alone / "scores" / "scores.safetensors")["dot"],
        rtol=1e-12,
    )
