"""A few kills at random moments; `python tests/kills.py --kills 30` does more, and training too."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import kill
from program import Server


@pytest.mark.parametrize("job", ["fit", "score", "complete"])
def test_a_job_killed_at_random_leaves_what_an_undisturbed_one_leaves(
    program: Server, given: Path, tmp_path: Path, job: str
) -> None:
    assert kill(program, given, tmp_path, job, kills=1, seed=1).kills == 1
