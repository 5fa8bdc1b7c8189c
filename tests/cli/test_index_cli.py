"""`influence index` as typed: build, search by a prompt and by a file, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from inputs import WRITER, Inputs
from program import Result, Server

from influence.store.scores import open_scores


@pytest.fixture(scope="module")
def made(program: Server, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Hessian and an index."""
    folder = tmp_path_factory.mktemp("indexed")
    fitted = program.run(*inputs.fit(folder / "hessian"))
    assert fitted.exit_code == 0, fitted.stderr
    built = program.run(*build(inputs, folder / "hessian", folder / "index"))
    assert built.exit_code == 0, built.stderr
    assert "200 documents, " in built.stdout
    assert re.search(r"Index of 200 documents, [\d,]+ numbers and [\d,]+ bytes each", built.stdout)
    return folder / "hessian", folder / "index"


def build(inputs: Inputs, hessian: Path, out: Path, *more: str) -> list[str]:
    given = ["--model", inputs.model, "--hessian", hessian, "--corpus", inputs.corpus, "--out", out]
    return ["index", "build", *map(str, given), "--bytes", "1024", "--device", "cpu", *more]


def refused(result: Result, code: int, text: str) -> None:
    assert result.exit_code == code, result.stderr
    assert "Traceback" not in result.stderr
    assert text in result.stderr


def test_a_prompt_finds_documents_and_leaves_a_store(
    program: Server, made: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "asked"
    asked = ["--query", "abc", "--completion", "def", "--best", "10%", "--k", 4, "--device", "cpu"]
    done = program.run("index", "search", made[1], *asked, "--out", out)
    assert done.exit_code == 0, done.stderr
    scores = open_scores(out)
    assert (scores.queries[0].prompt, scores.queries[0].completion) == ("abc", "def")
    assert scores.queries[0].group == "other"  # nobody said that it asks for a fact
    assert scores.manifest["provenance"]["completions_by"] is None
    assert scores.documents_scored == 20
    assert np.isnan(scores.dot).sum() == 180
    for column in ("rank", "document", "source", "estimated", "normed", "dot", "snippet"):
        assert column in done.stdout.splitlines()[1]
    assert (
        re.findall(r"\b(d\d+)\s+(?:wiki|code)\b", done.stdout)
        == scores.top("asked", k=4)["document"].tolist()
    )
    assert "20 of 200 documents scored" in done.stdout
    shown = program.run("top", out, "asked", "--k", 3)
    assert shown.exit_code == 0, shown.stderr
    page = program.run("report", out, "--out", tmp_path / "r.html")
    assert page.exit_code == 0, page.stderr
    tables = program.run("analyze", "concentration", out)
    assert tables.exit_code == 0, tables.stderr


def test_without_a_completion_the_model_answers(
    program: Server, made: tuple[Path, Path], tmp_path: Path
) -> None:
    done = program.run(
        "index", "search", made[1], "--query", "12", "--out", tmp_path / "a", "--device", "cpu"
    )
    if done.exit_code:  # a random model may say nothing but its own end
        refused(done, 2, "says nothing to this prompt")
    else:
        scores = open_scores(tmp_path / "a")
        assert scores.queries[0].completion
        made_by = scores.manifest["provenance"]
        assert made_by["completions_by"] == made_by["model_name"]


def test_a_query_file_with_other_places_named(
    program: Server, inputs: Inputs, made: tuple[Path, Path], tmp_path: Path
) -> None:
    given = ["--queries", inputs.queries, "--model", inputs.model, "--hessian", made[0], "--device", "cpu"]
    done = program.run("index", "search", made[1], *given, "--out", tmp_path / "a", "--by", "dot")
    assert done.exit_code == 0, done.stderr
    scores = open_scores(tmp_path / "a")
    assert [query.id for query in scores.queries] == ["q0", "q1", "q2"]
    assert scores.manifest["provenance"]["completions_by"] == WRITER
    assert scores.documents_scored == 4  # 2 % of 200
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["config"]["index"]["by"] == "dot"
    assert manifest["provenance"]["command"].startswith("influence index search")


def test_what_is_refused(program: Server, inputs: Inputs, made: tuple[Path, Path], tmp_path: Path) -> None:
    hessian, folder = made
    search = ["index", "search", folder, "--out", tmp_path / "a"]
    refused(program.run(*search), 2, "Give either --query or --queries")
    refused(program.run(*search, "--query", "a", "--queries", inputs.queries), 2, "Give either")
    refused(program.run(*search, "--queries", inputs.queries, "--completion", "a"), 2, "belongs to --query")
    refused(program.run(*search, "--query", "a", "--best", "200%"), 2, "no part of a corpus")
    refused(program.run(*search, "--query", "a", "--hessian", "identity"), 3, "another hessian")
    refused(
        program.run("index", "search", hessian, "--query", "a", "--out", tmp_path / "b"), 3, "not an index"
    )
    refused(
        program.run(*build(inputs, hessian, tmp_path / "i", "--bytes", "70000")), 2, "at most 65,536 bytes"
    )
    corpus = tmp_path / "changed.jsonl"
    corpus.write_text(inputs.corpus.read_text().replace('"d7"', '"d7000"'))
    changed = build(inputs, hessian, folder)
    changed[changed.index(str(inputs.corpus))] = str(corpus)
    refused(program.run(*changed), 3, "The corpus changed since the index")
