"""`--config` and `run.toml`: a file gives options, a finished run repeats itself and is not made again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from inputs import Inputs
from program import Result, Server

from influence.cli.run_file import is_there, write_run_file


def _fails(result: Result, *texts: str) -> None:
    assert result.exit_code == 2, result.stderr
    assert "Traceback" not in result.stderr
    for text in texts:
        assert text in result.stderr


@pytest.fixture(scope="module")
def hessian(program: Server, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "hessian"
    assert program.run(*inputs.fit(out), "--documents", "50").exit_code == 0
    return out


def test_a_run_leaves_a_file_that_repeats_it(program: Server, hessian: Path, tmp_path: Path) -> None:
    file = hessian / "run.toml"
    options = tomllib.loads(file.read_text())
    assert options["documents"] == 50
    assert options["max_length"] == 512  # also what was left at its default
    assert "not checked" not in program.run("verify", hessian).stdout
    again = program.run("fit-hessian", "--config", file, "--out", tmp_path / "again")
    assert again.exit_code == 0, again.stderr
    for name in ("lambda_matrix.safetensors", "activation_covariance.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (hessian / name).read_bytes()


def test_the_command_line_wins_over_the_file(program: Server, hessian: Path, tmp_path: Path) -> None:
    out = tmp_path / "few"
    result = program.run("fit-hessian", "--config", hessian / "run.toml", "--documents", 20, "--out", out)
    assert "20 documents, " in result.stdout, result.stderr


def test_a_file_with_an_unknown_name_is_refused_with_the_nearest(program: Server, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('model = "miniworld"\ndocument = 20\n')
    _fails(program.run("fit-hessian", "--config", file), "no option 'document'", "Did you mean documents?")
    file.write_text("[fit]\ndocuments = 20\n")
    _fails(program.run("fit-hessian", "--config", file), "fit in", "is a table")
    file.write_text("documents = \n")
    _fails(program.run("fit-hessian", "--config", file), "not a TOML file")


def test_a_finished_command_says_that_it_is_there_and_loads_no_model(
    program: Server, inputs: Inputs, hessian: Path
) -> None:
    weights = inputs.model / "model.safetensors"
    assert weights.exists()
    command = (*inputs.fit(hessian), "--documents", "50")
    result = program.run(*command)
    assert (result.exit_code, result.stdout) == (0, f"Already there: {hessian}\n")
    assert "layers" not in result.stderr


def test_a_result_whose_input_was_touched_is_looked_at_again(
    program: Server, inputs: Inputs, hessian: Path
) -> None:
    inputs.corpus.touch()
    result = program.run(*inputs.fit(hessian), "--documents", "50")
    assert result.exit_code == 0
    assert f"Hessian of 6 layers: {hessian}" in result.stdout


def test_everything_that_is_missing_is_named_at_once(program: Server) -> None:
    result = program.run("score", "--queries", "slopes", "--model", "mine")
    _fails(
        result,
        "influence score needs --hessian, --corpus and --out.",
        "next:  influence score --queries slopes --model mine --hessian HESSIAN --corpus CORPUS --out DIR",
    )
    _fails(
        program.run("index", "build"), "influence index build needs --model, --hessian, --corpus and --out."
    )
    _fails(program.run("merge"), "influence merge needs PIECES and --out.")


def test_an_option_of_json_is_the_same_run_again(tmp_path: Path) -> None:
    options = {"extra_body": {"temperature": None, "effort": "low"}, "seed": 1}
    out = tmp_path / "out"
    out.mkdir()
    write_run_file(out, "influence distill sample", options)
    assert is_there(out, options)
    assert not is_there(out, options | {"extra_body": {"effort": "high"}})
