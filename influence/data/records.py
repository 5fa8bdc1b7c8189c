"""One record of a corpus as a `Document`, or one error that says which record is none, and why."""

from __future__ import annotations

import datetime
import decimal
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from influence.data.examples import EXAMPLE_FIELDS, example_text, read_example
from influence.data.rows import Row, encodable
from influence.errors import InputError
from influence.types import Document, Loss

#: Where the text stands unless another field is named.
TEXT_FIELD = "text"

#: Most levels of lists and objects in a field of metadata.
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of the fields that hold text, id and source, and which tokens of a fine-tuning example count."""

    text: str
    id: str
    source: str
    loss: Loss = "assistant"


def to_document(row: Row, names: Fields, unkept: Counter[str]) -> Document:
    """The document of a row; InputError where text, id or source is not what it must be.

    Fields of metadata that JSON cannot hold are left out, and counted in `unkept` by name.
    """
    text = field_of(row, names.text)
    example = None
    if text is None and names.text == TEXT_FIELD:
        example = read_example(row, names.loss)
        text = None if example is None else example_text(example)
    if not isinstance(text, str):
        have = f"a {names.text!r} of type {type(text).__name__}" if names.text in row.fields else "fields "
        raise InputError(
            f"{row.where} has no text in the field {names.text!r}.",
            have=have if names.text in row.fields else have + ", ".join(map(str, row.fields)),
            fix="Name the text field (text_field), or give each record a string there, or a fine-tuning example: "
            "prompt and completion, messages, or input_ids.",
        )
    source = field_of(row, names.source)
    if isinstance(source, int | float) and not isinstance(source, bool):
        source = str(_whole(source))
    if source is not None and not isinstance(source, str):
        raise InputError(
            f"{row.where} has a source that is neither a string nor a number.",
            have=type(source).__name__,
            fix="Write the source as a string or a number, or name another source_field.",
        )
    encodable(text, row.where, names.text)
    encodable(source or "", row.where, names.source)
    metadata = {}
    for name, value in row.fields.items():
        if value is None or name in (names.text, names.id, names.source):
            continue
        if example is None or name not in EXAMPLE_FIELDS:
            try:
                metadata[name] = plain_value(value)
            except ValueError:
                unkept[name] += 1
    return Document(row_id(row, names), text, "unknown" if source is None else source, metadata, example)


def field_of(row: Row, name: str) -> Any:
    """The value of a field of a row; `meta.set` is also the field `set` of an object `meta`."""
    value: Any = row.fields
    if name in row.fields:
        return row.fields[name]
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _whole(value: Any) -> Any:
    """A whole float, such as data frames make of integers beside a missing value, as the integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def row_id(row: Row, names: Fields) -> str:
    """The id a row brings, else the one made from its place in the corpus."""
    value = _whole(field_of(row, names.id))
    if value is None:
        return row.fallback_id
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(
            f"{row.where} has an id that is neither a string nor an integer.",
            have=repr(value)[:80],
            fix="Write the id as a non-empty string, or name another id_field.",
        )
    encodable(str(value), row.where, names.id)
    return str(value)


def plain_value(value: Any, depth: int = 0) -> Any:
    """The value as JSON can hold it; dates become ISO 8601 strings, decimals strings.

    Raises:
        ValueError: JSON cannot hold it, as bytes, or it is nested more than 100 deep.
    """
    if depth > _DEEPEST:
        raise ValueError("JSON cannot hold this")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item, depth + 1) for item in value]
    raise ValueError("JSON cannot hold this")


#: Hashes held as Python numbers, until they are sorted into arrays.
_RECENT = 1 << 16


def hashed(id_: str) -> int:
    """The hash of an id, 64 bits."""
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "little")


class SeenIds:
    """Hashes of the ids met so far: the recent ones in a set, the others in a few sorted arrays of doubling length."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted: list[npt.NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return len(self._recent) + sum(map(len, self._sorted))

    def add(self, id_: str) -> set[int]:
        """Remember an id. Returns hashes that may have been met twice: of this one, or of those before it."""
        hash_ = hashed(id_)
        if hash_ in self._recent:
            return {hash_}
        self._recent.add(hash_)
        return self.settle() if len(self._recent) >= _RECENT else set()

    def settle(self) -> set[int]:
        """Compare the recent ids with all before them. Returns hashes that were met twice."""
        new = np.sort(np.fromiter(self._recent, np.uint64, len(self._recent)))
        self._recent.clear()
        twice = {int(hash_) for old in self._sorted for hash_ in _common(old, new)}
        while self._sorted and len(self._sorted[-1]) <= len(new):
            new = np.sort(np.concatenate([self._sorted.pop(), new]), kind="stable")
        self._sorted.append(new)
        return twice


def _common(old: npt.NDArray[np.uint64], new: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    place = np.searchsorted(old, new).clip(max=len(old) - 1)
    return np.asarray(new[old[place] == new])
