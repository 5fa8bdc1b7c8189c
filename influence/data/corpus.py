"""Read a training corpus as a stream of documents, whatever file it lies in.

| source | read as |
|---|---|
| `x.jsonl`, `x.ndjson`, also `.gz`, `.zst` | one JSON object a line |
| `x.json`, also `.gz`, `.zst` | a list of objects, or one object a line |
| `x.csv`, `x.tsv`, also `.gz`, `.zst` | one row a document; the first line names the fields |
| `x.txt`, also `.gz`, `.zst` | one text a line |
| `x.parquet` | one row a document |
| a folder with such files (at any depth) | its JSONL and Parquet in sorted order, else its tables, else its JSON |
| a folder made by `datasets.save_to_disk` | that dataset |
| a folder of text files | one document a file: id = relative path, source = first sub-folder |
| `-` | standard input, one JSON object a line; kept on disk while it is read |
| the name of a ready corpus, `miniworld` | that corpus |
| `owner/name` or `owner/name:config` | a dataset on the hub, streamed |
| a `datasets.Dataset` or `IterableDataset` | itself |

A row without an id gets `<stem>-<row number>`, counted from 0, where the stem is the file's path inside the corpus
without its suffixes: the id stays the same as long as the rows before it do. A folder named
`name=value` gives its files that field. Fields other than text, id and source go to `Document.metadata`; a null field
is the same as a missing one, and what JSON cannot hold, such as an image, is left out and counted.

A record without a text may be a fine-tuning example, whose loss counts only a part of it: see
`influence.data.examples`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence.data.records import TEXT_FIELD, Fields, SeenIds, field_of, hashed, to_document
from influence.data.sources import Source, find_source
from influence.errors import InputError
from influence.types import Document, Loss

if TYPE_CHECKING:
    import datasets

_logger = logging.getLogger(__name__)
#: Of what is left out, the first so many are named.
_NAMED = 3


class Corpus:
    """Documents that can be read any number of times, always in the same order.

    Iterating holds one record (or one Parquet record batch) and 8 bytes of hash per id. Iterating raises
    `InputError` at the first record that is not a document, some time after an id met twice, at the end at the
    latest, and at the end when there was no document at all.

    Attributes:
        name: A short name for tables: the file's stem, the folder's name, or the hub name.
        bad: Records that the last whole reading left out because they are no documents.
        unkept: Fields of metadata that the last whole reading left out because JSON cannot hold them, by name.
    """

    def __init__(self, source: Source, fields: Fields, skip_bad: bool = False) -> None:
        self.name = source.name
        self.bad = 0
        self.unkept: Counter[str] = Counter()
        self._source = source
        self._fields = fields
        self._skip_bad = skip_bad
        self._told = False

    def __iter__(self) -> Iterator[Document]:
        return (document for document, _ in self.records())

    def records(self) -> Iterator[tuple[Document, Mapping[str, Any]]]:
        """Documents, each with the fields of its record as they were read."""
        origin = self._source.origin
        seen = SeenIds()
        named = {self._fields.id, self._fields.source} - {"id", "source"}
        unkept: Counter[str] = Counter()
        first: list[str] = []
        bad = 0
        for row in self._source.rows():
            try:
                named -= {name for name in named if field_of(row, name) is not None}
                document = to_document(row, self._fields, unkept)
            except InputError as error:
                if not self._skip_bad:
                    raise InputError(error.message, have=error.have, fix=_or_skip(error.fix)) from error
                bad += 1
                if len(first) < _NAMED:
                    first.append(error.message)
                continue
            if twice := seen.add(document.id):
                self._refuse_duplicates(twice)
            yield document, row.fields
        if twice := seen.settle():
            self._refuse_duplicates(twice)
        if named and seen:
            raise InputError(
                f"No record of the corpus {origin} has a field {min(named)!r}.",
                fix="Check --id-field and --source-field; set is written meta.set where it is a field of meta.",
            )
        if not seen:
            raise InputError(
                f"The corpus {origin} has no documents.",
                have=f"{bad:,} records that are none: {first[0]}" if first else None,
                fix="Give a corpus with at least one document.",
            )
        self.bad, self.unkept = bad, unkept
        self._tell(first)

    def _tell(self, first: list[str]) -> None:
        """Say once what was left out."""
        if self._told:
            return
        self._told = True
        if self.bad:
            more = f" And {self.bad - len(first):,} more." if self.bad > len(first) else ""
            _logger.warning(
                "Left out %s of %s: %s%s",
                f"{self.bad:,} bad {'record' if self.bad == 1 else 'records'}",
                self._source.origin,
                " ".join(first),
                more,
            )
        if self.unkept:
            counts = ", ".join(f"{name} of {count:,} records" for name, count in sorted(self.unkept.items()))
            _logger.warning("Left out fields of %s that JSON cannot hold: %s", self._source.origin, counts)

    def _refuse_duplicates(self, hashes: set[int]) -> None:
        """Raise with both places of an id met twice; return if these were only collisions of hashes."""
        places: dict[str, str] = {}
        for row in self._source.rows():
            try:
                id_ = to_document(row, self._fields, Counter()).id
            except InputError:  # the record is left out, or was reported before
                continue
            if hashed(id_) not in hashes:
                continue
            if id_ in places:
                raise InputError(
                    f"Two documents of the corpus {self._source.origin} have the id {id_!r}.",
                    have=f"{places[id_]} and {row.where}",
                    fix="Make the ids unique, or drop the id field: rows without an id are numbered.",
                )
            places[id_] = row.where

    def describe(self) -> dict[str, Any]:
        """Where the documents come from, for provenance: JSON-able, without reading the corpus."""
        fields = asdict(self._fields)
        loss = fields.pop("loss")
        described = {
            "name": self.name,
            "kind": self._source.kind,
            "path": self._source.origin,
            "split": self._source.split,
            "fields": fields,
            "loss": loss,
        }
        return {**described, "skip_bad": True} if self._skip_bad else described

    def __repr__(self) -> str:
        return f"Corpus({self.name!r}, kind={self._source.kind!r}, path={self._source.origin!r})"


def _or_skip(fix: str | None) -> str:
    return f"{fix or ''} --skip-bad leaves such records out, and counts them.".strip()


def read_corpus(
    source: str | Path | datasets.Dataset | datasets.IterableDataset,
    *,
    split: str = "train",
    text_field: str = TEXT_FIELD,
    id_field: str = "id",
    source_field: str = "source",
    loss: Loss = "assistant",
    skip_bad: bool = False,
) -> Corpus:
    """Open a corpus; documents are read when it is iterated.

    Args:
        source: A file, folder, hub name or `datasets` object (see the module's table).
        split: The split of a hub dataset or of a saved dataset that has several. Files have none.
        text_field: The name of the field of the text, the only one that is required.
        id_field: The name of the field of a document's id.
        source_field: The name of the field of its source; a document without one has the source "unknown".
        loss: Which tokens of a fine-tuning example count: the assistant's (of a prompt and completion, the
            completion's), all, or those of the last turn of the assistant. A mask that comes with token ids stands.
        skip_bad: Leave out records that are no documents (null, without a text, not UTF-8, broken) instead of
            stopping at the first: they are counted, and the first are named.

    Raises:
        InputError: The source does not exist, is of no known format, or the hub cannot be reached.
    """
    found = find_source(source, split, text_field, source_field)
    return Corpus(found, Fields(text_field, id_field, source_field, loss), skip_bad)
