"""`influence corpus miniworld`, as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from influence.cli.corpus import corpus
from influence.data.miniworld import generate, write_corpus
from influence.data.queries import read_queries


def influence(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "influence", *arguments], capture_output=True, text=True)


def test_writes_the_corpus_and_says_where(tmp_path: Path) -> None:
    out = tmp_path / "world"
    run = CliRunner().invoke(corpus, ["miniworld", "--documents", "200", "--seed", "4", "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert f"Wrote 200 documents (0.1 MB) to {out / 'documents.jsonl'}" in run.stdout
    assert "wiki                      36    18.0%" in run.stdout
    assert run.stderr == ""  # no terminal, and done within half a minute: no line of progress
    assert sorted(path.name for path in out.iterdir()) == ["documents.jsonl", "run.toml"]
    expected = write_corpus(generate(200, 4), tmp_path / "again")
    assert (out / "documents.jsonl").read_bytes() == expected.read_bytes()


def test_the_counts_it_prints_are_those_of_the_file(tmp_path: Path) -> None:
    run = CliRunner().invoke(corpus, ["miniworld", "--documents", "37", "--out", str(tmp_path)])
    lines = (tmp_path / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    sources = [json.loads(line)["source"] for line in lines]
    table = [line.split() for line in run.stdout.splitlines() if line.endswith("%")]
    assert {name: int(count) for name, count, _ in table} == {
        name: sources.count(name) for name, _, _ in table
    }
    assert sum(int(count) for _, count, _ in table) == 37


def test_bad_numbers_end_with_2_and_a_way_out(tmp_path: Path) -> None:
    run = influence("corpus", "miniworld", "--documents", "0", "--out", str(tmp_path / "x"))
    assert run.returncode == 2
    assert run.stderr == (
        "Error: The number of documents must be a whole number, 1 or more.\n  found: 0\n  next:  Give 1 or more.\n"
    )
    assert not (tmp_path / "x").exists()
    run = influence("corpus", "miniworld", "--documents", "5", "--seed", "-1", "--out", str(tmp_path / "x"))
    assert run.returncode == 2
    assert "The seed must be a whole number, 0 or more." in run.stderr
    run = influence("corpus", "miniworld", "--documents", "many", "--out", str(tmp_path / "x"))
    assert run.returncode == 2
    assert "'many' is not a valid integer" in run.stderr


def test_documents_already_there_end_with_2(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text("{}\n")
    run = influence("corpus", "miniworld", "--documents", "5", "--out", str(tmp_path))
    assert run.returncode == 2
    assert "holds documents already" in run.stderr
    assert "Traceback" not in run.stderr
    assert (tmp_path / "documents.jsonl").read_text() == "{}\n"


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from influence.cli.corpus import corpus\n"
        "corpus(['miniworld', '--help'], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "--documents" in run.stdout


def test_shares_forms_and_facts_are_settings(tmp_path: Path) -> None:
    run = influence(
        *("corpus", "miniworld", "--documents", "400", "--facts", "20", "--procedures", "0.5"),
        *("--shares", "wiki=0.5,stackexchange=0.5", "--forms", "prose=0.2,stackexchange=0.8"),
        *("--out", str(tmp_path / "world"), "--queries", str(tmp_path / "queries")),
    )
    assert run.returncode == 0, run.stderr
    lines = (tmp_path / "world" / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert Counter(record["source"] for record in records) == {"wiki": 200, "stackexchange": 200}
    forms = Counter(record["procedure_form"] for record in records)
    assert forms == {"": 200, "prose": 40, "stackexchange": 160}
    stated = Counter(fact for record in records for fact in record["facts"])
    assert sorted(stated.values()) == sorted([1, 2, 5, 20] * 4)
    for name in ("slopes", "arithmetic", "linear", "factual", "controls"):
        queries = read_queries(tmp_path / "queries" / f"{name}.jsonl")
        held = {identity for query in queries for identity in query.gold}
        assert held <= {record["id"] for record in records}
    assert f"Wrote the query sets of this corpus to {tmp_path / 'queries'}" in run.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shares", "wiki=0.5,code=0.4"], "The shares of the sources must sum to 1, and these sum to 0.9."),
        (["--shares", "wiki=0.5,books=0.5"], "There is no source 'books'."),
        (["--shares", "wiki"], "The shares of sources cannot be read."),
        (["--forms", "prose=2"], "The share of the form 'prose' must lie between 0 and 1."),
        (["--facts", "1000"], "More facts than documents:"),
        (["--procedures", "0.9"], "has no room for its procedure documents"),
    ],
)
def test_settings_that_do_not_fit_end_with_2_and_write_nothing(
    options: list[str], message: str, tmp_path: Path
) -> None:
    run = influence("corpus", "miniworld", "--documents", "1000", *options, "--out", str(tmp_path / "x"))
    assert run.returncode == 2
    assert message in run.stderr
    assert "  next:  " in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "x").exists()
