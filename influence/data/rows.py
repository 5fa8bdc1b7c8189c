"""The records of corpus files, one at a time, each with the place where it stands."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import zlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence.errors import InputError

JSONL_SUFFIXES = tuple(name + packed for name in (".jsonl", ".ndjson") for packed in ("", ".gz", ".zst"))
SHARD_SUFFIXES = (*JSONL_SUFFIXES, ".parquet")
#: One table or list of records a file. In a folder they may be cards, and are read where there are no shards.
TABLE_SUFFIXES = tuple(name + packed for name in (".csv", ".tsv", ".json") for packed in ("", ".gz", ".zst"))
RECORD_SUFFIXES = (*SHARD_SUFFIXES, *TABLE_SUFFIXES)
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".tex")

#: Most bytes of one record: a line, or a text file. A longer one is no document, and would fill the memory.
MOST_RECORD_BYTES = 1 << 26
#: An archive may expand to this many times its size, and to `MOST_RECORD_BYTES` in any case. Text does to ten times.
MOST_EXPANSION = 200

_PARQUET_BATCH_ROWS = 1024
_ZSTD_CHUNK = 1 << 10  # a kilobyte may expand to 32 MB


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it was read: where it stands, its id if it brings none, its fields."""

    where: str
    fallback_id: str
    fields: Mapping[str, Any]


def shard_rows(path: Path, stem: str) -> Iterator[Row]:
    """Rows of one file of records, in the format that its suffix names."""
    match (plain := path.name.lower().removesuffix(".gz").removesuffix(".zst"))[plain.rfind(".") :]:
        case ".parquet":
            return _parquet_rows(path, stem)
        case ".csv" | ".tsv" as suffix:
            return _table_rows(path, stem, "," if suffix == ".csv" else "\t")
        case ".json":
            return _json_rows(path, stem)
        case _:
            return _jsonl_rows(path, stem)


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file's name ends in one of the suffixes, in any case."""
    return name.lower().endswith(suffixes)


class _ZstdFile(io.RawIOBase):
    """The text of a zstd file of any number of frames.

    Unlike `zstandard.open` it raises `EOFError` when the last frame is cut off: half a corpus is no corpus.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: Any = None  # None between two frames
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            compressed = self._file.read(_ZSTD_CHUNK)
            if not compressed:
                if self._frame is not None:
                    raise EOFError("the last frame is cut off")
                return 0
            self._pending = memoryview(self._decompress(compressed))
        count = min(len(buffer), len(self._pending))
        buffer[:count], self._pending = self._pending[:count], self._pending[count:]
        return count

    def _decompress(self, compressed: bytes) -> bytes:
        import zstandard

        parts = []
        while compressed:
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            parts.append(self._frame.decompress(compressed))
            compressed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()
        super().close()


def _open(path: Path) -> io.BufferedIOBase:
    if not path.is_file():
        raise InputError(f"{path} is no file.", fix="Give a file, or a folder of such files.")
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(_ZstdFile(path))
    return path.open("rb")


def _file_lines(path: Path) -> Generator[bytes, None, None]:
    """The lines of a file, unpacked."""
    try:
        opened = _open(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read.", have=error.strerror, fix="Check its permissions."
        ) from error
    with opened as file:
        yield from _lines(file, path)


def _table_rows(path: Path, stem: str, delimiter: str) -> Iterator[Row]:
    """Rows of a CSV or TSV file whose first line names the fields; an empty cell is no value."""

    def texts() -> Iterator[str]:
        for number, line in enumerate(_file_lines(path), start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}:{number} is not UTF-8.", have=first_line(error), fix="Save the file as UTF-8."
                ) from error

    csv.field_size_limit(MOST_RECORD_BYTES)
    reader = csv.DictReader(texts(), delimiter=delimiter, strict=True)
    try:
        for number, cells in enumerate(reader):
            where = f"{path}:{reader.line_num}"
            if None in cells:
                raise InputError(
                    f"{where} has more cells than the first line has names.",
                    have=f"{len(reader.fieldnames or ())} names",
                    fix="Put cells that hold a separator into double quotes.",
                )
            yield Row(where, f"{stem}-{number}", {name: cell or None for name, cell in cells.items()})
    except csv.Error as error:
        raise InputError(
            f"{path}:{reader.line_num} is not CSV.", have=first_line(error), fix="Save it as CSV again."
        ) from error


def _json_rows(path: Path, stem: str) -> Iterator[Row]:
    """Rows of a JSON file: a list of objects, or JSONL under this name."""
    lines = _file_lines(path)
    head = next((line for line in lines if line.removeprefix(b"\xef\xbb\xbf").strip()), b"")
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        lines.close()
        yield from _jsonl_rows(path, stem)
        return
    try:
        records = json.loads(b"".join((head, *lines)).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8.", have=first_line(error), fix="Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON.",
            have=first_line(error),
            fix="Write a list of objects, or one object a line.",
        ) from error
    for number, fields in enumerate(records):
        if not isinstance(fields, dict):
            raise InputError(
                f"{path}:item {number} is not a JSON object.",
                have=type(fields).__name__,
                fix='Write a list of objects: [{"id": ..., "text": ...}, ...].',
            )
        yield Row(f"{path}:item {number}", f"{stem}-{number}", fields)


def _jsonl_rows(path: Path, stem: str) -> Iterator[Row]:
    number = -1
    with contextlib.closing(_file_lines(path)) as lines:
        for line_number, line in enumerate(lines, start=1):
            where = f"{path}:{line_number}"
            try:
                text = line.decode("utf-8-sig" if line_number == 1 else "utf-8").strip()
                fields = json.loads(text) if text else None
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{where} is not UTF-8.", have=first_line(error), fix="Save the file as UTF-8."
                ) from error
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{where} is not JSON.", have=first_line(error), fix="Write one JSON object a line."
                ) from error
            if not text:
                continue
            number += 1
            if not isinstance(fields, dict):
                raise InputError(
                    f"{where} is not a JSON object.",
                    have=type(fields).__name__,
                    fix='Write one object a line: {"id": ..., "text": ...}.',
                )
            yield Row(where, f"{stem}-{number}", fields)


def _lines(file: io.BufferedIOBase, path: Path) -> Iterator[bytes]:
    """The lines of an open file; a damaged archive is an input error."""
    import zstandard

    size = path.stat().st_size
    most = max(MOST_EXPANSION * size, MOST_RECORD_BYTES)
    read = 0
    try:
        while line := file.readline(MOST_RECORD_BYTES + 1):
            read += len(line)
            if len(line) > MOST_RECORD_BYTES:
                raise _too_long(path)
            if path.suffix.lower() in (".gz", ".zst") and read > most:
                raise InputError(
                    f"{path} expands to more than {MOST_EXPANSION:,} times its size, as no text does.",
                    have=f"{read:,} bytes so far from {size:,}",
                    fix="Unpack it and look at it; a plain .jsonl file is read whatever its size.",
                )
            yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        if "too much memory" in str(error):
            raise InputError(
                f"{path} was packed with a window of more than 128 MiB (zstd --long).",
                have=first_line(error),
                fix="Unpack it with zstd -d --long=31, and pack it again without --long, or give it unpacked.",
            ) from error
        raise InputError(
            f"{path} is damaged or not the archive its name says.",
            have=first_line(error),
            fix="Make it again.",
        ) from error


def _too_long(path: Path) -> InputError:
    return InputError(
        f"{path} has a record of more than {MOST_RECORD_BYTES >> 20} MiB.",
        fix="Cut it into documents; a document is read up to --max-length tokens only.",
    )


def _parquet_rows(path: Path, stem: str) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = -1
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}:row {number}", f"{stem}-{number}", fields)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path} is damaged or not Parquet.", have=first_line(error), fix="Make it again."
        ) from error


def text_rows(folder: Path, files: list[str], text_field: str, source_field: str) -> Iterator[Row]:
    """A row a text file, named by its path in the folder; its first sub-folder is its source."""
    for file in files:
        path = folder / file
        try:
            if path.stat().st_size > MOST_RECORD_BYTES:
                raise _too_long(path)
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise InputError(f"{path} cannot be read.", have=error.strerror, fix="Check it.") from error
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise InputError(
                f"{path}:{line} is not UTF-8.", have=first_line(error), fix="Save the file as UTF-8."
            ) from error
        source = file.split("/")[0] if "/" in file else "unknown"
        yield Row(str(path), file, {text_field: text, source_field: source})


def dataset_rows(data: Any, stem: str) -> Iterator[Row]:
    """Rows of a `datasets` dataset, in memory or streamed."""
    for number, fields in enumerate(data.with_format(None)):
        yield Row(f"{stem}:row {number}", f"{stem}-{number}", fields)


def stem_of(file: str) -> str:
    """The path without the suffixes of its format: a/x.jsonl.gz -> a/x."""
    suffix = max((suffix for suffix in RECORD_SUFFIXES if has_suffix(file, (suffix,))), key=len)
    return file[: -len(suffix)]


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def encodable(text: str, where: str, name: str) -> None:
    """Raise InputError for a text that UTF-8 cannot hold; `where` and `name` say whose field it is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} has half a surrogate pair in the field {name!r}, which no UTF-8 file can hold.",
            have=first_line(error),
            fix="Remove that character.",
        ) from error
