"""A full disk and Ctrl-C where `test_main_job` does not look: index, completion, training, merging."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kills import JOBS, contents
from program import Server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("job", "sizes"), [("index", (60,)), ("complete", (4,)), ("train", (20, 300))])
def test_a_full_disk_is_said_and_survived(
    program: Server, given: Path, small_disk: Path, tmp_path: Path, job: str, sizes: tuple[int, ...]
) -> None:
    """The disk, of so many kilobytes, grows after each failure, so that it is full at several places of the run."""
    (tmp_path / "whole").mkdir()
    done = program.run(*JOBS[job](given, tmp_path / "whole"))
    assert done.exit_code == 0, done.stderr
    out = small_disk / "run"
    out.mkdir()
    for kilobytes in (*sizes, 100_000):
        options = f"remount,size={kilobytes}k"
        subprocess.run(["mount", "-o", options, str(small_disk)], check=True, capture_output=True)
        result = program.run(*JOBS[job](given, out))
        if kilobytes in sizes:
            assert "Traceback" not in result.stderr, result.stderr
            assert "Error: the disk is full" in result.stderr, result.stderr
            assert result.exit_code == 4
    assert result.exit_code == 0, result.stderr
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("job", "file"),
    [
        ("index", "shards/000001.safetensors"),
        ("complete", "queries.jsonl.partial/manifest.json"),
        ("train", "trained.part/text.json"),
    ],
)
def test_an_interrupt_is_one_line_and_keeps_what_is_done(
    program: Server, given: Path, tmp_path: Path, job: str, file: str
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    arguments = [str(argument) for argument in JOBS[job](given, out)]
    result = program.run(*arguments, signal_at=(signal.SIGINT, out / file))
    assert result.exit_code == 130, result.stderr
    assert "Traceback" not in result.stderr
    said = re.split(r"[\r\n]", result.stderr.strip())[-2:]
    assert said[0] == "Interrupted. Finished blocks are kept; to resume:"
    assert shlex.split(said[1]) == ["influence", *arguments]
    assert (out / file).exists()
    assert program.run(*arguments).exit_code == 0
