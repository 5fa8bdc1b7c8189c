"""Corpora that are damaged, absurd or mean harm: name -> name of the file, and what is in it."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Make = Callable[[Path], Path]
_GOOD = b'{"id": "a", "text": "some words", "source": "s"}\n'


def file(name: str, content: str | bytes) -> Make:
    """A file of this name."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def records(*rows: Any, name: str = "x.jsonl") -> Make:
    """A file of JSON lines."""
    return file(name, "".join(json.dumps(row) + "\n" for row in rows))


def table(columns: dict[str, Any]) -> Make:
    """A Parquet file."""

    def make(folder: Path) -> Path:
        pq.write_table(pa.table(columns), folder / "x.parquet")
        return folder / "x.parquet"

    return make


def _folder(*makes: Make) -> Make:
    def make(folder: Path) -> Path:
        for part in makes:
            part(folder)
        return folder

    return make


def _special(name: str, create: Callable[[Path], object]) -> Make:
    def make(folder: Path) -> Path:
        create(folder / name)
        return folder / name

    return make


def _gzip_of_gzips(depth: int) -> bytes:
    data = _GOOD
    for _ in range(depth):
        data = gzip.compress(data)
    return data


def _repeated(piece: bytes, times: int, pack: Callable[[bytes], bytes]) -> bytes:
    """The same text many times in one archive, packed in parts of a mebibyte."""
    part = pack(piece * (2**20 // len(piece)))
    return part * max(1, times * len(piece) // 2**20)


def _parquet_of(column: Any) -> Make:
    return table({"id": ["a"], "text": column})


_zstd = zstandard.ZstdCompressor().compress
_parquet = io.BytesIO()
pq.write_table(pa.table({"text": ["a"] * 50}), _parquet)
_PARQUET = _parquet.getvalue()
_NULLS = b'{"text": "\\u0000\\u0000"}\n'

#: Each must be refused.
REFUSED: dict[str, Make] = {
    "an empty file": file("x.jsonl", b""),
    "blank lines": file("x.jsonl", b"\n" * 5000),
    "no JSON": file("x.jsonl", b"{'id': 1}\n"),
    "null": records(None),
    "a list": records([1, 2]),
    "a number": records(7),
    "an empty object": records({}),
    "a text of null": records({"text": None}),
    "a text that is a number": records({"text": 7}),
    "a text that is a list": records({"text": ["a"]}),
    "a text that is an object": records({"text": {"a": "b"}}),
    "an id that is a list": records({"id": ["a"], "text": "b"}),
    "a source that is an object": records({"source": {"a": 1}, "text": "b"}),
    "the same id twice": records({"id": "a", "text": "b"}, {"id": "a", "text": "c"}),
    "an object nested too deeply": file("x.jsonl", '{"a": ' * 100_000 + "\n"),
    "a list nested too deeply": file("x.jsonl", '{"text": ' + "[" * 100_000 + "\n"),
    "half a record": file("x.jsonl", _GOOD + b'{"id": "b", "te'),
    "a number of 10,000 digits": file("x.jsonl", '{"text": "a", "n": ' + "9" * 10_000 + "}\n"),
    "bytes that are not UTF-8": file("x.jsonl", b'{"text": "\xff\xfe"}\n'),
    "UTF-16": file("x.jsonl", _GOOD.decode().encode("utf-16")),
    "UTF-32": file("x.jsonl", _GOOD.decode().encode("utf-32")),
    "half a surrogate pair": file("x.jsonl", b'{"text": "\\ud800"}\n'),
    "half a surrogate pair as an id": file("x.jsonl", b'{"id": "\\udfff", "text": "a"}\n'),
    "NUL bytes": file("x.jsonl", b"\0" * 1000),
    "escapes in a broken line": file("x.jsonl", b"\x1b[2J\x1b]0;owned\x07{\n"),
    "a broken line of 100,000 letters": file("x.jsonl", b"x" * 100_000),
    "an unknown suffix": file("x.exe", _GOOD),
    "no suffix": file("x", _GOOD),
    "an empty folder": _folder(),
    "a folder of other files": _folder(file("x.bin", b"1"), file("y.exe", b"2")),
    "a folder of broken shards": _folder(file("a.jsonl", _GOOD), file("b.jsonl", b"{")),
    "the same id in two shards": _folder(file("a.jsonl", _GOOD), file("b.jsonl", _GOOD)),
    "a pipe": _special("x.jsonl", os.mkfifo),
    "a link to itself": _special("x.jsonl", lambda path: path.symlink_to(path)),
    "a folder with the name of a file": _special("x.jsonl", Path.mkdir),
    "a broken gzip": file("x.jsonl.gz", gzip.compress(_GOOD)[:-9]),
    "a gzip that is none": file("x.jsonl.gz", _GOOD),
    "an empty gzip": file("x.jsonl.gz", b""),
    "rubbish after a gzip": file("x.jsonl.gz", gzip.compress(_GOOD) + b"rubbish"),
    "a gzip of gzips": file("x.jsonl.gz", _gzip_of_gzips(20)),
    "a broken zstd": file("x.jsonl.zst", _zstd(_GOOD)[:-3]),
    "a zstd that is none": file("x.jsonl.zst", _GOOD),
    "a gzip of 300 MB of blank lines": file("x.jsonl.gz", _repeated(b"\n", 300 * 2**20, gzip.compress)),
    "a zstd of 300 MB of blank lines": file("x.jsonl.zst", _repeated(b"\n", 300 * 2**20, _zstd)),
    "a gzip of 300 MB of blanks and line ends": file(
        "x.jsonl.gz", _repeated(b"  \r\n", 75 * 2**20, gzip.compress)
    ),
    "a gzip of one line of 300 MB": file("x.jsonl.gz", _repeated(b"x", 300 * 2**20, gzip.compress)),
    "a zstd of one line of 300 MB": file("x.jsonl.zst", _repeated(b"x", 300 * 2**20, _zstd)),
    "a CSV of blank lines in a gzip": file("x.csv.gz", _repeated(b"\n", 300 * 2**20, gzip.compress)),
    "a JSON of blank lines in a gzip": file("x.json.gz", _repeated(b"\n", 300 * 2**20, gzip.compress)),
    "a CSV without a text": file("x.csv", "id,words\na,b\n"),
    "a CSV with cells too many": file("x.csv", "id,text\na,b,c,d\n"),
    "a CSV with a quote that never ends": file("x.csv", 'id,text\na,"b\n'),
    "a CSV with NUL bytes": file("x.csv", b"id,text\na,\0\0\n\xff"),
    "a JSON that is a number": file("x.json", "7"),
    "a JSON of numbers": file("x.json", "[1, 2, 3]"),
    "a JSON nested too deeply": file("x.json", "[" * 100_000),
    "a Parquet that is none": file("x.parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
    "a Parquet cut off": file("x.parquet", _PARQUET[:-20]),
    "a Parquet with a flipped footer": file("x.parquet", _PARQUET[:-12] + b"\xff\xff\xff\x7fPAR1"),
    "a Parquet without a text": table({"words": ["a"]}),
    "a Parquet of numbers as texts": _parquet_of([7]),
    "a Parquet of lists as texts": _parquet_of([["a"]]),
    "a Parquet of bytes as texts": _parquet_of([b"\xff"]),
    "a Parquet of no rows": table({"text": pa.array([], pa.string())}),
}

#: Each can be read: name -> the corpus, and how many documents it has.
READ: dict[str, tuple[Make, int]] = {
    "ids that are paths": (
        records({"id": "../../etc/passwd", "text": "a"}, {"id": "/dev/null", "text": "b"}),
        2,
    ),
    "escapes and turns of direction": (records({"id": "\x1b[2J\u202e", "text": "\x1b]0;owned\x07"}), 1),
    "pages as texts": (
        records({"text": "<script>alert(1)</script>", "source": "</title><img src=x onerror=alert(1)>"}),
        1,
    ),
    "formulas": (records({"text": "=cmd|' /C calc'!A0", "source": "@SUM(1)"}), 1),
    "NUL in a text": (file("x.jsonl", _NULLS), 1),
    "10,000 combining marks": (records({"text": "e" + "\u0301" * 10_000}), 1),
    "ten thousand fields": (records({"text": "a"} | {f"f{n}": n for n in range(10_000)}), 1),
    "metadata nested 900 deep, left out": (
        file("x.jsonl", '{"text": "a", "m": ' + "[" * 900 + "]" * 900 + "}\n"),
        1,
    ),
    "metadata nested 90 deep": (file("x.jsonl", '{"text": "a", "m": ' + "[" * 90 + "]" * 90 + "}\n"), 1),
    "names of attributes as fields": (records({"text": "a", "__class__": "b", "__proto__": {"x": 1}}), 1),
}
