"""Corpora in the forms that people have, through the command line: what is read, and what a user is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner
from tiny import tiny_model

from influence.analysis.documents import columns_of
from influence.cli.main import cli
from influence.data.corpus import read_corpus
from influence.errors import InputError
from influence.store.documents import DocumentTable
from influence.store.scores import open_scores

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


def score(
    model: Path, corpus: Path | str, out: Path, *more: str, given: bytes | None = None
) -> DocumentTable:
    """The documents that `influence score` stores; `given` is its standard input, `said(out)` what it printed."""
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
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False, input=given)
    assert result.exit_code == 0, result.output
    (out / "said").write_text(result.output)
    return DocumentTable(out)


def said(out: Path) -> str:
    """What a run of `score` printed."""
    return (out / "said").read_text()


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
        ("x.jsonl", b"null\n", ["--skip-bad"], "has no documents"),
        ("x.txt", b"\xff\n", [], "x.txt:1 is not UTF-8"),
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


BROKEN = b"".join(
    (
        b'{"id": "a", "text": "ab"}\n',
        b"{oops\n",
        b"null\n",
        b'{"text": null}\n',
        b'{"text": "\xff"}\n',
        b'{"text": ""}\n',
        b'{"id": "b", "text": "cd"}\n',
    )
)


@pytest.mark.parametrize(
    ("name", "data", "bad", "first"),
    [
        ("x.jsonl", BROKEN, 4, "x.jsonl:2 is not JSON."),
        (
            "x.json",
            b'[{"id": "a", "text": "ab"}, 1, {"id": "b", "text": "cd"}]',
            1,
            "x.json:item 1 is not a JSON object.",
        ),
        ("x.csv", b'id,text\na,ab\nc,\xff\nd,x,y\ne,"f"g\nb,cd\n', 3, "x.csv:3 is not UTF-8."),
        ("x.txt", b"ab\n\xff\n\ncd\n", 1, "x.txt:2 is not UTF-8."),
        ("t/a.txt", b"\xff", 1, "a.txt:1 is not UTF-8."),
    ],
)
def test_bad_records_are_left_out_counted_and_named(
    model: Path, tmp_path: Path, name: str, data: bytes, bad: int, first: str
) -> None:
    path = write(tmp_path / name, data)
    if name == "t/a.txt":
        path = path.parent
        write(path / "b.txt", b"cd")
    assert first in refusal(model, path, tmp_path) + "."
    table = score(model, path, tmp_path / "out", "--skip-bad")
    texts = ["cd"] if name == "t/a.txt" else ["ab", "cd"]
    assert [table.text(n) for n in range(len(table))] == texts
    output = said(tmp_path / "out")
    assert f"Left out {bad} bad record" in output
    assert first in output
    assert output.count("Left out") == 1
    assert f"{bad} bad records left out (--skip-bad)" in output
    assert ("And 1 more" in output) == (bad == 4)


def test_a_value_of_a_parquet_file_that_cannot_be_read_is_named_by_row_and_column(
    model: Path, tmp_path: Path
) -> None:
    text = pa.array(["ab", "cd", "ef"])
    offsets = text.buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"ab\xffdef")])
    pq.write_table(pa.table({"text": broken}), tmp_path / "x.parquet")
    message = refusal(model, tmp_path / "x.parquet", tmp_path)
    assert "x.parquet:row 1 has a value in the column 'text' that cannot be read" in message
    table = score(model, tmp_path / "x.parquet", tmp_path / "out", "--skip-bad")
    assert table.ids.tolist() == ["x-0", "x-2"]


def test_standard_input_is_read_as_often_as_it_takes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert score(model, "-", tmp_path / "out", given=LINES).ids.tolist() == ["a", "b"]
    with pytest.raises(InputError, match="standard input:1 is not JSON"):
        score(model, "-", tmp_path / "broken", given=b"{")
    monkeypatch.setattr("influence.data.sources.MOST_INPUT_BYTES", 8)
    with pytest.raises(InputError, match="Standard input has more than"):
        score(model, "-", tmp_path / "large", given=LINES)


def test_folders_name_fields(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "c/source=web/lang=d%C3%A9/x.jsonl", b'{"id": "a", "text": "ab"}\n')
    write(tmp_path / "c/source=books/x.jsonl", b'{"id": "b", "text": "cd", "source": "own"}\n')
    write(tmp_path / "t/source=web/x.txt", b"ab")
    table = score(model, tmp_path / "c", tmp_path / "out")
    assert table.sources.tolist() == ["own", "web"]
    assert table.metadata(1) == {"lang": "dé"}
    assert score(model, tmp_path / "t", tmp_path / "texts").sources.tolist() == ["web"]


def test_what_json_cannot_hold_is_left_out_and_counted(model: Path, tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(150):
        deep = [deep]
    records = [
        {"text": "ab", "image": {"bytes": b"\x00"}, "year": 3},
        {"text": "cd", "image": {"bytes": b"\x01"}},
    ]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "x.parquet")
    table = score(model, tmp_path / "x.parquet", tmp_path / "out")
    assert table.metadata(0) == {"year": 3}
    assert "that JSON cannot hold: image of 2 records" in said(tmp_path / "out")
    assert "2 fields left out that JSON cannot hold" in said(tmp_path / "out")
    assert (
        next(
            iter(read_corpus(write(tmp_path / "d.jsonl", json.dumps({"text": "a", "x": deep}).encode())))
        ).metadata
        == {}
    )


def test_a_list_of_texts(model: Path, tmp_path: Path) -> None:
    table = score(model, write(tmp_path / "x.TXT.gz", gzip.compress(b"ab\r\n\n cd\n")), tmp_path / "out")
    assert table.ids.tolist() == ["x-0", "x-1"]
    assert [table.text(n) for n in range(2)] == ["ab", " cd"]


def test_a_split_of_a_saved_dataset_is_honoured_or_refused(model: Path, tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list(RECORDS)
    rows.save_to_disk(str(tmp_path / "one"))
    assert "has no split 'test'" in refusal(model, tmp_path / "one", tmp_path, "--split", "test")
    both = datasets.DatasetDict({"train": rows, "test": rows.select([1])})
    both.save_to_disk(str(tmp_path / "both"))
    table = score(model, tmp_path / "both", tmp_path / "out", "--split", "test")
    assert table.ids.tolist() == ["b"]


def test_windows_and_ids_that_look_like_theirs_do_not_collide(model: Path, tmp_path: Path) -> None:
    records = [{"id": "a", "text": "abcdefgh"}, {"id": "a#0", "text": "ij"}, {"id": "b", "text": "kl"}]
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    table = score(
        model, write(tmp_path / "x.jsonl", data), tmp_path / "out", "--windows", "--max-length", "5"
    )
    assert table.ids.tolist() == ["a#0", "a#1", "a#0#0", "b"]
    scores = open_scores(tmp_path / "out")
    assert columns_of(scores, {"a", "a#0", "b"}) == {"a": [0, 1], "a#0": [0, 2], "b": [3]}


def test_data_files_of_a_folder_that_are_not_read_are_named(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "c/x.jsonl", LINES)
    write(tmp_path / "c/more.csv", TABLE)
    for name in ("dataset_infos.json", "README.md", "LICENSE", "load.py", ".hidden.csv"):
        write(tmp_path / "c" / name, b"{}")
    score(model, tmp_path / "c", tmp_path / "out")
    assert f"Not read, beside x.jsonl of {tmp_path / 'c'}: more.csv\n" in said(tmp_path / "out")
    write(tmp_path / "t/a.txt", b"ab")
    for name in ("a.pdf", "b.pdf", "c.warc.gz", "d.html"):
        write(tmp_path / "t" / name, b"")
    score(model, tmp_path / "t", tmp_path / "texts")
    assert "a.pdf, b.pdf, c.warc.gz and 1 more" in said(tmp_path / "texts")


def test_null_columns_of_a_table_of_queries_are_no_values(model: Path, tmp_path: Path) -> None:
    record = {"prompt": "a", "completion": "b", "messages": [], "text": None, "gold": None, "answer": None}
    path = write(tmp_path / "q.jsonl", json.dumps(record).encode())
    score(model, write(tmp_path / "x.jsonl", LINES), tmp_path / "out", "--queries", str(path))
    assert open_scores(tmp_path / "out").queries[0].prompt == "a"
