"""The documents of a run, tokenised, in one memory-mapped Arrow file.

`documents.arrow` (Arrow IPC): `id, source, text, metadata` (strings; metadata is JSON), `tokens` (list<int32>, with BOS
if the tokenizer adds one) and `loss_mask` (list<uint8>: 1 for each token whose loss counts; empty where that of every
token does). Row order is document order: columns of a score matrix. Files of before fine-tuning examples were scored
lack `loss_mask`, and are read as if it were empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from influence.errors import StoreError
from influence.files import whole_file
from influence.store.journal import VERIFIED_AT_OPEN
from influence.types import Document

FILE = "documents.arrow"
#: What happened to the documents on their way to tokens, beside them.
REPORT = "tokens.json"
ROWS_PER_BATCH = 4096
SNIPPET_CHARACTERS = 160

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("text", pa.large_string()),
        ("metadata", pa.string()),
        ("tokens", pa.list_(pa.int32())),
        ("loss_mask", pa.list_(pa.uint8())),
    ]
)
#: Of files that were written before there was a mask.
_WITHOUT_MASK = _SCHEMA.remove(len(_SCHEMA) - 1)


def write_documents(folder: Path, documents: Iterable[tuple[Document, list[int]]]) -> None:
    """Stream pairs of a document and its token ids into `folder/documents.arrow`, atomically, with flat memory."""
    rows: list[tuple[Document, list[int]]] = []
    with (
        whole_file(folder / FILE) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_file(sink, _SCHEMA) as writer,
    ):
        for row in documents:
            rows.append(row)
            if len(rows) == ROWS_PER_BATCH:
                writer.write_batch(_record_batch(rows))
                rows = []
        if rows:
            writer.write_batch(_record_batch(rows))


def join_documents(folder: Path, tables: Sequence[DocumentTable]) -> None:
    """Write the documents of several tables, one table after another, as `write_documents` would have."""
    waiting: list[Any] = []
    with (
        whole_file(folder / FILE) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_file(sink, _SCHEMA) as writer,
    ):
        for table in tables:
            for batch in table.batches:
                waiting.append(batch)
                if sum(len(rows) for rows in waiting) >= ROWS_PER_BATCH:
                    joined = pa.concat_batches(waiting)
                    writer.write_batch(joined.slice(0, ROWS_PER_BATCH))
                    waiting = [joined.slice(ROWS_PER_BATCH)]
        if sum(len(rows) for rows in waiting):
            writer.write_batch(pa.concat_batches(waiting))


def _record_batch(rows: list[tuple[Document, list[int]]]) -> Any:
    """Built from buffers: `pa.array`, and `to_numpy` too, imports pandas to ask whether it is wanted: 40 MB."""
    strings = (
        [document.id for document, _ in rows],
        [document.source for document, _ in rows],
        [document.text for document, _ in rows],
        [json.dumps(document.metadata, ensure_ascii=True) for document, _ in rows],
    )
    tokens = _list_array([tokens for _, tokens in rows], np.dtype(np.int32), pa.int32())
    masks = _list_array([document.loss_mask or () for document, _ in rows], np.dtype(np.uint8), pa.uint8())
    columns = (*map(_string_array, strings), tokens, masks)
    return pa.record_batch(
        [column.cast(field.type) for column, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )


def _string_array(texts: Sequence[str]) -> Any:
    encoded = [text.encode() for text in texts]
    buffers = [None, _offsets(encoded), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)


def _list_array(lists: Sequence[Sequence[int]], dtype: np.dtype[Any], type_: Any) -> Any:
    values = np.fromiter(chain.from_iterable(lists), dtype)
    items = pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(values)])
    return pa.Array.from_buffers(pa.large_list(type_), len(lists), [None, _offsets(lists)], children=[items])


def _with_mask(batch: Any) -> Any:
    """A record batch of a file without masks with an empty one for every document."""
    masks = _list_array([()] * len(batch), np.dtype(np.uint8), pa.uint8()).cast(
        _SCHEMA.field("loss_mask").type
    )
    return pa.record_batch([*batch.columns, masks], schema=_SCHEMA)


def _offsets(parts: Sequence[Sized]) -> Any:
    """Where each part begins and the last one ends, in bytes or items of all of them joined."""
    return pa.py_buffer(np.cumsum([0, *map(len, parts)], dtype=np.int64))


@dataclass(frozen=True)
class DocumentTable:
    """Memory-mapped documents, addressed by their column number in a score matrix."""

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / FILE).exists():
            raise StoreError(
                f"{self.folder / FILE} is missing.", fix="Run the command that made the folder again."
            )

    @cached_property
    def batches(self) -> list[Any]:
        """The Arrow record batches of the file, of `ROWS_PER_BATCH` rows each but the last."""
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(self.folder / FILE)))
            if not reader.schema.equals(_SCHEMA) and not reader.schema.equals(_WITHOUT_MASK):
                raise ValueError("other columns than those of documents")
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            if any(len(batch) != ROWS_PER_BATCH for batch in batches[:-1]):
                raise ValueError("batches of another size")
            for batch in batches:  # offsets that point elsewhere would read other memory
                batch.validate(full=(self.folder / FILE).stat().st_size <= VERIFIED_AT_OPEN)
                if any(column.null_count for column in batch.columns):
                    raise ValueError("fields without a value")
            if reader.schema.equals(_WITHOUT_MASK):
                return [_with_mask(batch) for batch in batches]
            for batch in batches:
                tokens_N, masked_N = (
                    np.from_dlpack(batch.column(name).value_lengths()) for name in ("tokens", "loss_mask")
                )
                if not np.all((masked_N == 0) | (masked_N == tokens_N)):
                    raise ValueError("a loss mask of another length than its tokens")
            return batches
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StoreError(
                f"{self.folder / FILE} is damaged.",
                have=str(error).partition("\n")[0],
                fix="Delete the folder and run the command that made it again.",
            ) from error

    def __len__(self) -> int:
        return sum(batch.num_rows for batch in self.batches)

    def _cell(self, column: str, index: int) -> Any:
        return self.batches[index // ROWS_PER_BATCH].column(column)[index % ROWS_PER_BATCH]

    @cached_property
    def ids(self) -> npt.NDArray[np.object_]:
        """Document ids, `[D]`; a Python string each, so for a few documents of many `take` is the way."""
        return self._strings("id")

    @cached_property
    def sources(self) -> npt.NDArray[np.object_]:
        """Source label of each document, `[D]`."""
        return self._strings("source")

    def column(self, name: str) -> Any:
        """A column of the file as an Arrow chunked array, memory-mapped: no Python object a document."""
        return pa.chunked_array([batch.column(name) for batch in self.batches], _SCHEMA.field(name).type)

    def take(self, name: str, columns: npt.ArrayLike) -> npt.NDArray[np.object_]:
        """The `id`, `source` or `text` of a few documents, by their column number in a score matrix."""
        values = np.empty(len(np.asarray(columns)), object)
        values[:] = [self._cell(name, int(index)).as_py() for index in np.asarray(columns)]
        return values

    def _strings(self, column: str) -> npt.NDArray[np.object_]:
        parts = [batch.column(column).to_numpy(zero_copy_only=False) for batch in self.batches]
        return np.concatenate(parts) if parts else np.zeros(0, object)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document, `[D]`."""
        parts = [np.from_dlpack(batch.column("tokens").value_lengths()) for batch in self.batches]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    @cached_property
    def highest_token(self) -> int:
        """The largest token id of all documents; −1 where there are none."""
        parts = [np.from_dlpack(batch.column("tokens").flatten()) for batch in self.batches]
        return max((int(ids.max()) for ids in parts if len(ids)), default=-1)

    def text(self, index: int) -> str:
        """Text of the document in column `index`."""
        return str(self._cell("text", index).as_py())

    def snippet(self, index: int) -> str:
        """First characters of the text, white space collapsed."""
        text = " ".join(self.text(index)[: 4 * SNIPPET_CHARACTERS].split())
        return text if len(text) <= SNIPPET_CHARACTERS else text[: SNIPPET_CHARACTERS - 1] + "…"

    def metadata(self, index: int) -> dict[str, Any]:
        """Metadata of the document in column `index`."""
        try:
            value = json.loads(self._cell("metadata", index).as_py())
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise StoreError(
                f"{self.folder / FILE} is damaged.",
                have=f"the metadata of document {index + 1:,} are no JSON object",
                fix="Delete the folder and run the command that made it again.",
            )
        return value

    def tokens(self, index: int) -> npt.NDArray[np.int32]:
        """Token ids of the document in column `index`."""
        return np.asarray(np.from_dlpack(self._cell("tokens", index).values), np.int32)

    def loss_mask(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Whether the loss of each token counts, of the document in column `index`; None: that of every token."""
        values = self._cell("loss_mask", index).values
        return np.asarray(np.from_dlpack(values), np.bool_) if len(values) else None
