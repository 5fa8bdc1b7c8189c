"""Errors that a newcomer makes: each says what is wrong, and the command that its next step names then works."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from inputs import Inputs

import influence.ready
from influence.cli.main import cli


@pytest.fixture(scope="module")
def place(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a finished run of a small ready model, a corpus, queries, and files that are none."""
    package, folder = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("place")
    shutil.copytree(inputs.model, package / "models" / "miniworld" / "base")
    (package / "corpora" / "miniworld").mkdir(parents=True)
    lines = inputs.corpus.read_text().splitlines(keepends=True)[:20]
    (package / "corpora" / "miniworld" / "documents.jsonl").write_text("".join(lines))
    (package / "queries").mkdir()
    shutil.copy(inputs.queries, package / "queries" / "slopes.jsonl")
    shutil.copytree(inputs.model, folder / "model")
    shutil.copy(inputs.queries, folder / "mine.jsonl")
    (folder / "documents.jsonl").write_text("".join(lines))
    (folder / "notes.docx").write_text("no corpus")
    (folder / "settings.toml").write_text("dampping = 0.2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(influence.ready, "_folder", lambda kind: package / kind)
        patch.chdir(folder)
        patch.setenv("HF_HUB_OFFLINE", "1")
        assert _typed("influence score --queries slopes").exit_code == 0
        yield folder


def _typed(command: str) -> Result:
    return CliRunner().invoke(cli, shlex.split(command)[1:], prog_name="influence")


CORPUS = "--corpus documents.jsonl --out runs/x"
WORD = "--corpus notes.docx --out runs/x"
FIT = "influence fit-hessian --model model --corpus documents.jsonl --out runs/own"
READY_FIT = "influence fit-hessian --model miniworld --corpus documents.jsonl --out runs/x"
SCORE = "influence score --queries slopes"
OWN = "influence score --queries mine.jsonl --model model --corpus documents.jsonl --hessian "
OWN_SCORE = OWN + "identity --out runs/own-scores"
TOP = "influence top runs/miniworld/scores-slopes q1"
ANALYSE = "influence analyze correlation runs/miniworld"
REPORT_JSON = "influence report runs/miniworld --format json --out scores.json"
#: What is typed, what the error says, what its next step names, and the command that follows it.
ERRORS = [
    ("influence scroe", "no command 'scroe'", "Did you mean score?", "influence score --queries slopes"),
    ("influence score --queries slops", "no query file or ready", "Did you mean 'slopes'?", SCORE),
    ("influence score --queries slopes.json", "no query file or ready", "Did you mean 'slopes'?", SCORE),
    ("influence score", "needs --queries", "--queries QUERIES", SCORE),
    (
        f"influence fit-hessian --model miniwrld {CORPUS}",
        "'miniwrld' is not",
        "Did you mean 'miniworld'?",
        READY_FIT,
    ),
    (f"influence fit-hessian --model modle {CORPUS}", "'modle' is not on this", "Did you mean 'model'?", FIT),
    ("influence fit-hessian --model model", "needs --corpus and --out", "--corpus CORPUS --out DIR", FIT),
    ("influence fit-hessian --modl model", "No such option", "Did you mean '--model'?", FIT),
    (f"influence fit-hessian --model model {WORD}", "notes.docx is not a corpus", ".jsonl", FIT),
    (
        "influence fit-hessian --model model --corpus document.jsonl --out x",
        "no corpus at",
        "Give an existing",
        FIT,
    ),
    ("influence fit-hessian --config settings.toml", "no option 'dampping'", "covariance_blocks", FIT),
    (f"{FIT} --layers mpl", "--layers mpl: no linear layer", "Use --layers mlp", f"{FIT}-mlp --layers mlp"),
    (f"{FIT} --dtype fp16", "'fp16' is not one of", "'bfloat16'", f"{FIT}-half --dtype bfloat16"),
    (
        f"influence score --queries mine.jsonl --model model {CORPUS}",
        "needs --hessian",
        "--hessian HESSIAN",
        OWN_SCORE,
    ),
    (f"{OWN}none --out y", "none holds no hessian", "influence runs", "influence runs"),
    ("influence top runs/miniworld/scores-slopes", "Name a query", "q0, q1, q2", TOP),
    ("influence top runs/miniworld/scores-slopes q11", "No query 'q11'", "Did you mean 'q1'?", TOP),
    ("influence top runs/miniworl q1", "holds no scores", "influence runs", "influence runs"),
    ("influence top runs/miniworld q1 --by norm", "'norm' is not one of", "'normed'", f"{TOP} --by normed"),
    (
        "influence show runs/miniworl",
        "is not a run",
        "runs/miniworld/hessian",
        "influence show runs/miniworld/hessian",
    ),
    ("influence analyze corelation runs/miniworld", "no analysis", "Did you mean correlation?", ANALYSE),
    (
        "influence analyze correlation runs/miniworld/hessian",
        "holds a Hessian, not",
        "influence runs",
        "influence runs",
    ),
    ("influence report runs/none", "holds no scores", "influence runs", "influence runs"),
    ("influence report runs/miniworld --out runs", "--out runs is a folder", "Name a .html", REPORT_JSON),
    (
        "influence verify runs/none",
        "holds no result",
        "influence runs",
        "influence verify runs/miniworld/hessian",
    ),
    ("influence doctor", "needs --model", "influence doctor --model MODEL", "influence doctor --model model"),
]


@pytest.mark.parametrize(("typed", "says", "advice", "then"), ERRORS, ids=[row[0] for row in ERRORS])
def test_the_next_step_works(place: Path, typed: str, says: str, advice: str, then: str) -> None:
    failed = _typed(typed)
    text = failed.output + str(failed.exception)
    assert failed.exit_code != 0
    assert says in text
    assert advice in text
    followed = _typed(then)
    assert followed.exit_code == 0, followed.output + str(followed.exception)
