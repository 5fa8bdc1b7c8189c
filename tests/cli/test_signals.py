"""SIGTERM and SIGHUP of a scheduler or a closed terminal: what is whole is saved, the program says so and ends."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kills import JOBS, contents
from program import Server

from influence.engine.batching import Budget
from influence.engine.loops import run_blocks
from influence.stopping import Stopping, stopping


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopping]:
    """The state of a process that got no signal, and handlers that end with the test."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(stopping, "number", None)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a test suite under nohup has it ignored
    yield stopping
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run_signalled(saved: list[int], signals: int = 1, at: int = 1) -> None:
    """Five blocks; in one of them come signals."""

    def run(block: int, tick: Callable[[int], Any]) -> None:
        if block == at:
            for _ in range(signals):
                os.kill(os.getpid(), signal.SIGTERM)
        tick(1)

    run_blocks([1] * 5, 1, Budget(64), run=run, save=saved.append, title="test")


def test_the_block_in_work_is_finished_and_saved(fresh: Stopping) -> None:
    saved: list[int] = []
    with fresh.listening(), pytest.raises(KeyboardInterrupt):
        run_signalled(saved)
    assert saved == [2]
    assert fresh.number == signal.SIGTERM


def test_a_second_signal_ends_at_once(fresh: Stopping) -> None:
    pid = os.fork()
    if pid == 0:
        with fresh.listening():
            run_signalled([], signals=2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


def test_outside_of_such_a_loop_a_signal_raises(fresh: Stopping) -> None:
    with fresh.listening(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)
    assert fresh.number == signal.SIGHUP


def test_a_signal_that_is_ignored_stays_so_as_under_nohup(fresh: Stopping) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with fresh.listening():
        os.kill(os.getpid(), signal.SIGHUP)
    assert fresh.number is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("job", "file", "number"),
    [
        ("fit", "covariances.state.safetensors", signal.SIGTERM),
        ("score", "blocks/000002.safetensors", signal.SIGHUP),
        ("index", "shards/000001.safetensors", signal.SIGTERM),
        ("complete", "queries.jsonl.partial/manifest.json", signal.SIGHUP),
        ("train", "trained.part/text.json", signal.SIGTERM),
    ],
)
def test_a_terminated_command_says_so_and_goes_on_to_the_same_bytes(
    program: Server, given: Path, tmp_path: Path, job: str, file: str, number: signal.Signals
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    for folder in (out, whole):
        folder.mkdir()
    arguments = [str(argument) for argument in JOBS[job](given, out)]
    result = program.run(*arguments, signal_at=(number, out / file))
    assert result.exit_code == 128 + number, result.stderr
    assert "Traceback" not in result.stderr
    said = re.split(r"[\r\n]", result.stderr.strip())[-2:]
    assert said[0] == f"Ended by {number.name}. Finished blocks are kept; to resume:"
    assert shlex.split(said[1]) == ["influence", *arguments]
    assert program.run(*arguments).exit_code == 0
    assert program.run(*JOBS[job](given, whole)).exit_code == 0
    assert contents(out) == contents(whole)


def test_a_killed_process_of_torchrun_is_named_with_what_resumes(
    program: Server, given: Path, tmp_path: Path
) -> None:
    """Blocks are dealt in turn, so the second one is that of process 1; process 0 says what became of it."""
    arguments = [str(argument) for argument in JOBS["score"](given, tmp_path / "run")]
    block = tmp_path / "run" / "blocks" / "000001.safetensors"
    result = program.run(*arguments, processes=2, signal_at=(signal.SIGKILL, block))
    assert result.exit_code == -signal.SIGKILL
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Process 1 was killed from outside") == 1, result.stderr
    resume = result.stderr.strip().splitlines()[-1]
    assert resume.strip().startswith("torchrun")
    assert shlex.split(resume)[-len(arguments) :] == arguments
