"""Files from anywhere: whatever they hold, reading them ends, in a result or in an error that a user can act on.

No traceback (only `InfluenceError`), no hang, no file outside the output folder, no code executed.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stores import write_scores
from texts import random_documents

import influence.data.packed as packed_module
from influence.cli.main import cli
from influence.data.corpus import read_corpus
from influence.data.queries import read_queries
from influence.errors import InfluenceError, InputError, StoreError
from influence.store.artefact import add_files, claim, read_manifest
from influence.store.documents import write_documents
from influence.store.scores import open_scores
from influence.store.token_scores import open_token_scores
from influence.types import Document

#: Texts that break readers, beside those that hypothesis finds.
HOSTILE = [
    "../../../../tmp/x",
    "a\0b",
    "\ud800",
    "\x1b]0;owned\x07",
    "=cmd|' /C calc'!A0",
    "<script>",
    "x" * 5000,
    "",
]
Text = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=()), max_size=12)
Scalar = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.sampled_from([10**400, -1, 1 << 64])
    | Text
)
Value = st.recursive(
    Scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(Text, inner, max_size=3),
    max_leaves=6,
)
Bytes = st.binary(max_size=60)
Quick = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def tried(call: Callable[[], Any]) -> Any:
    """What it gives, or the error a user can act on; any other error fails the test."""
    try:
        return call()
    except InfluenceError as error:
        return error


def record(fields: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, mostly texts, and others."""
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(fields, Text | Value))
    return st.builds(lambda a, b: a | b, known, st.dictionaries(Text, Value, max_size=1))


def lines(records: list[Any]) -> bytes:
    return "\n".join(json.dumps(record) for record in records).encode()


# -- queries


@Quick
@given(data=Bytes | st.lists(Value, max_size=3).map(lines))
@example(b"[" * 100_000)
@example(b'{"id": ' + b"1" * 5000 + b"}")
@example(b"\xef\xbb\xbf\xff\xfe")
def test_queries_of_any_bytes(folder: Path, data: bytes) -> None:
    (folder / "q.jsonl").write_bytes(data)
    tried(lambda: read_queries(folder / "q.jsonl"))


_QUERY = ["id", "task", "group", "prompt", "completion", "answer", "steps", "keywords", "correct", "gold"]


@Quick
@given(
    records=st.lists(
        st.builds(
            lambda a, b: {
                "id": "x",
                "task": "t",
                "group": "control",
                "prompt": "p",
                "completion": "c",
                **a,
                **b,
            },
            record(_QUERY),
            st.fixed_dictionaries({}, optional={"steps": st.lists(record(["text", "keywords"]), max_size=2)}),
        ),
        max_size=2,
    )
)
def test_queries_of_any_fields(folder: Path, records: list[Any]) -> None:
    (folder / "q.jsonl").write_bytes(lines(records))
    found = tried(lambda: read_queries(folder / "q.jsonl"))
    if isinstance(found, list):
        assert len(found) == len(records)
        json.dumps([query.id for query in found]).encode()


# -- corpora


def packed(data: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(data)
    return zstandard.compress(data) if suffix == ".zst" else data


@Quick
@given(
    data=Bytes | st.lists(Value, max_size=3).map(lines),
    suffix=st.sampled_from(["", ".gz", ".zst"]),
    pack=st.booleans(),
)
@example(b"{" * 100_000, "", False)
@example(b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "", False)
@example(b"", ".zst", False)
@example(b"\x28\xb5\x2f\xfd", ".zst", False)
@example(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", ".gz", False)
def test_corpora_of_any_bytes(folder: Path, data: bytes, suffix: str, pack: bool) -> None:
    path = folder / f"c.jsonl{suffix}"
    path.write_bytes(packed(data, suffix) if pack else data)
    tried(lambda: list(read_corpus(path)))


@Quick
@given(records=st.lists(record(["id", "text", "source"]), min_size=1, max_size=3))
def test_documents_of_any_fields_can_be_stored(folder: Path, records: list[Any]) -> None:
    path, out = folder / "fields.jsonl", folder / "stored"
    out.mkdir(exist_ok=True)
    path.write_bytes(lines(records))
    found = tried(lambda: list(read_corpus(path)))
    if isinstance(found, list):
        write_documents(out, ((document, [1, 2]) for document in found))


@Quick
@given(data=Bytes, at=st.integers(0, 900))
def test_parquet_with_other_bytes_in_it(folder: Path, data: bytes, at: int) -> None:
    path = folder / "c.parquet"
    table = pa.table({"text": ["a", "b"], "id": ["x", "y"], "n": [1, 2]})
    pq.write_table(table, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + data + whole[at + len(data) :])
    tried(lambda: list(read_corpus(path)))


@pytest.mark.parametrize(
    "array",
    [
        pa.array([b"\xff\xfe"], pa.binary()).view(pa.string()),
        pa.array([1 << 62], pa.timestamp("us")),
        pa.array([1 << 62], pa.duration("s")),
        pa.array([float("nan")]),
        pa.array([b"\x00"], pa.binary()),
    ],
)
def test_parquet_values_that_python_cannot_hold(tmp_path: Path, array: Any) -> None:
    pq.write_table(pa.table({"text": ["a"], "x": array}), tmp_path / "c.parquet")
    tried(lambda: list(read_corpus(tmp_path / "c.parquet")))
    pq.write_table(pa.table({"text": array}), tmp_path / "c.parquet")
    tried(lambda: list(read_corpus(tmp_path / "c.parquet")))


def test_a_record_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_module, "MOST_RECORD_BYTES", 1 << 16)
    for suffix in ("", ".gz", ".zst"):
        path = tmp_path / f"c.jsonl{suffix}"
        path.write_bytes(packed(b'{"text": "' + os.urandom(1 << 16).hex().encode() + b'"}', suffix))
        with pytest.raises(InputError, match="has a record of more than"):
            list(read_corpus(path))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes(b"a" * (1 << 17))
    with pytest.raises(InputError, match="has a record of more than"):
        list(read_corpus(tmp_path / "texts"))


@pytest.mark.parametrize("content", [b"\n", b'{"text": "abc"}\n', b" "])
def test_a_bomb_is_refused_soon_and_with_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(packed_module, "MOST_RECORD_BYTES", 1 << 16)
    monkeypatch.setattr(packed_module, "MOST_EXPANSION", 10)
    path = tmp_path / "c.jsonl.zst"
    block = content * ((1 << 20) // len(content))
    with path.open("wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file) as archive:
        for _ in range(256):
            archive.write(block)
    assert path.stat().st_size < 100_000
    largest = 0
    decompress = packed_module._ZstdFile._decompress

    def watched(self: Any, compressed: bytes) -> bytes:
        nonlocal largest
        data = decompress(self, compressed)
        largest = max(largest, len(data))
        return data

    monkeypatch.setattr(packed_module._ZstdFile, "_decompress", watched)
    with pytest.raises(InputError, match=r"expands to more than|has a record of more than"):
        for _ in read_corpus(path):
            pass
    assert largest <= 33 << 20


@pytest.mark.parametrize(
    "source", ["~nobody-of-that-name/x.jsonl", "\0", "a\0.jsonl", "/dev/null", "/dev/zero", "x" * 5000, ""]
)
def test_names_of_files_that_are_none(source: str) -> None:
    assert isinstance(tried(lambda: list(read_corpus(source))), InputError)
    assert isinstance(tried(lambda: read_queries(source)), InputError)


@pytest.mark.parametrize("out", ["/proc/nothing", "/dev/null/x"])
def test_an_output_that_cannot_be_written(store: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    from influence.cli.main import main

    monkeypatch.setattr("sys.argv", ["influence", "top", str(store), "--parquet", out])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2


# -- stores


def look(folder: Path) -> None:
    """Touch everything that a score store holds."""
    scores = open_scores(folder)
    for query in scores.queries:
        scores.top(query.id, k=3)
        scores.top(query.id, k=3, by="dot", bottom=True)
    documents = scores.documents
    for index in range(len(documents)):
        documents.metadata(index), documents.tokens(index), documents.snippet(index)
    documents.ids, documents.sources, documents.lengths, scores.per_nat, scores.normed  # noqa: B018


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    made = tmp_path_factory.mktemp("store") / "run"
    write_scores(made, rng.normal(size=(2, 4)).astype(np.float32))
    return made


STORED = ["manifest.json", "queries.json", "documents.arrow", "scores.safetensors"]


@Quick
@given(name=st.sampled_from(STORED), data=Bytes, at=st.floats(0, 1), cut=st.booleans())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_stores_with_other_bytes_in_them(
    store: Path, folder: Path, name: str, data: bytes, at: float, cut: bool
) -> None:
    out = folder / "bytes"
    shutil.copytree(store, out, dirs_exist_ok=True)
    whole = (store / name).read_bytes()
    place = int(at * len(whole))
    rest = b"" if cut else whole[place + len(data) :]
    (out / name).write_bytes(whole[:place] + data + rest)
    tried(lambda: look(out))


@Quick
@given(value=Value | record(["kind", "status", "config", "provenance", "files"]))
@example(
    {"kind": "scores", "status": "complete", "config": {}, "files": {"../x": {"bytes": 1, "sha256": "a"}}}
)
@example(
    {
        "kind": "scores",
        "status": "complete",
        "config": {},
        "files": {"/etc/passwd": {"bytes": 1, "sha256": "a"}},
    }
)
def test_any_manifest(folder: Path, value: Any) -> None:
    out = folder / "manifest"
    out.mkdir(exist_ok=True)
    (out / "manifest.json").write_bytes(json.dumps(value).encode())
    for call in (
        lambda: read_manifest(out),
        lambda: open_scores(out),
        lambda: claim(out, "scores", {"a": 1}),
    ):
        tried(call)


@Quick
@given(value=st.lists(record(_QUERY), max_size=2) | Value)
def test_any_stored_queries(store: Path, folder: Path, value: Any) -> None:
    out = folder / "queries"
    shutil.copytree(store, out, dirs_exist_ok=True)
    (out / "queries.json").write_bytes(json.dumps(value).encode())
    assert isinstance(tried(lambda: look(out)), StoreError)


Entry = record(["dtype", "shape", "data_offsets"]) | st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "I64", "U8", "X"]),
        "shape": st.lists(st.integers(-2, 5) | st.just(1 << 62), max_size=3),
        "data_offsets": st.lists(st.integers(-9, 99) | st.just(1 << 62), max_size=2),
    }
)


@Quick
@given(
    header=st.dictionaries(st.sampled_from(["dot", "gradient_norm", "query_nll", "__metadata__"]), Entry)
    | Value
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_header_of_arrays(store: Path, folder: Path, header: Any) -> None:
    out = folder / "header"
    shutil.copytree(store, out, dirs_exist_ok=True)
    text = json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text + bytes(64)
    for name in ("scores.safetensors", "token_scores.safetensors"):
        (out / name).write_bytes(data)
    tried(lambda: look(out))
    shutil.copy(store / "scores.safetensors", out)
    add_files(out, "token_scores.safetensors")  # whoever can change a file can change its checksum
    tried(lambda: open_token_scores(open_scores(out)))


@pytest.mark.parametrize("name", STORED)
def test_files_that_are_folders(store: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(store, out)
    (out / name).unlink()
    (out / name).mkdir()
    assert isinstance(tried(lambda: look(out)), StoreError)


def test_offsets_that_point_outside_a_file(tmp_path: Path) -> None:
    """Arrow reads other memory where nobody looks at the offsets first."""
    out = tmp_path / "run"
    write_scores(out, np.ones((1, 3), np.float32))
    path = out / "documents.arrow"
    whole = path.read_bytes()
    offsets = struct.pack("<4i", 0, 5, 10, 15)
    assert whole.count(offsets) >= 1  # of the ids doc-0 to doc-2
    path.write_bytes(whole.replace(offsets, struct.pack("<4i", 0, 5, 10, 1 << 30)))
    with pytest.raises(StoreError, match="damaged"):
        look(out)


# -- what is shown, and where it is written


def test_what_is_printed_controls_no_terminal(tmp_path: Path) -> None:
    bad = "a\x1b]0;owned\x07\x9b31m\u202eb"
    documents = [Document(bad, f"text {bad}", bad), *random_documents(2)]
    run = tmp_path / "run"
    write_scores(run, np.ones((1, 3), np.float32), documents=documents)
    shown = CliRunner().invoke(cli, ["top", str(run), "slopes-00"])
    assert shown.exit_code == 0, shown.output
    assert "owned" in shown.output
    assert not set(shown.output) & set("\x1b\x07\x9b\u202e")


def test_ids_name_no_files(tmp_path: Path) -> None:
    """Everything lands in the output folder, whatever the ids say."""
    hostile = ["../../evil", "/tmp/evil", "a/b", "..", "CON", "a\0b", "x" * 300]
    documents = [Document(name, "some text of a document", name) for name in hostile]
    run = tmp_path / "in" / "run"
    from stores import make_query

    queries = [make_query(n, id=name, task=name) for n, name in enumerate(hostile)]
    write_scores(run, np.random.default_rng(0).normal(size=(7, 7)), documents=documents, queries=queries)
    for command in (
        ["analyze", "concentration", str(run)],
        ["analyze", "reuse", str(run)],
        ["report", str(run), "--out", str(tmp_path / "in" / "r.html")],
        ["top", str(run), "--parquet", str(tmp_path / "in" / "all.parquet")],
    ):
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0 or isinstance(result.exception, InfluenceError), result.output
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["all.parquet", "r.html", "run"]


# -- other files that a command reads


@Quick
@given(
    data=Bytes
    | st.lists(record(["question", "answer", "prompt", "completion", "id"]) | Value, max_size=2).map(lines),
    name=st.sampled_from(["x.jsonl", "x.json", "x.csv", "x.txt"]),
)
def test_examples_and_items_of_any_bytes(folder: Path, data: bytes, name: str) -> None:
    from influence.data.examples import read_examples
    from influence.data.tasks.folder import read_examples as read_chains
    from influence.data.tasks.makers.gsm8k import read_gsm8k
    from influence.data.tasks.records import read_records

    path = folder / name
    path.write_bytes(data)
    for read in (read_chains, read_examples, read_gsm8k, read_records):
        tried(lambda read=read: list(read(path)))  # type: ignore[misc]


@Quick
@given(files=st.dictionaries(st.sampled_from(["train.txt", "valid.jsonl", "test.txt", "task.json"]), Bytes))
def test_tasks_of_any_bytes(folder: Path, files: dict[str, bytes]) -> None:
    from influence.data.tasks.folder import read_task

    task = folder / "task"
    shutil.rmtree(task, ignore_errors=True)
    task.mkdir()
    for name, data in files.items():
        (task / name).write_bytes(data)
    tried(lambda: read_task(task))


@Quick
@given(value=Value | st.lists(record(["name", "model", "revision", "hessian", "shared"]), max_size=2))
@example([{"name": "../../../etc", "model": "m"}])
def test_stages_of_any_fields(folder: Path, value: Any) -> None:
    from influence.store.checkpoints import KIND, open_checkpoints, read_checkpoints

    stages = folder / "stages"
    stages.mkdir(exist_ok=True)
    (stages / "manifest.json").write_text(json.dumps({"kind": KIND, "status": "complete", "config": {}}))
    (stages / "stages.json").write_bytes(json.dumps(value).encode())
    found = tried(lambda: read_checkpoints(stages))
    assert isinstance(found, StoreError) or all(".." not in stage.name for stage in found)
    tried(lambda: open_checkpoints(stages))
