"""`read_corpus`: every format, every refusal."""

from __future__ import annotations

import gzip
import itertools
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from influence.data.corpus import Corpus, read_corpus
from influence.errors import InputError
from influence.types import Document

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "one", "source": "wiki", "year": 1999},
    {"id": "b", "text": "zwei\u2028ü\r\n", "source": "code", "year": 2001},
    {"id": "c", "text": "", "source": "code", "year": 2002},
]
DOCUMENTS = [Document(row["id"], row["text"], row["source"], {"year": row["year"]}) for row in ROWS]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def as_jsonl(folder: Path) -> Path:
    return write(folder / "x.jsonl", jsonl(ROWS))


def as_gzip(folder: Path) -> Path:
    return write(folder / "x.jsonl.gz", gzip.compress(jsonl(ROWS)))


def as_zstd(folder: Path) -> Path:
    """Two frames, as a concatenation of shards has."""
    frames = [zstandard.compress(jsonl(ROWS[:1])), zstandard.compress(jsonl(ROWS[1:]))]
    return write(folder / "x.jsonl.zst", b"".join(frames))


def as_parquet(folder: Path) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "x.parquet")
    return folder / "x.parquet"


def as_saved(folder: Path) -> Path:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def as_shards(folder: Path) -> Path:
    write(folder / "shards/part-1.jsonl", jsonl(ROWS[1:2]))
    write(folder / "shards/part-0.jsonl.gz", gzip.compress(jsonl(ROWS[:1])))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS[2:]), folder / "shards/part-2.parquet")
    write(folder / "shards/README.md", b"# A card, no document")
    write(folder / "shards/dataset_infos.json", b"{}")
    write(folder / "shards/.cache/old.jsonl", b"not JSON")
    return folder / "shards"


@pytest.mark.parametrize("make", [as_jsonl, as_gzip, as_zstd, as_parquet, as_saved, as_shards])
def test_every_format_gives_the_same_documents_twice(make: Callable[[Path], Path], tmp_path: Path) -> None:
    corpus = read_corpus(make(tmp_path))
    assert list(corpus) == DOCUMENTS
    assert list(corpus) == DOCUMENTS
    assert json.loads(json.dumps(corpus.describe()))["path"].startswith(str(tmp_path))


def test_a_dataset_and_a_stream_of_one() -> None:
    data = datasets.Dataset.from_list(ROWS)
    assert list(read_corpus(data)) == DOCUMENTS
    stream = read_corpus(data.to_iterable_dataset())
    assert list(stream) == DOCUMENTS
    assert list(stream) == DOCUMENTS
    assert list(read_corpus(data.with_format("numpy"))) == DOCUMENTS


def test_names_of_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", jsonl([{"key": 7, "body": "t", "domain": "d", "id": "kept"}]))
    corpus = read_corpus(path, text_field="body", id_field="key", source_field="domain")
    assert list(corpus) == [Document("7", "t", "d", {"id": "kept"})]
    assert corpus.describe()["fields"] == {"text": "body", "id": "key", "source": "domain"}


def test_rows_without_id_are_numbered_from_0_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl.gz", gzip.compress(b'{"text": "s"}\n\n{"text": "t", "id": null}'))
    assert [document.id for document in read_corpus(path)] == ["x-0", "x-1"]
    assert [document.source for document in read_corpus(path)] == ["unknown", "unknown"]


def test_shards_of_one_name_in_two_folders_get_different_ids(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "x.jsonl", b'{"text": "t"}')
    assert [document.id for document in read_corpus(tmp_path)] == ["a/x-0", "b/x-0"]


def test_a_folder_of_texts(tmp_path: Path) -> None:
    write(tmp_path / "wiki/deep/b.md", b"B")
    write(tmp_path / "a.txt", b"\xef\xbb\xbfA")
    write(tmp_path / "image.png", b"\xff")
    assert list(read_corpus(tmp_path)) == [Document("a.txt", "A"), Document("wiki/deep/b.md", "B", "wiki")]


def test_parquet_values_that_are_no_json(tmp_path: Path) -> None:
    import datetime
    import decimal

    row = {"text": "t", "on": datetime.date(2020, 1, 2), "cost": decimal.Decimal("1.50"), "nothing": None}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "x.parquet")
    (document,) = read_corpus(tmp_path / "x.parquet")
    assert document.metadata == {"on": "2020-01-02", "cost": "1.50"}
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"text": "t", "raw": b"\x00"}]), tmp_path / "x.parquet"
    )
    corpus = read_corpus(tmp_path / "x.parquet")
    assert [document.metadata for document in corpus] == [{}]
    assert corpus.unkept == {"raw": 1}


GOOD = b'{"id": "a", "text": "t"}\n'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD + b"{oops\n", "x.jsonl:2 is not JSON"),
        (GOOD + b'"text"\n', "x.jsonl:2 is not a JSON object"),
        (GOOD + b'{"text": "\xff"}\n', "x.jsonl:2 is not UTF-8"),
        (GOOD + b'{"body": "t"}\n', "x.jsonl:2 has no text in the field 'text'"),
        (GOOD + b'{"text": ["t"]}\n', "x.jsonl:2 has no text in the field 'text'"),
        (GOOD + b'{"text": null}\n', "x.jsonl:2 has no text in the field 'text'"),
        (GOOD + b'{"text": "\\ud800"}\n', "x.jsonl:2 has half a surrogate pair"),
        (GOOD + b'{"text": "t", "id": 1.5}\n', "x.jsonl:2 has an id"),
        (GOOD + b'{"text": "t", "id": true}\n', "x.jsonl:2 has an id"),
        (GOOD + b'{"text": "t", "id": ""}\n', "x.jsonl:2 has an id"),
        (GOOD + b'{"text": "t", "source": [3]}\n', "x.jsonl:2 has a source"),
        (b"[" * 100_000, "x.jsonl:1 is not JSON"),
        (b"\n\n", "has no documents"),
        (b"", "has no documents"),
    ],
)
def test_bad_lines_are_named(data: bytes, message: str, tmp_path: Path) -> None:
    corpus = read_corpus(write(tmp_path / "x.jsonl", data))
    with pytest.raises(InputError) as refusal:
        list(corpus)
    assert message in refusal.value.message
    assert refusal.value.fix


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    assert len(list(read_corpus(write(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + GOOD)))) == 1


def test_a_text_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"fine\n\xff")
    with pytest.raises(InputError, match=r"a\.txt:2 is not UTF-8"):
        list(read_corpus(tmp_path))


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst", "x.parquet"])
@pytest.mark.parametrize("damage", ["other", "cut"])
def test_damaged_archives(name: str, damage: str, tmp_path: Path) -> None:
    maker = {"x.jsonl.gz": as_gzip, "x.jsonl.zst": as_zstd, "x.parquet": as_parquet}[name]
    whole = maker(tmp_path).read_bytes()
    write(tmp_path / name, b"something else" if damage == "other" else whole[: len(whole) - 9])
    with pytest.raises(InputError, match="damaged"):
        list(read_corpus(tmp_path / name))


def test_a_duplicate_id_is_named_with_both_places(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", GOOD)
    write(tmp_path / "b.jsonl", b'{"text": "u"}\n' + GOOD)
    with pytest.raises(InputError, match="the id 'a'") as refusal:
        list(read_corpus(tmp_path))
    assert refusal.value.have == f"{tmp_path / 'a.jsonl'}:1 and {tmp_path / 'b.jsonl'}:2"


def test_a_collision_of_hashes_is_no_duplicate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blake2b(data: bytes, digest_size: int) -> Any:
        return types.SimpleNamespace(digest=lambda: b"same")

    monkeypatch.setattr("influence.data.records.hashlib.blake2b", blake2b)
    assert len(list(read_corpus(as_jsonl(tmp_path)))) == 3
    with pytest.raises(InputError, match="the id 'a'"):
        list(read_corpus(write(tmp_path / "x.jsonl", jsonl([*ROWS, ROWS[0]]))))


def test_a_corpus_is_read_as_a_stream(tmp_path: Path) -> None:
    """A bad last line is met only by who reads that far."""
    corpus = read_corpus(write(tmp_path / "x.jsonl", GOOD + b"{oops\n"))
    assert [document.id for document in itertools.islice(corpus, 1)] == ["a"]


@pytest.mark.parametrize(
    "source",
    ["missing.jsonl", "no/such/folder/x.jsonl", "data/missing.parquet", "a/b/c", "name with space/x"],
)
def test_a_missing_path_is_not_looked_up_on_the_hub(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match="There is no corpus at"):
        read_corpus(source)


def test_a_file_or_folder_of_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no corpus"):
        read_corpus(tmp_path)
    with pytest.raises(InputError, match="not a corpus file") as refusal:
        read_corpus(write(tmp_path / "model.pkl", b""))
    assert refusal.value.have == ".pkl"
    with pytest.raises(InputError, match="A corpus is a path"):
        read_corpus(3)  # type: ignore[arg-type]


def test_splits_of_a_saved_dataset(tmp_path: Path) -> None:
    splits = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    assert list(read_corpus(tmp_path / "saved", split="test")) == DOCUMENTS[:1]
    with pytest.raises(InputError, match="no split 'dev'") as refusal:
        read_corpus(tmp_path / "saved", split="dev")
    assert refusal.value.have == "splits train, test"


def test_a_damaged_saved_dataset(tmp_path: Path) -> None:
    write(tmp_path / "state.json", b"{}")
    with pytest.raises(InputError, match="cannot be opened"):
        read_corpus(tmp_path)


def hub(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]) -> list[Any]:
    asked: list[Any] = []

    def load_dataset(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return answer()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_a_hub_name_with_a_config_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, lambda: datasets.Dataset.from_list(ROWS).to_iterable_dataset())
    corpus = read_corpus("owner/name.v2:en", split="validation")
    assert list(corpus) == DOCUMENTS
    assert corpus.name == "owner/name.v2:en"
    assert asked == [(("owner/name.v2", "en"), {"split": "validation", "streaming": True})]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("Couldn't reach it"), "hub is unreachable"),
        (TimeoutError("slow"), "hub is unreachable"),
        (ValueError("Bad split: x"), "cannot be read"),
        (datasets.exceptions.DatasetNotFoundError("no such"), "cannot be read"),
    ],
)
def test_a_hub_that_does_not_answer(error: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise error

    hub(monkeypatch, fail)
    with pytest.raises(InputError, match=message) as refusal:
        read_corpus("owner/name")
    assert "local path" in (refusal.value.fix or "")


def test_a_hub_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> Any:
        yield ROWS[0]
        raise ConnectionError("lost")

    hub(monkeypatch, lambda: datasets.IterableDataset.from_generator(rows))
    with pytest.raises(InputError, match="hub is unreachable"):
        list(read_corpus("owner/name"))


def test_opening_a_file_imports_neither_torch_nor_datasets(tmp_path: Path) -> None:
    import subprocess

    path = as_jsonl(tmp_path)
    code = (
        "import sys; from influence.data.corpus import read_corpus; list(read_corpus(sys.argv[1]));"
        "sys.exit(any(name in sys.modules for name in ('torch', 'datasets', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


def test_repr_names_the_kind(tmp_path: Path) -> None:
    corpus = read_corpus(as_jsonl(tmp_path))
    assert isinstance(corpus, Corpus)
    assert "jsonl" in repr(corpus)


def test_a_zstd_file_of_many_chunks_and_frames(tmp_path: Path) -> None:
    """Frames end in the middle of chunks, chunks in the middle of frames."""
    rows = [
        {"id": str(i), "text": "".join(chr(32 + (i * j * j) % 90) for j in range(400))} for i in range(2000)
    ]
    frames = [zstandard.compress(jsonl(rows[i : i + 97])) for i in range(0, 2000, 97)]
    assert sum(map(len, frames)) > 4 * 2**14
    path = write(tmp_path / "x.jsonl.zst", b"".join(frames))
    assert [document.text for document in read_corpus(path)] == [row["text"] for row in rows]


@pytest.mark.parametrize("second", [5, 95, 99, 170])
def test_an_id_met_again_much_later_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: int
) -> None:
    monkeypatch.setattr("influence.data.records._RECENT", 8)
    rows = [{"id": f"d{n}", "text": "t"} for n in range(200)]
    assert len(list(read_corpus(write(tmp_path / "x.jsonl", jsonl(rows))))) == 200
    rows[second]["id"] = "d3"
    with pytest.raises(InputError, match="the id 'd3'") as refusal:
        list(read_corpus(write(tmp_path / "x.jsonl", jsonl(rows))))
    assert refusal.value.have == f"{tmp_path / 'x.jsonl'}:4 and {tmp_path / 'x.jsonl'}:{second + 1}"


def test_the_ready_corpus_is_read_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sum(1 for _ in read_corpus("miniworld")) == 2000
    with pytest.raises(InputError, match="a ready corpus: miniworld"):
        read_corpus("miniwurld")
