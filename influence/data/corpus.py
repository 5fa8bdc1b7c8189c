"""Read a training corpus as a stream of documents, whatever file it lies in.

| source | read as |
|---|---|
| `x.jsonl`, `x.ndjson`, also `.gz`, `.zst` | one JSON object a line |
| `x.json`, also `.gz`, `.zst` | a list of objects, or one object a line |
| `x.csv`, `x.tsv`, also `.gz`, `.zst` | one row a document; the first line names the fields |
| `x.parquet` | one row a document |
| a folder with such files (at any depth) | its JSONL and Parquet in sorted order, else its tables, else its JSON |
| a folder made by `datasets.save_to_disk` | that dataset |
| a folder of text files | one document a file: id = relative path, source = first sub-folder |
| the name of a ready corpus, `miniworld` | that corpus |
| `owner/name` or `owner/name:config` | a dataset on the hub, streamed |
| a `datasets.Dataset` or `IterableDataset` | itself |

A row without an id gets `<stem>-<row number>`, counted from 0, where the stem is the file's path inside the corpus
without its suffixes: the id stays the same as long as the rows before it do. Fields other than text, id and source
go to `Document.metadata`; a null field is the same as a missing one.

A record without a text may be a fine-tuning example, whose loss counts only a part of it: see
`influence.data.examples`.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence.data.records import TEXT_FIELD, Fields, SeenIds, field_of, hashed, row_id, to_document
from influence.data.rows import (
    RECORD_SUFFIXES,
    SHARD_SUFFIXES,
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    Row,
    dataset_rows,
    first_line,
    has_suffix,
    shard_rows,
    stem_of,
    text_rows,
)
from influence.errors import InputError
from influence.ready import ready_names, ready_path
from influence.types import Document, Loss

if TYPE_CHECKING:
    import datasets

_logger = logging.getLogger(__name__)
#: Files that `datasets` and the hub put beside data.
_CARDS = ("dataset_infos.json", "dataset_info.json", "state.json", "provenance.json")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")


class Corpus:
    """Documents that can be read any number of times, always in the same order.

    Iterating holds one record (or one Parquet record batch) and 8 bytes of hash per id. Iterating raises
    `InputError` at the first record that is not a document, some time after an id met twice, at the end at the
    latest, and at the end when there was no document at all.

    Attributes:
        name: A short name for tables: the file's stem, the folder's name, or the hub name.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        origin: str,
        split: str | None,
        rows: Callable[[], Iterator[Row]],
        fields: Fields,
    ) -> None:
        self.name = name
        self._kind = kind
        self._origin = origin
        self._split = split
        self._rows = rows
        self._fields = fields

    def __iter__(self) -> Iterator[Document]:
        seen = SeenIds()
        named = {self._fields.id, self._fields.source} - {"id", "source"}
        for row in self._rows():
            named -= {name for name in named if field_of(row, name) is not None}
            document = to_document(row, self._fields)
            if twice := seen.add(document.id):
                self._refuse_duplicates(twice)
            yield document
        if twice := seen.settle():
            self._refuse_duplicates(twice)
        if named and seen:
            raise InputError(
                f"No record of the corpus {self._origin} has a field {min(named)!r}.",
                fix="Check --id-field and --source-field; set is written meta.set where it is a field of meta.",
            )
        if not seen:
            raise InputError(
                f"The corpus {self._origin} has no documents.",
                fix="Give a corpus with at least one document.",
            )

    def _refuse_duplicates(self, hashes: set[int]) -> None:
        """Raise with both places of an id met twice; return if these were only collisions of hashes."""
        places: dict[str, str] = {}
        for row in self._rows():
            id_ = row_id(row, self._fields)
            if hashed(id_) not in hashes:
                continue
            if id_ in places:
                raise InputError(
                    f"Two documents of the corpus {self._origin} have the id {id_!r}.",
                    have=f"{places[id_]} and {row.where}",
                    fix="Make the ids unique, or drop the id field: rows without an id are numbered.",
                )
            places[id_] = row.where

    def describe(self) -> dict[str, Any]:
        """Where the documents come from, for provenance: JSON-able, without reading the corpus."""
        fields = asdict(self._fields)
        loss = fields.pop("loss")
        return {
            "name": self.name,
            "kind": self._kind,
            "path": self._origin,
            "split": self._split,
            "fields": fields,
            "loss": loss,
        }

    def __repr__(self) -> str:
        return f"Corpus({self.name!r}, kind={self._kind!r}, path={self._origin!r})"


def read_corpus(
    source: str | Path | datasets.Dataset | datasets.IterableDataset,
    *,
    split: str = "train",
    text_field: str = TEXT_FIELD,
    id_field: str = "id",
    source_field: str = "source",
    loss: Loss = "assistant",
) -> Corpus:
    """Open a corpus; documents are read when it is iterated.

    Args:
        source: A file, folder, hub name or `datasets` object (see the module's table).
        split: The split of a hub dataset or of a saved dataset that has several. Files have none.
        text_field, id_field, source_field: The names of the fields; only the text is required. A document without
            a source has the source "unknown".
        loss: Which tokens of a fine-tuning example count: the assistant's (of a prompt and completion, the
            completion's), all, or those of the last turn of the assistant. A mask that comes with token ids stands.

    Raises:
        InputError: The source does not exist, is of no known format, or the hub cannot be reached.
    """
    fields = Fields(text_field, id_field, source_field, loss)
    if not isinstance(source, str | Path):
        return _from_object(source, fields)
    if not str(source).strip():
        raise InputError("The name of the corpus is empty.", fix="Give a file, a folder or a hub name.")
    try:
        path = Path(source).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, of a user that there is not
        raise InputError(
            f"{str(source)[:80]!r} is no path.", have=first_line(error), fix="Check it."
        ) from error
    if not path.exists():
        path = ready_path("corpora", str(source)) or path
    if path.is_dir():
        return _from_folder(path, split, fields)
    if path.exists():
        _require_no_split(split, str(path))
        if not has_suffix(path.name, RECORD_SUFFIXES):
            raise InputError(
                f"{path} is not a corpus file.",
                have=path.suffix or "no suffix",
                fix=f"Give a file ending in {', '.join(RECORD_SUFFIXES)}, or a folder.",
            )
        stem = stem_of(path.name)
        kind = path.name[len(stem) :].lower().split(".")[1]
        return Corpus(stem, kind, str(path), None, lambda: shard_rows(path, stem), fields)
    text = str(source)
    if _HUB_NAME.fullmatch(text) and not has_suffix(text, (*RECORD_SUFFIXES, *TEXT_SUFFIXES)):
        return _from_hub(text, split, fields)
    raise InputError(
        f"There is no corpus at {text}.",
        fix="Give an existing file or folder, a hub name such as owner/name or owner/name:config, or a ready corpus: "
        f"{', '.join(ready_names('corpora'))}.",
    )


# -- the kinds of source


def _require_no_split(split: str, origin: str) -> None:
    if split != "train":
        raise InputError(
            f"The corpus {origin} has no splits.",
            have=f"split {split!r}",
            fix="Give the files of that split.",
        )


def _from_folder(folder: Path, split: str, fields: Fields) -> Corpus:
    name, origin = folder.resolve().name, str(folder)
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return _from_saved(folder, split, fields)
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    _require_no_split(split, origin)
    data = [file for file in files if has_suffix(file, SHARD_SUFFIXES)]
    others = [file for file in files if has_suffix(file, TABLE_SUFFIXES)]
    tables = [file for file in others if not has_suffix(file, (".json", ".json.gz", ".json.zst"))]
    shards = data or tables or others
    if shards:
        if unread := [file for file in others if file not in shards and file not in _CARDS]:
            named = ", ".join(unread[:3]) + (", …" if len(unread) > 3 else "")
            _logger.warning("Not read, beside %s of %s: %s", shards[0], folder, named)

        def all_rows() -> Iterator[Row]:
            for shard in shards:
                yield from shard_rows(folder / shard, stem_of(shard))

        return Corpus(name, "shards", origin, None, all_rows, fields)
    texts = [file for file in files if has_suffix(file, TEXT_SUFFIXES)]
    if texts:
        read_texts = partial(text_rows, folder, texts, fields.text, fields.source)
        return Corpus(name, "text files", origin, None, read_texts, fields)
    raise InputError(
        f"The folder {folder} holds no corpus.",
        have=f"{len(files)} files, none of them {', '.join((*RECORD_SUFFIXES, *TEXT_SUFFIXES))}",
        fix="Give a folder of such files, or one made by datasets.save_to_disk.",
    )


def _from_saved(folder: Path, split: str, fields: Fields) -> Corpus:
    import datasets

    try:
        data = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The saved dataset {folder} cannot be opened.", have=first_line(error), fix="Save it again."
        ) from error
    used: str | None = None
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise InputError(
                f"The saved dataset {folder} has no split {split!r}.",
                have=f"splits {', '.join(data)}",
                fix="Choose one of its splits.",
            )
        data, used = data[split], split
    name = folder.resolve().name
    return Corpus(name, "saved dataset", str(folder), used, lambda: dataset_rows(data, name), fields)


def _from_object(data: Any, fields: Fields) -> Corpus:
    import datasets

    if not isinstance(data, datasets.Dataset | datasets.IterableDataset):
        raise InputError(
            "A corpus is a path, a hub name, a datasets.Dataset or a datasets.IterableDataset.",
            have=type(data).__name__,
            fix="Choose a split if this is a DatasetDict.",
        )
    name = data.info.dataset_name or "dataset"
    split = str(data.split) if data.split is not None else None
    return Corpus(name, "datasets object", name, split, lambda: dataset_rows(data, name), fields)


def _from_hub(text: str, split: str, fields: Fields) -> Corpus:
    import datasets

    name, _, config = text.partition(":")
    with _hub_errors(text):
        data = datasets.load_dataset(name, config or None, split=split, streaming=True)

    def rows() -> Iterator[Row]:
        with _hub_errors(text):
            yield from dataset_rows(data, name.rpartition("/")[2])

    return Corpus(text, "hub dataset", text, split, rows, fields)


@contextlib.contextmanager
def _hub_errors(text: str) -> Iterator[None]:
    """Turn what `datasets` raises into one sentence; a network failure says so."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except InputError:
        raise
    except (DatasetsError, ValueError) as error:
        raise InputError(
            f"The hub dataset {text} cannot be read.",
            have=first_line(error),
            fix="Check its name, its config (owner/name:config) and its split, or use a local path.",
        ) from error
    except OSError as error:
        raise InputError(
            f"{text} is no local path, and the hub is unreachable.",
            have=first_line(error),
            fix="Use a local path, or try again with a network connection.",
        ) from error
