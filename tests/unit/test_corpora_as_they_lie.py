"""Corpora in the forms that people have, through the command line: what is read, and what a user is told."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner
from tiny import tiny_model

from influence.cli.main import cli
from influence.data.corpus import read_corpus
from influence.errors import InputError
from influence.store.documents import DocumentTable

RECORDS = [{"id": "a", "text": "ab, c", "source": "x"}, {"id": "b", "text": 'c "d"\ne', "source": "y"}]
LIST = json.dumps(RECORDS, indent=1).encode()
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
TABS = b'id\ttext\tsource\na\t"ab, c"\tx\nb\t"c ""d""\ne"\ty\n'
TABLE = b'\xef\xbb\xbfid,text,source\na,"ab, c",x\nb,"c ""d""\ne",y\n'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    model = tiny_model("llama")
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    (folder / "q.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    return folder


def score(model: Path, corpus: Path | str, out: Path, *more: str) -> DocumentTable:
    """The documents that `influence score` stores."""
    run = [
        "score",
        "--model",
        model,
        "--hessian",
        "identity",
        "--queries",
        model / "q.jsonl",
        "--device",
        "cpu",
    ]
    arguments = [str(part) for part in (*run, "--corpus", corpus, "--out", out, *more)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return DocumentTable(out)


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.json", LIST),
        ("x.json", LINES),
        ("x.JSON.GZ", gzip.compress(LIST, mtime=0)),
        ("x.ndjson", LINES),
        ("X.JsonL", LINES),
        ("x.csv", TABLE),
        ("x.CSV.zst", zstandard.compress(TABLE)),
        ("x.tsv", TABS),
    ],
)  # fmt: skip
def test_files_of_every_form_hold_the_same_documents(
    model: Path, tmp_path: Path, name: str, data: bytes
) -> None:
    table = score(model, write(tmp_path / name, data), tmp_path / "out")
    assert table.ids.tolist() == ["a", "b"]
    assert [table.text(n) for n in range(2)] == ["ab, c", 'c "d"\ne']
    assert table.sources.tolist() == ["x", "y"]


def refusal(model: Path, corpus: Path | str, tmp_path: Path, *more: str) -> str:
    with pytest.raises(InputError) as error:
        score(model, corpus, tmp_path / "out", *more)
    assert error.value.fix
    return error.value.message


@pytest.mark.parametrize(
    ("name", "data", "more", "message"),
    [
        ("x.csv", b"id,text\na,b,c\n", [], "x.csv:2 has more cells than the first line has names"),
        ("x.csv", b'id,text\na,"b"c\n', [], "is not CSV"),
        ("x.csv", b"id,text\na,\xff\n", [], "x.csv:2 is not UTF-8"),
        ("x.json", b"[1]", [], "x.json:item 0 is not a JSON object"),
        ("x.json", b'[{"text": "a"}', [], "x.json is not JSON"),
        ("x.jsonl", LINES, ["--split", "test"], "has no splits"),
        ("x.jsonl", LINES, ["--source-field", "domain"], "No record of the corpus"),
        ("x.jsonl", LINES, ["--id-field", "meta.key"], "has a field 'meta.key'"),
    ],
)
def test_what_a_user_is_told(
    model: Path, tmp_path: Path, name: str, data: bytes, more: list[str], message: str
) -> None:
    assert message in refusal(model, write(tmp_path / name, data), tmp_path, *more)


def test_an_empty_name_is_not_the_working_folder(model: Path, tmp_path: Path) -> None:
    assert "The name of the corpus is empty" in refusal(model, "", tmp_path)


def test_a_long_window_is_named_as_the_reason(model: Path, tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=28, write_content_size=False)
    packed = zstandard.ZstdCompressor(compression_params=parameters)
    stream = packed.compressobj()
    data = stream.compress(LINES) + stream.flush()
    message = refusal(model, write(tmp_path / "x.jsonl.zst", data), tmp_path)
    assert "window of more than 128 MiB" in message


def test_fields_may_be_nested_and_labels_numbers(model: Path, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"doc": {"key": 7.0, "body": "ab"}, "label": 3},
        {"doc": {"key": 8.0, "body": "cd"}, "label": 0.5},
    ]
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    fields = ["--text-field", "doc.body", "--id-field", "doc.key", "--source-field", "label"]
    table = score(model, write(tmp_path / "x.jsonl", data), tmp_path / "out", *fields)
    assert table.ids.tolist() == ["7", "8"]
    assert table.sources.tolist() == ["3", "0.5"]


def test_data_files_of_a_folder_that_are_not_read_are_named(tmp_path: Path) -> None:
    write(tmp_path / "corpus/x.jsonl", LINES)
    write(tmp_path / "corpus/more.csv", TABLE)
    write(tmp_path / "corpus/dataset_infos.json", b"{}")
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("influence.data.corpus")
    logger.addHandler(handler)
    try:
        assert len(list(read_corpus(tmp_path / "corpus"))) == 2
    finally:
        logger.removeHandler(handler)
    assert logged == [f"Not read, beside x.jsonl of {tmp_path / 'corpus'}: more.csv"]
