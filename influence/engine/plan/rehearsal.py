"""Documents drawn from a corpus for a rehearsal, and what they say about all that a run would use."""

from __future__ import annotations

import random
import tempfile
import time
from array import array
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from influence.data.document_tokens import TokenReport, encode_documents
from influence.engine.batching import Columns, batches, length_order
from influence.engine.reuse import Scored
from influence.engine.tokenised import Corpus
from influence.errors import InputError
from influence.models.load import LanguageModel
from influence.store.documents import FILE, DocumentTable, write_documents
from influence.types import Document, TokenIds

#: Documents drawn to count tokens by.
_DRAWN = 1000
#: Pairs of batches that go through each pass: a scan takes two at a time on a CPU.
_PAIRS = 8

#: What a rehearsal is timed by.
clock = time.perf_counter


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the documents drawn, and their tokens."""

    table: DocumentTable
    tokens: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """Documents drawn from a corpus. Those that an earlier run scored are counted, not drawn.

    Attributes:
        folder: Empty, and removed afterwards.
        documents, bytes: Of all that a run would store.
        scored: Documents of these that an earlier run scored.
        tokens: Of all others; they go through the model.
        reading: Seconds to read, tokenise and store all of them.
        few, more: Documents of several lengths for the rehearsals.
    """

    folder: Path
    documents: int
    bytes: float
    scored: int
    tokens: float
    reading: float
    few: Part
    more: Part

    def at_all_tokens(self, few: float, more: float) -> float:
        """What a pass over all documents takes, from what it took over `few` and `more`, on a straight line."""
        steps = self.more.tokens - self.few.tokens
        if steps == 0 or more <= few:
            return more * self.tokens / max(1, self.more.tokens)
        return more + (more - few) * (self.tokens - self.more.tokens) / steps


@contextmanager
def drawn_documents(
    model: LanguageModel,
    corpus: Corpus,
    max_length: int,
    windows: bool,
    batch_tokens: int,
    rows: Callable[[int], Container[int] | None],
    earlier: Scored | None = None,
) -> Iterator[Drawn]:
    """Read the corpus as a run does, twice, and draw from it.

    Args:
        rows: Those that the run would use of a corpus of so many documents; None: all.
        earlier: Documents scored before.
    """
    started = clock()
    wanted = rows(sum(1 for _ in corpus))
    census = _Census(earlier)
    for row, document in enumerate(corpus):
        if wanted is None or row in wanted:
            census.see(document)
    reading = clock() - started
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = clock()
        documents = iter(census.kept)
        encoded = list(encode_documents(documents, model.tokenizer, max_length, windows, TokenReport(), True))
        _stored(folder / "drawn", encoded)
        tokenising = clock() - started
        if not encoded and wanted is None and not census.scored:
            raise InputError(f"None of {len(census.kept)} documents drawn from {corpus.name} has a text.")
        found, tokens = census.expected(encoded, max_length, windows)
        sample = max(1, sum(len(ids) for _, ids in encoded))
        size = (folder / "drawn" / FILE).stat().st_size
        more = _pairs(np.array([len(ids) for _, ids in encoded], np.int64), batch_tokens)
        few = more[1::4] or more
        yield Drawn(
            folder=folder,
            documents=found + len(census.scored),
            bytes=size * tokens / sample + (earlier.bytes(census.scored) if earlier else 0),
            scored=len(census.scored),
            tokens=tokens,
            reading=reading
            + tokenising * (tokens + (earlier.tokens(census.scored) if earlier else 0)) / sample,
            few=_part(folder / "few", encoded, few),
            more=_part(folder / "more", encoded, more),
        )


class _Census:
    """The documents of a run as they stream by: some are kept (reservoir sampling), all are counted."""

    def __init__(self, earlier: Scored | None) -> None:
        self._earlier = earlier
        self._generator = random.Random(0)
        self._characters = array("q")
        self.kept: list[Document] = []
        self.scored: list[int] = []  # rows of the earlier run

    def see(self, document: Document) -> None:
        if self._earlier and (rows := self._earlier.rows(document)):
            self.scored += rows
            return
        self._characters.append(_characters(document))
        if len(self.kept) < _DRAWN:
            self.kept.append(document)
        elif (place := self._generator.randrange(len(self._characters))) < _DRAWN:
            self.kept[place] = document

    def expected(
        self, encoded: Sequence[tuple[Document, list[int]]], max_length: int, windows: bool
    ) -> tuple[int, float]:
        """Documents and tokens of all that were not scored, from the characters of each (ratio estimates)."""
        tokens = sum(len(ids) for _, ids in encoded)
        rate = tokens / max(1, sum(len(document.text) for document, _ in encoded))

        def guess(characters_N: npt.NDArray[np.int64]) -> tuple[float, float]:
            tokens_N = np.rint(characters_N * rate)
            if windows:
                windows_N = np.ceil((tokens_N - 1) / max_length)  # a last one of one token is left out
                return float(windows_N.sum()), float(tokens_N.sum())
            return float(len(tokens_N)), float(np.minimum(tokens_N, max_length).sum())

        whole = guess(np.asarray(self._characters, np.int64))
        part = guess(np.array([_characters(document) for document in self.kept], np.int64))
        found = [
            all_of * seen / guessed if guessed else 0.0
            for all_of, guessed, seen in zip(whole, part, (len(encoded), tokens), strict=True)
        ]
        return round(found[0]), found[1]


def _characters(document: Document) -> int:
    """About how long a document is; of one that comes as tokens, as many as its tokens."""
    if isinstance(document.example, TokenIds):
        return len(document.example.input_ids)
    return len(document.text)


def _pairs(lengths: Columns, batch_tokens: int) -> list[Columns]:
    """Pairs of neighbouring batches of documents sorted by length, the longest and some at equal distances."""
    plan = list(batches(length_order(lengths), lengths, batch_tokens))
    starts = np.unique(np.linspace(0, max(0, len(plan) - 2), _PAIRS).round().astype(int) // 2 * 2)
    return [np.concatenate(plan[start : start + 2]) for start in starts if plan]


def _part(folder: Path, encoded: Sequence[tuple[Document, list[int]]], chosen: Sequence[Columns]) -> Part:
    rows = [encoded[column] for columns in chosen for column in columns]
    return Part(_stored(folder, rows), sum(len(ids) for _, ids in rows))


def _stored(folder: Path, rows: Sequence[tuple[Document, list[int]]]) -> DocumentTable:
    folder.mkdir()
    write_documents(folder, iter(rows))
    return DocumentTable(folder)


def seconds(work: Callable[[], object]) -> float:
    """What a call takes, on a GPU to its end."""
    started = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - started
