"""Questions in files: JSONL (plain, .gz, .zst), Parquet, JSON lists or CSV, through a map of fields."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence.data.packed import first_line
from influence.data.rows import JSONL_SUFFIXES, SHARD_SUFFIXES, shard_rows
from influence.data.tasks.extract import Kind
from influence.data.tasks.task import SPLITS, Example, Task, drawn_splits
from influence.errors import InputError

#: Parts of an example that a file may call by another name.
PARTS = ("id", "input", "chain", "answer", "choices")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file: where it stands, its id, its fields."""

    where: str
    id: str
    fields: Mapping[str, Any]


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file.

    Raises:
        InputError: There is no such file, its format is another, or a record is damaged; says where.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.", fix="Check the path.")
    if path.name.endswith(SHARD_SUFFIXES):
        for row in shard_rows(path, "item"):
            yield Record(row.where, _id(row.fields, row.fallback_id), row.fields)
    elif path.suffix in (".json", ".csv"):
        for number, fields in enumerate(_csv(path) if path.suffix == ".csv" else _json(path)):
            yield Record(f"{path}: record {number}", _id(fields, f"item-{number}"), fields)
    else:
        raise InputError(
            f"{path} has a format that is not read.",
            fix=f"Use {', '.join(JSONL_SUFFIXES)}, .parquet, .json, .csv.",
        )


def _id(fields: Mapping[str, Any], fallback: str) -> str:
    value = fields.get("id")
    return str(value) if isinstance(value, str | int) and str(value) else fallback


def _csv(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{path} is not CSV in UTF-8.", have=first_line(error), fix="Save it as that."
        ) from error


def _json(path: Path) -> list[dict[str, Any]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON.", have=first_line(error)) from error
    value = value.get("examples") if isinstance(value, dict) else value
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise InputError(
            f"{path} is not a list of records.", fix='Write [{"question": ..., "answer": ...}, ...].'
        )
    return value


def field_text(record: Record, name: str) -> str:
    """The text of a field; InputError where there is none. A number is its digits."""
    value = record.fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(
            f"{record.where} has no text in the field {name!r}.",
            have="fields " + ", ".join(map(str, record.fields)),
            fix=f"Name the field that has it: --field input={name} names the input, for example.",
        )
    return value.strip()


def parse_fields(pairs: Sequence[str]) -> dict[str, str]:
    """The map of `--field input=question --field answer=gold`."""
    fields: dict[str, str] = {}
    for pair in pairs:
        part, separator, name = pair.partition("=")
        if not (separator and part and name):
            raise InputError(f"--field {pair!r} is no map.", fix="Write --field input=question.")
        fields[part] = name
    return fields


def own_examples(path: Path, fields: Mapping[str, str]) -> Iterator[Example]:
    """The examples of a file of one's own.

    Args:
        fields: Part of an example -> field of the file: id, input, chain, answer, choices, and any name that a prompt
            uses. A part that is not named is read from the field of its own name; only the input must be there.
    """
    return (_own_example(record, fields) for record in read_records(path))


def _own_example(record: Record, fields: Mapping[str, str]) -> Example:
    def has(part: str) -> bool:
        return part in fields or record.fields.get(part) is not None

    def name(part: str) -> str:
        return fields.get(part, part)

    choices = record.fields.get(name("choices")) or ()
    if isinstance(choices, str) or not all(isinstance(one, str) for one in choices):
        raise InputError(
            f"{record.where} has choices that are not a list of texts.", have=repr(choices)[:100]
        )
    return Example(
        field_text(record, name("id")) if "id" in fields else record.id,
        field_text(record, name("input")),
        field_text(record, name("chain")) if has("chain") else "",
        field_text(record, name("answer")) if has("answer") else None,
        tuple(choices),
        {part: field_text(record, field) for part, field in fields.items() if part not in PARTS},
    )


def own_task(path: Path, kind: Kind, fields: Mapping[str, str], seed: int = 0) -> Task:
    """A folder with train, valid and test files, or one file of which a tenth each is drawn for the other two."""
    settings = {"fields": dict(fields), "kind": kind, "seed": seed, "file": path.name}
    if path.is_dir():
        splits = {
            split: tuple(own_examples(file, fields))
            for split in SPLITS
            if (file := split_file(path, split)) is not None
        }
        if not splits:
            raise InputError(
                f"{path} has no train, valid or test file.", fix="Put train.jsonl and test.jsonl there."
            )
        return Task("own", kind, splits, settings=settings)
    examples = list(own_examples(path, fields))
    if not examples:
        raise InputError(f"{path} holds no records.")
    return Task("own", kind, drawn_splits(examples, seed), settings=settings)


def split_file(folder: Path, split: str) -> Path | None:
    """The file of a split in a folder, whatever its format."""
    suffixes = (*SHARD_SUFFIXES, ".json", ".csv")
    return next((path for suffix in suffixes if (path := folder / f"{split}{suffix}").is_file()), None)
