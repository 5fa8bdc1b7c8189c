"""Documents that an earlier run scored already: only those that are new go through the model. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from influence.data.document_tokens import TokenReport, encode_documents
from influence.errors import StoreError
from influence.store.artefact import differences
from influence.store.documents import FILE, DocumentTable
from influence.store.scores import Scores
from influence.types import Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Columns = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reused:
    """Columns of a run whose scores an earlier run holds.

    Attributes:
        scores: Of the earlier run.
        here, there: Columns of the same documents, `[N]`.
    """

    scores: Scores
    here: Columns
    there: Columns


def reusable(table: DocumentTable, earlier: Scores, config: Mapping[str, Any]) -> Reused:
    """The documents of `table`, by id, tokens and loss mask, that `earlier` scored.

    Args:
        config: Of the run that is to be made.

    Raises:
        StoreError: see `require_same_but_corpus`.
    """
    require_same_but_corpus(earlier, config)
    ours, theirs = _digests(table), _digests(earlier.documents)
    _, here, there = np.intersect1d(ours, theirs, return_indices=True)
    known = np.isfinite(earlier.gradient_norm[there])  # a search of an index leaves some out
    same = [
        np.array_equal(table.tokens(a), earlier.documents.tokens(b))
        and _same_loss(table.loss_mask(a), earlier.documents.loss_mask(b))
        for a, b in zip(here.tolist(), there.tolist(), strict=True)
    ]
    kept = known & np.array(same, bool)
    return Reused(earlier, here[kept], there[kept])


def require_same_but_corpus(earlier: Scores, config: Mapping[str, Any]) -> None:
    """StoreError where the earlier run has other queries, another model or Hessian, or other settings."""
    changed = differences(*(_but_corpus(record) for record in (earlier.manifest["config"], config)))
    if changed:
        raise StoreError(
            f"The scores in {earlier.folder} cannot be used again: they were made otherwise.",
            have="; ".join(changed),
            fix="Score with the same queries, model, Hessian and settings, or without --reuse.",
        )


class Scored:
    """Documents that an earlier run scored: texts are told by id and text before anything is tokenised."""

    def __init__(
        self, earlier: Scores, tokenizer: PreTrainedTokenizerBase, max_length: int, windows: bool
    ) -> None:
        self._scores, self._table, self._max_length = earlier, earlier.documents, max_length
        self._tokenizer, self._windowed = tokenizer, windows
        hashes_D = np.fromiter((hash(name) for name in self._table.ids), np.int64, len(self._table))
        self._order = np.argsort(hashes_D)
        self._hashes = hashes_D[self._order]

    def rows(self, document: Document) -> list[int]:
        """Where it is in the earlier run: one row, or one for each of its windows; none if it is new or changed."""
        if document.example is not None:
            return self._of_example(document)
        whole = self._row(document.id)
        rows = [whole] if whole is not None else self._windows(document.id)
        stored = "".join(self._table.text(row) for row in rows)
        same = document.text.startswith(stored)
        return rows if rows and same and (len(stored) == len(document.text) or self._cut(rows)) else []

    def _of_example(self, document: Document) -> list[int]:
        """The same of a fine-tuning example, told by its tokens and their loss."""
        pieces = encode_documents(
            [document], self._tokenizer, self._max_length, self._windowed, TokenReport(), True
        )
        rows = []
        for piece, ids in pieces:
            row = self._row(piece.id)
            mask = None if piece.loss_mask is None else np.array(piece.loss_mask)
            if (
                row is None
                or self._table.tokens(row).tolist() != ids
                or not _same_loss(self._table.loss_mask(row), mask)
            ):
                return []
            rows.append(row)
        return rows

    def _windows(self, name: str) -> list[int]:
        rows: list[int] = []
        while (row := self._row(f"{name}#{len(rows)}")) is not None:
            rows.append(row)
        return rows

    def _row(self, name: str) -> int | None:
        place = int(np.searchsorted(self._hashes, hash(name)))
        if place == len(self._hashes) or self._hashes[place] != hash(name):
            return None
        row = int(self._order[place])
        return row if np.isfinite(self._scores.gradient_norm[row]) else None

    def _cut(self, rows: Sequence[int]) -> bool:
        return int(self._table.lengths[rows[-1]]) == self._max_length

    def tokens(self, rows: Sequence[int]) -> int:
        """Of these documents."""
        return int(self._table.lengths[np.asarray(rows, np.int64)].sum())

    def bytes(self, rows: Sequence[int]) -> float:
        """That they take in the store, about."""
        size = (self._table.folder / FILE).stat().st_size
        return size * self.tokens(rows) / max(1, int(self._table.lengths.sum()))


def _same_loss(a: npt.NDArray[np.bool_] | None, b: npt.NDArray[np.bool_] | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def _but_corpus(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "corpus"}


def _digests(table: DocumentTable) -> npt.NDArray[np.uint64]:
    """Eight bytes for each document, of its id and tokens."""
    found = np.empty(len(table), np.uint64)
    for start in range(0, len(table), 4096):
        columns = np.arange(start, min(start + 4096, len(table)))
        for column, name in zip(columns.tolist(), table.take("id", columns), strict=True):
            digest = hashlib.blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8)
            digest.update(table.tokens(column).tobytes())
            if (mask := table.loss_mask(column)) is not None:
                digest.update(mask.tobytes())
            found[column] = int.from_bytes(digest.digest(), "little")
    return found
