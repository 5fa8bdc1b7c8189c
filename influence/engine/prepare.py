"""From a corpus to the tokenised documents of a run: survey, draw, tokenise, store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from influence.data.tokens import TokenReport, encode_documents
from influence.engine.passes import progress
from influence.store.artefact import write_json
from influence.store.documents import FILE, REPORT, DocumentTable, write_documents
from influence.types import Document


class Corpus(Protocol):
    """What the engine asks of a corpus: a name, and documents that can be streamed again and again."""

    @property
    def name(self) -> str: ...

    def __iter__(self) -> Iterator[Document]: ...


@dataclass(frozen=True, slots=True)
class Survey:
    """Size and content of a corpus: any change of an id, a source or a text changes the fingerprint."""

    documents: int
    fingerprint: str


def survey(corpus: Corpus) -> Survey:
    """Stream the corpus once. Also on resume: a corpus that changed under a run must be noticed."""
    digest = hashlib.blake2b(digest_size=16)
    count = 0
    with progress("reading corpus", 0) as bar:
        for document in corpus:
            for part in (document.id, document.source, document.text):
                data = part.encode("utf-8", "surrogatepass")
                digest.update(len(data).to_bytes(8, "little") + data)
            count += 1
            bar.update()
    return Survey(count, digest.hexdigest())


def tokenised_documents(
    folder: Path,
    corpus: Corpus,
    size: int,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    windows: bool,
    *,
    draw: int | None = None,
    seed: int = 0,
    rows: range | None = None,
) -> tuple[DocumentTable, TokenReport]:
    """The documents of a run in `folder`: tokenised now, or found there from before a kill.

    Args:
        size: Documents in the corpus.
        draw: Keep this many, drawn uniformly without replacement.
        rows: Keep these documents, a piece of the corpus.
    """
    if not (folder / FILE).exists():
        documents: Iterator[Document] = iter(corpus)
        if draw is not None and draw < size:
            kept = set(np.random.default_rng(seed).choice(size, draw, replace=False).tolist())
            documents = (document for row, document in enumerate(corpus) if row in kept)
        elif rows is not None:
            documents = (document for row, document in enumerate(corpus) if row in rows)
        report = TokenReport()
        piece = rows is not None
        with progress("tokenising", len(rows) if rows is not None else min(size, draw or size)) as bar:
            encoded = encode_documents(_ticked(documents, bar), tokenizer, max_length, windows, report, piece)
            _write(folder, encoded, report)
    report = TokenReport(**json.loads((folder / REPORT).read_text()))
    return DocumentTable(folder), report


def _write(folder: Path, rows: Iterator[tuple[Document, list[int]]], report: TokenReport) -> None:
    """Store documents and report; the documents appear last, so their presence means both are there."""

    def then_report() -> Iterator[tuple[Document, list[int]]]:
        yield from rows
        write_json(folder / REPORT, asdict(report))

    write_documents(folder, then_report())


def _ticked(documents: Iterator[Document], bar: Any) -> Iterator[Document]:
    for document in documents:
        yield document
        bar.update()
