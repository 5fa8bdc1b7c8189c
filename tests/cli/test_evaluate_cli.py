"""`influence evaluate` as it is typed, on stages that training wrote."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from influence.cli.main import cli
from influence.errors import InputError


def typed(line: str) -> str:
    """What a line typed into a shell prints; stars are expanded as a shell does. No new process: torch is here."""
    words = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in shlex.split(line)]
    done = CliRunner().invoke(cli, list(itertools.chain.from_iterable(words))[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of stepwise, with kept positions, and no CoT: they learned nothing, which is fast."""
    from influence.data.tasks.folder import read_task
    from influence.train.stepwise.run import internalize
    from influence.train.stepwise.settings import Settings

    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "task").mkdir()
    lines = [f"{a} * {b}||{a} + {b} #### {a} {b}\n" for a in range(10) for b in range(10)]
    for split, own in (("train", lines[20:]), ("valid", lines[:10]), ("test", lines[10:20])):
        (folder / "task" / f"{split}.txt").write_text("".join(own))
    task = read_task(folder / "task")
    for seed in (0, 1):
        settings = Settings(
            seed=seed, delta=3, batch_size=20, keep_positions=True, check_examples=5, stage_every=3
        )
        internalize(task, "tiny", folder / f"seed-{seed}", settings)
    internalize(task, "tiny", folder / "no-cot", Settings(mode="no-cot", batch_size=20, check_examples=5))
    return folder


def test_as_typed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    line = "influence evaluate seed-0/stage-* seed-1/stage-* --task task --no-cot no-cot --timed 3"
    said = typed(line)
    table = said.splitlines()
    assert table[0].split() == [
        *("run", "removed", "exact", "match", "tokens", "generated", "examples/s", "relative", "speed")
    ]
    assert [row.split()[:2] for row in table[1:6]] == [
        *(["seed-0", str(n)] for n in (0, 3)),
        *(["seed-1", str(n)] for n in (0, 3)),
        ["no-cot", "3"],
    ]
    assert "Mean over runs" in said
    assert [row.split()[:3] for row in table if row.startswith("stepwise")] == [
        ["stepwise", str(n), "2"] for n in (0, 3)
    ]
    for run in ("seed-0", "seed-1", "no-cot"):
        assert f"Report: {runs / run / 'evaluation.html'}" in said
        assert (runs / run / "evaluation.html").is_file()
    rows = pd.read_csv(runs / "seed-0" / "evaluation.csv")
    assert rows["examples"].tolist() == [10] * 2
    assert rows["timed"].tolist() == [3] * 2
    as_json = json.loads(typed(line + " --json"))
    assert [(row["run"], row["removed"]) for row in as_json[:2]] == [("seed-0", 0), ("seed-0", 3)]


def test_errors_before_any_work(runs: Path) -> None:
    with pytest.raises(InputError, match="neither a stage nor a run"):
        CliRunner().invoke(
            cli,
            ["evaluate", str(runs / "task"), "--task", str(runs / "task")],
            standalone_mode=False,
            catch_exceptions=False,
        )
    with pytest.raises(InputError, match="is not a task"):
        CliRunner().invoke(
            cli,
            ["evaluate", str(runs / "seed-0"), "--task", str(runs)],
            standalone_mode=False,
            catch_exceptions=False,
        )
