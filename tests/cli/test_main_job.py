"""The main job as a user types it: fit, score, look; and what happens when it is killed, interrupted, or full."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from inputs import Inputs
from program import Result, Server

from influence.cli.main import COMMANDS
from influence.store.scores import open_scores
from influence.types import SIGN_STATEMENT


def typed(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A new interpreter, as on a user's machine."""
    command = [sys.executable, "-m", "influence", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which holds the time, and the options, which hold the folder."""
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "run.toml")
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def assert_error(result: Result | subprocess.CompletedProcess[str], code: int, *texts: str) -> None:
    """The exit code, the texts in order, and no traceback."""
    assert (result.exit_code if isinstance(result, Result) else result.returncode) == code, result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(".*".join(map(re.escape, texts)), result.stderr, re.DOTALL), result.stderr


@dataclass(frozen=True)
class Done:
    """A fit and scores that nothing disturbed."""

    hessian: Path
    scores: Path


@pytest.fixture(scope="session")
def done(program: Server, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("done")
    for arguments in (inputs.fit(folder / "hessian"), inputs.score(folder / "hessian", folder / "scores")):
        result = program.run(*arguments)
        assert result.exit_code == 0, result.stderr
    return Done(folder / "hessian", folder / "scores")


def test_fit_score_top_as_typed(inputs: Inputs, done: Done, tmp_path: Path) -> None:
    fitted = typed(*inputs.fit(tmp_path / "hessian"))
    assert fitted.returncode == 0, fitted.stderr
    assert "200 documents, " in fitted.stdout
    assert f"Hessian of 6 layers: {tmp_path / 'hessian'}" in fitted.stdout
    assert fitted.stderr == ""  # no terminal, and done within half a minute: no line of progress

    scored = typed(*inputs.score(tmp_path / "hessian", tmp_path / "scores"))
    assert scored.returncode == 0, scored.stderr
    assert f"Scores of 3 queries × 200 documents: {tmp_path / 'scores'}" in scored.stdout

    manifest = json.loads((tmp_path / "scores" / "manifest.json").read_text())
    assert manifest["provenance"]["command"] == shlex.join(
        ["influence", *inputs.score(tmp_path / "hessian", tmp_path / "scores")]
    )
    # Blocks of the size everybody has make other batches: the same scores but for the rounding of fp32.
    dot, small = open_scores(tmp_path / "scores").dot, open_scores(done.scores).dot
    np.testing.assert_allclose(dot, small, rtol=0, atol=1e-3 * np.abs(small).max())

    shown = typed("top", tmp_path / "scores", "q1", "--k", 5)
    assert shown.returncode == 0, shown.stderr
    expected = open_scores(tmp_path / "scores").top("q1", k=5)["document"].tolist()
    assert re.findall(r"\bd\d+\b", shown.stdout) == expected
    for column in ("rank", "document", "source", "dot", "per_nat", "normed", "snippet"):
        assert column in shown.stdout.splitlines()[0]


def test_the_same_command_again_finds_it_done(program: Server, inputs: Inputs, done: Done) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.scores.rglob("*")}
    again = program.run(*inputs.score(done.hessian, done.scores))
    assert again.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in done.scores.rglob("*")} == before


def test_top_from_the_bottom_by_another_reading_and_as_parquet(
    program: Server, done: Done, tmp_path: Path
) -> None:
    scores = open_scores(done.scores)
    bottom = program.run("top", done.scores, "q0", "--bottom", "--by", "dot", "--k", 4)
    assert (
        re.findall(r"\bd\d+\b", bottom.stdout) == scores.top("q0", 4, "dot", bottom=True)["document"].tolist()
    )
    exported = program.run("top", done.scores, "--parquet", tmp_path / "all.parquet")
    assert exported.exit_code == 0
    assert len(pd.read_parquet(tmp_path / "all.parquet")) == 3 * 200
    assert_error(program.run("top", done.scores), 2, "Name a query", "q0, q1, q2")
    assert_error(program.run("top", done.scores, "q9"), 2, "No query 'q9'")


def test_scores_with_the_identity(program: Server, inputs: Inputs, tmp_path: Path) -> None:
    result = program.run(*inputs.score(Path("identity"), tmp_path / "run"))
    assert result.exit_code == 0, result.stderr
    assert open_scores(tmp_path / "run").manifest["config"]["hessian"] == "identity"


def test_the_head_and_the_embedding_are_fitted_and_scored(
    program: Server, inputs: Inputs, tmp_path: Path
) -> None:
    words = ["--layers", "mlp", "--layers", "head", "--layers", "embedding"]
    result = program.run(*inputs.fit(tmp_path / "hessian"), *words)
    assert result.exit_code == 0, result.stderr
    assert "Hessian of 8 layers" in result.stdout
    run = tmp_path / "run"
    result = program.run(*inputs.score(tmp_path / "hessian", run))
    assert result.exit_code == 0, result.stderr
    layers = open_scores(run).manifest["config"]["layers"]
    assert (layers[0], layers[-1]) == ("model.embed_tokens", "lm_head")
    again = ["--model", inputs.model, "--hessian", tmp_path / "hessian"]
    result = program.run("tokens", run, *map(str, again), "--k", "2", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert_error(
        program.run(*inputs.score(tmp_path / "hessian", tmp_path / "cut"), "--query-error", "0.05"),
        2,
        "--query-error does not work with output heads and embeddings",
        "--layers mlp",
    )


# -- help


def test_help_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = typed("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert shown.returncode == 0
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    text = " ".join(shown.stdout.split())
    assert "A positive score predicts that the document RAISES log p(completion | prompt)." in text
    for command in COMMANDS:
        assert command in shown.stdout


def test_no_help_imports_what_takes_long() -> None:
    code = (
        "import sys\n"
        "from influence.cli.main import COMMANDS, cli\n"
        "for command in ([], *([name] for name in COMMANDS)):\n"
        "    cli([*command, '--help'], standalone_mode=False)\n"
        "    slow = {'torch', 'transformers', 'datasets', 'pandas', 'matplotlib', 'pyarrow', 'tqdm', 'httpx2'}\n"
        "    loaded = slow & sys.modules.keys()\n"
        "    assert not loaded, (command, loaded)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == len(COMMANDS) + 1


def test_the_sign_is_stated_where_scores_are_made_and_shown(program: Server) -> None:
    assert "Positive" in SIGN_STATEMENT
    for command in ("score", "top"):
        shown = " ".join(program.run(command, "--help").stdout.split())
        assert re.search(r"(?i)positive.*predicted to raise log p\(completion \| prompt\)", shown)


# -- errors


def test_a_query_without_a_field_is_named_by_its_line(
    program: Server, inputs: Inputs, done: Done, tmp_path: Path
) -> None:
    lines = inputs.queries.read_text().splitlines()
    record = json.loads(lines[1])
    del record["completion"]
    queries = tmp_path / "queries.jsonl"
    queries.write_text("\n".join([lines[0], json.dumps(record), lines[2]]))
    changed = Inputs(inputs.model, inputs.corpus, queries)
    result = program.run(*changed.score(done.hessian, tmp_path / "run"))
    assert_error(result, 2, f"{queries}:2", "completion")
    assert not (tmp_path / "run").exists()


def test_a_document_without_text_is_named_by_its_line(
    program: Server, inputs: Inputs, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "text": "abc"}\n{"id": "b", "body": "abc"}\n')
    result = program.run(*Inputs(inputs.model, corpus, inputs.queries).fit(tmp_path / "fit"))
    assert_error(result, 2, "corpus.jsonl:2")


def test_errors_have_exit_codes_and_no_traceback(
    program: Server, inputs: Inputs, done: Done, tmp_path: Path
) -> None:
    score, out = inputs.score(done.hessian, done.scores), tmp_path / "run"
    assert_error(program.run("fit"), 2, "There is no command 'fit'")
    assert_error(program.run("fit-hessian", "--model", "M"), 2, "fit-hessian needs --corpus and --out")
    assert_error(
        program.run(*inputs.fit(tmp_path / "a"), "--layers", "*.ffn"), 2, "--layers *.ffn", "found:", "next:"
    )
    assert_error(program.run(*inputs.score(tmp_path / "nothing", out)), 3, "holds no hessian")
    assert_error(program.run(*inputs.score(done.scores, out)), 3, "holds a score store, not a Hessian")
    assert_error(program.run(*score, "--damping", "0.2"), 3, "other arguments", "damping: 0.1 there, 0.2 now")
    assert_error(program.run(*score, "--damping", "0"), 2, "damping must be positive")
    assert_error(program.run("top", tmp_path / "nothing", "q0"), 3, "holds no scores")
    missing = Inputs(tmp_path / "no-model", inputs.corpus, inputs.queries)
    assert_error(program.run(*missing.fit(tmp_path / "b")), 2, "no-model", "next:")
    missing = Inputs(inputs.model, tmp_path / "no-corpus.jsonl", inputs.queries)
    assert_error(program.run(*missing.fit(tmp_path / "c")), 2, "no-corpus.jsonl")
    assert not out.exists()


def test_too_long_a_query_is_refused_before_the_scan(
    program: Server, inputs: Inputs, done: Done, tmp_path: Path
) -> None:
    result = program.run(*inputs.score(done.hessian, tmp_path / "run"), "--max-length", "5")
    assert_error(result, 2, "Query q", "more than --max-length 5")


# -- killed, interrupted


def die(program: Server, arguments: list[str], file: Path, times: int = 1) -> None:
    """Killed, with nothing caught and nothing cleaned up, the moment a file appears."""
    result = program.run(*arguments, signal_at=(signal.SIGKILL, file), times=times)
    assert result.exit_code == -signal.SIGKILL, result.stderr


def test_a_killed_fit_goes_on_to_the_same_bits(
    program: Server, inputs: Inputs, done: Done, tmp_path: Path
) -> None:
    out = tmp_path / "hessian"
    arguments = inputs.fit(out)
    die(program, arguments, out / "documents.arrow")
    for stage in ("covariances", "eigenvalues"):
        die(program, arguments, out / f"{stage}.state.safetensors", times=1)
        die(program, arguments, out / f"{stage}.state.safetensors", times=4)
    die(program, arguments, out / "lambda_matrix.safetensors")
    assert (out / "eigenvalues.state.safetensors").exists()
    assert program.run(*arguments).exit_code == 0
    assert contents(out) == contents(done.hessian)


@pytest.mark.parametrize(
    "file",
    ["manifest.json", "tokens.json", "gradient_covariance", "eigen-2.state", "activation_eigenvectors"],
)
def test_a_fit_killed_between_stages_goes_on_to_the_same_bits(
    program: Server, inputs: Inputs, done: Done, tmp_path: Path, file: str
) -> None:
    out = tmp_path / "hessian"
    die(program, inputs.fit(out), out / (file if file.endswith(".json") else f"{file}.safetensors"))
    assert program.run(*inputs.fit(out)).exit_code == 0
    assert contents(out) == contents(done.hessian)


def test_a_killed_score_goes_on_to_the_same_bits(
    program: Server, inputs: Inputs, done: Done, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    arguments = inputs.score(done.hessian, out)
    first = out / "blocks" / "000000.safetensors"
    die(program, arguments, first)
    before = first.stat().st_mtime_ns
    die(program, arguments, out / "blocks" / "000003.safetensors")
    die(program, arguments, out / "blocks" / "000008.safetensors")
    assert first.stat().st_mtime_ns == before  # what was done is not done again
    die(program, arguments, out / "scores.safetensors")
    assert program.run(*arguments).exit_code == 0
    assert contents(out) == contents(done.scores)


def test_an_unfinished_run_is_refused_by_what_reads_it(
    program: Server, inputs: Inputs, tmp_path: Path
) -> None:
    out = tmp_path / "hessian"
    die(program, inputs.fit(out), out / "covariances.state.safetensors")
    assert_error(
        program.run(*inputs.score(out, tmp_path / "run")), 3, "unfinished", "run", "again: it resumes"
    )


@pytest.mark.parametrize("stage", ["fit", "score"])
def test_an_interrupt_says_how_to_resume(
    program: Server, inputs: Inputs, done: Done, tmp_path: Path, stage: str
) -> None:
    out = tmp_path / "my run"  # a name that must be quoted
    arguments = inputs.fit(out) if stage == "fit" else inputs.score(done.hessian, out)
    seen = out / ("covariances.state.safetensors" if stage == "fit" else "blocks/000002.safetensors")
    result = program.run(*arguments, signal_at=(signal.SIGINT, seen))
    assert_error(result, 130, "Interrupted. Finished blocks are kept; to resume:")
    assert seen.exists()
    command = shlex.split(result.stderr.strip().splitlines()[-1])
    assert command == ["influence", *arguments]
    assert program.run(*command[1:]).exit_code == 0
    assert contents(out) == contents(done.hessian if stage == "fit" else done.scores)


# -- a full disk


@dataclass(frozen=True)
class SmallDisk:
    folder: Path

    def resize(self, kilobytes: int) -> None:
        options = f"remount,size={kilobytes}k"
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield SmallDisk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("stage", "step"), [("fit", 40), ("score", 8)])
def test_a_full_disk_is_said_and_survived(
    program: Server, inputs: Inputs, done: Done, small_disk: SmallDisk, stage: str, step: int
) -> None:
    """The disk grows a little after each failure, so that it is full at one place of the run after another."""
    out = small_disk.folder / "run"
    arguments = inputs.fit(out) if stage == "fit" else inputs.score(done.hessian, out)
    full_at = set()
    for kilobytes in range(16, 2000, step):
        result = program.run(*arguments)
        if result.exit_code == 0:
            break
        assert_error(result, 4, "Error: the disk is full while writing ", "run the same command again")
        full_at.add(re.findall(r"while writing (\S+)\.\n", result.stderr)[0])
        assert not list(small_disk.folder.rglob("*.part"))
        small_disk.resize(kilobytes + step)
    else:
        pytest.fail("it never had room enough")
    assert len(full_at) > 2
    assert contents(out) == contents(done.hessian if stage == "fit" else done.scores)
