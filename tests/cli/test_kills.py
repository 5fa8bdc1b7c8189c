"""A few kills at random moments; `python tests/kills.py --kills 30` does more, of every job."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import kill, write_scores
from program import Server


@pytest.fixture(scope="module")
def scored(program: Server, given: Path) -> Path:
    write_scores(given, program)
    return given


@pytest.mark.parametrize("job", ["fit", "score", "complete", "train", "merge", "tokens"])
def test_a_job_killed_at_random_leaves_what_an_undisturbed_one_leaves(
    program: Server, scored: Path, tmp_path: Path, job: str
) -> None:
    assert kill(program, scored, tmp_path, job, kills=1, seed=1).kills == 1
