"""The records of corpus files, one at a time, each with the place where it stands."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from influence.data.packed import MOST_RECORD_BYTES, file_lines, first_line, read_whole
from influence.errors import InputError

JSONL_SUFFIXES = tuple(name + packed for name in (".jsonl", ".ndjson") for packed in ("", ".gz", ".zst"))
SHARD_SUFFIXES = (*JSONL_SUFFIXES, ".parquet")
#: One table or list of records a file. In a folder they may be cards, and are read where there are no shards.
TABLE_SUFFIXES = tuple(name + packed for name in (".csv", ".tsv", ".json") for packed in ("", ".gz", ".zst"))
#: One text a line. In a folder such a file is one text.
LIST_SUFFIXES = (".txt", ".txt.gz", ".txt.zst")
RECORD_SUFFIXES = (*SHARD_SUFFIXES, *TABLE_SUFFIXES, *LIST_SUFFIXES)
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".tex")

_PARQUET_BATCH_ROWS = 1024
_PARQUET_BATCH_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it was read.

    Attributes:
        where: Where it stands.
        fallback_id: Its id if it brings none.
        content: Its fields, or why they cannot be read.
    """

    where: str
    fallback_id: str
    content: Mapping[str, Any] | InputError

    @property
    def fields(self) -> Mapping[str, Any]:
        """Its fields; raises InputError where they cannot be read."""
        if isinstance(self.content, InputError):
            raise self.content
        return self.content


def shard_rows(path: Path, stem: str, text_field: str = "text") -> Iterator[Row]:
    """Rows of one file of records, in the format that its suffix names; of a list of texts, in `text_field`."""
    match (plain := path.name.lower().removesuffix(".gz").removesuffix(".zst"))[plain.rfind(".") :]:
        case ".parquet":
            return _parquet_rows(path, stem)
        case ".csv" | ".tsv" as suffix:
            return _table_rows(path, stem, "," if suffix == ".csv" else "\t")
        case ".json":
            return _json_rows(path, stem)
        case ".txt":
            return _list_rows(path, stem, text_field)
        case _:
            return jsonl_rows(path, stem)


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file's name ends in one of the suffixes, in any case."""
    return name.lower().endswith(suffixes)


def folder_fields(file: str) -> dict[str, str]:
    """Fields that the folders of a path name, as Hive writes them: `source=web/x.parquet` gives the field source."""
    pairs = (part.partition("=") for part in file.split("/")[:-1] if "=" in part)
    return {
        unquote(name): unquote(value) for name, _, value in pairs if value != "__HIVE_DEFAULT_PARTITION__"
    }


def with_fields(row: Row, fields: Mapping[str, str]) -> Row:
    """The row with these fields where it has no value of its own."""
    if not fields or isinstance(row.content, InputError):
        return row
    given = {name: value for name, value in row.content.items() if value is not None}
    return replace(row, content={**fields, **given})


def _table_rows(path: Path, stem: str, delimiter: str) -> Iterator[Row]:
    """Rows of a CSV or TSV file whose first line names the fields; an empty cell is no value."""
    wrong: list[InputError] = []

    def texts() -> Iterator[str]:
        for number, line in enumerate(file_lines(path), start=1):
            encoding = "utf-8-sig" if number == 1 else "utf-8"
            try:
                yield line.decode(encoding)
            except UnicodeDecodeError as error:
                wrong.append(_not_utf8(f"{path}:{number}", error))
                yield line.decode(encoding, errors="replace")

    csv.field_size_limit(MOST_RECORD_BYTES)
    reader = csv.DictReader(texts(), delimiter=delimiter, strict=True)
    number = -1
    while True:
        number += 1
        content: Mapping[str, Any] | InputError
        try:
            cells = next(reader)
            content = {name: cell or None for name, cell in cells.items()}
        except StopIteration:
            return
        except csv.Error as error:
            content = InputError(
                f"{path}:{reader.line_num} is not CSV.", have=first_line(error), fix="Save it as CSV again."
            )
            if reader.line_num <= 1:
                raise content from error
        where = f"{path}:{reader.line_num}"
        if isinstance(content, dict) and None in content:
            content = InputError(
                f"{where} has more cells than the first line has names.",
                have=f"{len(reader.fieldnames or ())} names",
                fix="Put cells that hold a separator into double quotes.",
            )
        if wrong:
            content = wrong[0]
            wrong.clear()
        yield Row(where, f"{stem}-{number}", content)


def _json_rows(path: Path, stem: str) -> Iterator[Row]:
    """Rows of a JSON file: a list of objects, or JSONL under this name."""
    lines = file_lines(path)
    head = next((line for line in lines if line.removeprefix(b"\xef\xbb\xbf").strip()), b"")
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        lines.close()
        yield from jsonl_rows(path, stem)
        return
    try:
        records = json.loads(b"".join((head, *lines)).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _not_utf8(str(path), error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON.",
            have=first_line(error),
            fix="Write a list of objects, or one object a line.",
        ) from error
    for number, fields in enumerate(records):
        where = f"{path}:item {number}"
        wanted = 'Write a list of objects: [{"id": ..., "text": ...}, ...].'
        yield Row(
            where,
            f"{stem}-{number}",
            fields if isinstance(fields, dict) else _no_object(where, fields, wanted),
        )


def jsonl_rows(path: Path, stem: str, shown: str | None = None) -> Iterator[Row]:
    """Rows of a JSONL file, called `shown` in errors; lines of nothing are no rows."""
    number = -1
    with contextlib.closing(file_lines(path)) as lines:
        for line_number, line in enumerate(lines, start=1):
            where = f"{shown or path}:{line_number}"
            content: Mapping[str, Any] | InputError
            try:
                text = line.decode("utf-8-sig" if line_number == 1 else "utf-8").strip()
                if not text:
                    continue
                fields = json.loads(text)
                wanted = 'Write one object a line: {"id": ..., "text": ...}.'
                content = fields if isinstance(fields, dict) else _no_object(where, fields, wanted)
            except UnicodeDecodeError as error:
                content = _not_utf8(where, error)
            except (ValueError, RecursionError) as error:
                content = InputError(
                    f"{where} is not JSON.", have=first_line(error), fix="Write one JSON object a line."
                )
            number += 1
            yield Row(where, f"{stem}-{number}", content)


def _list_rows(path: Path, stem: str, text_field: str) -> Iterator[Row]:
    """Rows of a list of texts, one a line; lines of nothing are no rows."""
    number = -1
    for line_number, line in enumerate(file_lines(path), start=1):
        where = f"{path}:{line_number}"
        content: Mapping[str, Any] | InputError
        try:
            text = line.decode("utf-8-sig" if line_number == 1 else "utf-8").rstrip("\r\n")
            if not text.strip():
                continue
            content = {text_field: text}
        except UnicodeDecodeError as error:
            content = _not_utf8(where, error)
        number += 1
        yield Row(where, f"{stem}-{number}", content)


def _parquet_rows(path: Path, stem: str) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = -1
    unreadable = (pyarrow.ArrowException, OSError, ValueError, OverflowError)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_batch_rows(file.metadata)):
                try:
                    records = batch.to_pylist()
                except unreadable:  # one value of them: say which
                    records = [None] * len(batch)
                for place, record in enumerate(records):
                    number += 1
                    where = f"{path}:row {number}"
                    content = (
                        record if record is not None else _parquet_record(batch, place, where, unreadable)
                    )
                    yield Row(where, f"{stem}-{number}", content)
    except unreadable as error:
        raise InputError(
            f"{path} is damaged or not Parquet.",
            have=f"{number + 1:,} rows, then {first_line(error)}" if number >= 0 else first_line(error),
            fix="Make it again.",
        ) from error


def _batch_rows(metadata: Any) -> int:
    """Rows to read at a time: fewer where they are large."""
    groups = (metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    mean = int(sum(groups)) // max(1, int(metadata.num_rows))
    return max(1, min(_PARQUET_BATCH_ROWS, _PARQUET_BATCH_BYTES // max(1, mean)))


def _parquet_record(
    batch: Any, place: int, where: str, unreadable: tuple[type[Exception], ...]
) -> dict[str, Any] | InputError:
    record = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            record[name] = column[place].as_py()
        except unreadable as error:
            return InputError(
                f"{where} has a value in the column {name!r} that cannot be read.",
                have=first_line(error),
                fix="Write the column again, or leave it out.",
            )
    return record


def text_rows(folder: Path, files: list[str], text_field: str, source_field: str) -> Iterator[Row]:
    """A row a text file, named by its path in the folder; its first sub-folder is its source."""
    for file in files:
        path = folder / file
        source = file.split("/")[0] if "/" in file else "unknown"
        content: Mapping[str, Any] | InputError
        try:
            text = read_whole(path).decode("utf-8-sig")
            content = {source_field: source, **folder_fields(file), text_field: text}
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            content = _not_utf8(f"{path}:{line}", error)
        yield Row(str(path), file, content)


def dataset_rows(data: Any, stem: str) -> Iterator[Row]:
    """Rows of a `datasets` dataset, in memory or streamed; images and sounds as the bytes they are stored as."""
    for name, feature in (data.features or {}).items():
        if hasattr(feature, "decode"):
            data = data.cast_column(name, replace(feature, decode=False))
    for number, fields in enumerate(data.with_format(None)):
        yield Row(f"{stem}:row {number}", f"{stem}-{number}", fields)


def stem_of(file: str) -> str:
    """The path without the suffixes of its format: a/x.jsonl.gz -> a/x."""
    suffix = max((suffix for suffix in RECORD_SUFFIXES if has_suffix(file, (suffix,))), key=len)
    return file[: -len(suffix)]


def _not_utf8(where: str, error: UnicodeDecodeError) -> InputError:
    return InputError(f"{where} is not UTF-8.", have=first_line(error), fix="Save the file as UTF-8.")


def _no_object(where: str, value: object, fix: str) -> InputError:
    return InputError(f"{where} is not a JSON object.", have=type(value).__name__, fix=fix)


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
