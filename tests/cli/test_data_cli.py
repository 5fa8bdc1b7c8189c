"""`influence data`: what a user types, sees and gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from influence.cli.main import cli
from influence.data.tasks.folder import read_task
from influence.errors import InputError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["data", *map(str, arguments)])


SMALL = ("--train", 30, "--valid", 5, "--test", 5)


@pytest.mark.parametrize(
    ("command", "sees"),
    [
        (("multiplication", "--digits", 3), "Steps of its chain: 3"),
        (("multiplication", "--digits", 3, "--chain", "tree"), "Steps of its chain: 5"),
        (("parity", "--bits", 9, "--k", 4), "Steps of its chain: 3"),
        (("parity", "--bits", 9, "--modulus", 10), "Steps of its chain: 8"),
        (("reachability", "--hops", 3, "--nodes", 12), "Steps of its chain: 2"),
    ],
)
def test_made_tasks(tmp_path: Path, command: tuple[object, ...], sees: str) -> None:
    result = run(*command, *SMALL, "--seed", 3, "--out", tmp_path / "task")
    assert result.exit_code == 0, result.output
    assert "30 train, 5 valid, 5 test" in result.stdout
    assert sees in result.stdout
    task = read_task(tmp_path / "task")
    assert (task.name, task.settings["seed"]) == (command[0], 3)
    assert task.split("train")[0].line() in result.stdout


def test_gsm8k_from_its_own_files(tmp_path: Path) -> None:
    source, other = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    rows = [{"question": f"{n}?", "answer": f"<<{n}+1={n + 1}>>\n#### {n + 1}"} for n in range(20)]
    source.write_text("\n".join(map(json.dumps, rows[:15])))
    other.write_text("\n".join(map(json.dumps, rows[15:])))
    result = run(
        "gsm8k", "--source", source, "--test-source", other, "--valid", 4, "--out", tmp_path / "task"
    )
    assert result.exit_code == 0, result.output
    assert "11 train, 4 valid, 5 test" in result.stdout
    assert [example.input for example in read_task(tmp_path / "task").split("test")] == [
        f"{n}?" for n in range(15, 20)
    ]


def test_bad_input_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    result = run("multiplication", "--digits", 2, "--train", 9000, "--out", tmp_path / "task")
    assert isinstance(result.exception, InputError)
    assert "8,100 in all" in str(result.exception)
    assert result.exception.fix
    assert not list(tmp_path.iterdir())


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from click.testing import CliRunner; from influence.cli.main import cli\n"
        f"done = CliRunner().invoke(cli, ['data', 'parity', '--bits', '12', '--out', {str(tmp_path / 'p')!r}])\n"
        "assert done.exit_code == 0, done.output\n"
        "assert not {'torch', 'transformers', 'pandas', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
