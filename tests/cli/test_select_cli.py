"""`influence select`: records come out as they came in, by the sums, groups and ends that are asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from stores import CONFIG, make_query, write_scores
from tiny import tiny_model

from influence.analysis.selection import select
from influence.cli.main import cli
from influence.errors import InputError, StoreError
from influence.store.scores import Scores
from influence.types import Document

# queries a, b in one group, c in another; documents 0 to 4
DOT = np.array([[5.0, 1, 0, -4, 2], [0, 4, 0, -1, 3], [-9, 0, 7, 1, 0]])
NLL = np.array([1.0, 2.0, 1.0])
NORM = np.array([10.0, 1, 1, 1, 1])
QUERIES = [replace(make_query(n), group=group) for n, group in enumerate(("one", "one", "two"))]
RECORDS: list[dict[str, Any]] = [
    {"prompt": f"{n}+{n}=", "completion": f"{2 * n}", "topic": {"name": "sums"}, "odd": None}
    for n in range(5)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("select")
    (folder / "train.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    documents = [Document(f"train-{n}", f"{n}+{n}={2 * n}") for n in range(5)]
    write_scores(
        folder / "scores", DOT, query_nll=NLL, gradient_norm=NORM, queries=QUERIES, documents=documents
    )
    return folder


def run(folder: Path, out: Path, *more: str, corpus: str = "train.jsonl") -> list[dict[str, Any]]:
    arguments = ["select", str(folder / "scores"), "--corpus", str(folder / corpus), "--out", str(out), *more]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize(
    ("more", "chosen"),
    [
        (["--top", "2"], [2, 4]),  # per nat, summed: −4, 3, 7, −3.5, 3.5
        (["--top", "40%"], [2, 4]),
        (["--top", "1", "--bottom"], [0]),
        (["--top", "1", "--by", "dot", "--bottom"], [0]),
        (["--top", "1", "--per", "group"], [0, 2]),  # group one: 5, 3, 0, −4.5, 3.5
        (["--top", "1", "--per", "query"], [1, 2, 4]),  # normed: document 0 has a large gradient
        (["--top", "1", "--per", "query", "--by", "dot"], [0, 1, 2]),
        (["--threshold", "3.5"], [2, 4]),
        (["--threshold", "-3.5", "--bottom"], [0, 3]),
    ],
)  # fmt: skip
def test_records_are_written_as_they_came_in(
    folder: Path, tmp_path: Path, more: list[str], chosen: list[int]
) -> None:
    assert run(folder, tmp_path / "chosen.jsonl", *more) == [RECORDS[n] for n in chosen]
    others = [RECORDS[n] for n in range(5) if n not in chosen]
    assert run(folder, tmp_path / "others.jsonl", *more, "--rest") == others


def test_a_document_is_chosen_by_any_of_its_windows(folder: Path, tmp_path: Path) -> None:
    documents = [Document(name, text) for name, text in (("a#0", "1+1"), ("a#1", "=2"), ("a#0#0", "x"))]
    (tmp_path / "c.jsonl").write_text('{"id": "a", "text": "1+1=2"}\n{"id": "a#0", "text": "x"}\n')
    write_scores(tmp_path / "scores", [[0.0, 2, 1]], documents=documents, config={**CONFIG, "windows": True})
    assert run(tmp_path, tmp_path / "out.jsonl", "--top", "1", corpus="c.jsonl") == [
        {"id": "a", "text": "1+1=2"}
    ]


def test_sft_takes_what_is_selected(folder: Path, tmp_path: Path) -> None:
    model = tiny_model("llama")
    model.model.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    run(folder, tmp_path / "rest.jsonl", "--top", "2", "--rest")
    arguments = [
        "train",
        "sft",
        "--model",
        tmp_path / "model",
        "--data",
        tmp_path / "rest.jsonl",
        "--epochs",
        "1",
    ]
    CliRunner().invoke(cli, [*map(str, arguments), "--out", str(tmp_path / "tuned")], catch_exceptions=False)
    assert json.loads((tmp_path / "tuned/training.json").read_text())["examples"] == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "Choose by --top or by --threshold"),
        (["--top", "1", "--threshold", "1"], "Choose by --top or by --threshold"),
        (["--top", "6"], "--top is out of range"),
        (["--top", "0%"], "--top is out of range"),
        (["--threshold", "99"], "No document is chosen"),
        (["--threshold", "-99", "--rest"], "No document is left"),
    ],
)
def test_what_chooses_nothing_is_refused(folder: Path, tmp_path: Path, more: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(folder, tmp_path / "out.jsonl", *more)
    assert not (tmp_path / "out.jsonl").exists()


def test_another_corpus_is_refused(folder: Path, tmp_path: Path) -> None:
    for name, lines, message in (
        ("short.jsonl", RECORDS[:2], "is not in the corpus"),
        ("texts.jsonl", [{"text": "other", "id": f"train-{n}"} for n in range(5)], "has another text"),
    ):
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in lines))
        fields = ["--id-field", "id"]
        with pytest.raises(StoreError, match=message):
            run(folder, tmp_path / "out.jsonl", "--top", "2", *fields, corpus=name)


def test_documents_that_were_not_scored_are_never_chosen(tmp_path: Path) -> None:
    dot = np.array([[1.0, np.nan, -1.0]])
    store: Scores = write_scores(
        tmp_path, dot, gradient_norm=[1, np.nan, 1], config={**CONFIG, "index": {"k": 2}}
    )
    for settings in ({"top": 1}, {"top": 2}, {"threshold": -9.0}, {"top": 2, "bottom": True}):
        assert not select(store, **settings)[1]  # type: ignore[arg-type]
