"""The recipes of docs/scale.md, as they stand there: their scripts run, and the pieces that they make can be merged."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from kills import contents
from program import Server

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
LOOP, ARRAY, SUBMIT, *_ = re.findall(
    r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


def typed(script: str, folder: Path, **environment: str) -> list[list[str]]:
    """The commands that a script gives, in order; each makes its `--out`, so that later ones find it."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    for name in ("influence", "sbatch"):
        program = folder / name
        program.write_text(
            '#!/bin/bash\nprintf "%q " "$(basename "$0")" "$@" >> log; echo >> log; echo 17\n'
            'while [ "$#" -gt 0 ]; do [ "$1" = --out ] && mkdir -p "$2"; shift; done\n'
        )
        program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=folder,
        env={"PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line) for line in log.read_text().splitlines()]
    for out in folder.glob("runs/big/*"):
        if not any(out.iterdir()):
            out.rmdir()
    return commands


def run(program: Server, given: Path, folder: Path, command: list[str]) -> None:
    real = {
        "queries.jsonl": given / "queries.jsonl",
        "MODEL": given / "model",
        "runs/big/hessian": given / "hessian",
        "corpus.jsonl": given / "corpus.jsonl",
    }
    words = [real.get(word, folder / word if word.startswith("runs/") else word) for word in command[1:]]
    more = ["--device", "cpu", "--batch-tokens", "1"] if command[1] == "score" else []
    done = program.run(*words, *more)
    assert done.exit_code == 0, done.stderr


@pytest.fixture(scope="module")
def whole(program: Server, given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "runs" / "whole"
    command = [
        "influence",
        "score",
        "--queries",
        "queries.jsonl",
        "--model",
        "MODEL",
        "--corpus",
        "corpus.jsonl",
    ]
    run(program, given, out.parents[1], [*command, "--hessian", "runs/big/hessian", "--out", "runs/whole"])
    return out


def test_the_loop(program: Server, given: Path, whole: Path, tmp_path: Path) -> None:
    commands = typed(LOOP, tmp_path)
    assert len(commands) == 5
    for command in commands:
        run(program, given, tmp_path, command)
    assert contents(tmp_path / "runs" / "big" / "scores") == contents(whole)


def test_the_array(program: Server, given: Path, whole: Path, tmp_path: Path) -> None:
    """As the scheduler would run it, in another order, and with fewer tasks."""
    script = ARRAY.replace("PIECES=64", "PIECES=3")
    assert script != ARRAY
    for task in ("3", "1", "2"):
        (command,) = typed(script, tmp_path, SLURM_ARRAY_TASK_ID=task)
        run(program, given, tmp_path, command)
    submitted, after = typed(SUBMIT, tmp_path)
    assert submitted == ["sbatch", "--parsable", "score.sbatch"]
    assert after[:2] == ["sbatch", "--dependency=afterok:17"]
    merge = shlex.split(after[-1])
    pieces = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "runs" / "big").glob("piece-*"))
    run(
        program,
        given,
        tmp_path,
        [word for w in merge for word in (pieces if w == "runs/big/piece-*" else [w])],
    )
    assert contents(tmp_path / "runs" / "big" / "scores") == contents(whole)
