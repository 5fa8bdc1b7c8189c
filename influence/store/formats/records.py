"""Reading and writing a record: a file of JSON, or a line of one, that has the fields of its class and no others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from influence.errors import StoreError
from influence.files import whole_file
from influence.store.artefact import write_json

T = TypeVar("T")


class Record(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The base of every record; an optional field that has its default is not written."""


def write_record(path: Path, record: Record) -> None:
    """Write a record as a file of JSON, whole."""
    write_json(path, msgspec.to_builtins(record))


def read_record(path: Path, form: type[T], *, fix: str) -> T:
    """The record in a file.

    Args:
        fix: What to do where it cannot be read.

    Raises:
        StoreError: The file is missing, or is not what `write_record` writes; says which field is wrong.
    """
    try:
        return convert(json.loads(path.read_bytes()), form)
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read.", have=_reason(error), fix=fix) from error


def write_records(path: Path, records: Iterable[Any]) -> None:
    """Write one record a line, whole; a record is one of `Record` or a dataclass."""
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(msgspec.to_builtins(record), ensure_ascii=False) + "\n")


def read_records(path: Path, form: type[T], *, fix: str) -> Iterator[T]:
    """The records of a file that `write_records` wrote, one after the other.

    Raises:
        StoreError: The file is missing, or a line is no such record; says which line and which field.
    """
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                yield convert(json.loads(line), form)
    except (OSError, ValueError, RecursionError) as error:
        where = f"{path}:{number}" if number else str(path)
        raise StoreError(f"{where} cannot be read.", have=_reason(error), fix=fix) from error


def convert(value: Any, form: type[T]) -> T:
    """A JSON value as a record; ValueError names a field that is missing, unknown or of another type."""
    record = msgspec.convert(value, form)
    unknown = _unknown(value, msgspec.to_builtins(record), "$")  # of dataclasses, which take any field
    if unknown is not None:
        raise ValueError(f"Object contains unknown field `{unknown}`")
    return record


def _unknown(value: Any, known: Any, place: str) -> str | None:
    """Where a value has a field that its record does not have; None where it has none."""
    if isinstance(value, dict) and isinstance(known, dict):
        for name, item in value.items():
            if name not in known:
                if item is None:
                    continue
                return f"{place}.{name}"
            below = _unknown(item, known[name], f"{place}.{name}")
            if below is not None:
                return below
    elif isinstance(value, list) and isinstance(known, list | tuple):
        for number, (item, other) in enumerate(zip(value, known, strict=True)):
            below = _unknown(item, other, f"{place}[{number}]")
            if below is not None:
                return below
    return None


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
