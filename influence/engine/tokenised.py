"""From a corpus to the tokenised documents of a run: survey, draw, tokenise, store."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from influence.data.chats import chat_template
from influence.data.document_tokens import TokenReport, encode_documents
from influence.engine.parallel.distributed import ALONE, World
from influence.errors import StoreError
from influence.models.load import LanguageModel
from influence.progress import Progress
from influence.store.artefact import write_json
from influence.store.documents import FILE, REPORT, DocumentTable, write_documents
from influence.store.journal import intact
from influence.types import Chat, Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Corpus(Protocol):
    """What the engine asks of a corpus: a name, and documents that can be streamed again and again.

    Attributes:
        bad, unkept: Records and fields of metadata that the last whole reading left out.
    """

    bad: int
    unkept: Counter[str]

    @property
    def name(self) -> str: ...

    def __iter__(self) -> Iterator[Document]: ...


@dataclass(frozen=True, slots=True)
class Survey:
    """Size and content of a corpus: any change of an id, a source, a text or an example changes the fingerprint."""

    documents: int
    fingerprint: str


class _Surveyor:
    """Surveys the documents that stream through it, as the tokenizer will write them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._documents = 0
        self._tokenizer = tokenizer

    def see(self, documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            for part in (document.id, document.source, document.text, *self._example(document)):
                data = part.encode("utf-8", "surrogatepass")
                self._digest.update(len(data).to_bytes(8, "little") + data)
            self._documents += 1
            yield document

    def _example(self, document: Document) -> Iterator[str]:
        """What else than their text determines the tokens of a fine-tuning example and their loss."""
        if (example := document.example) is not None:
            yield json.dumps([type(example).__name__, asdict(example)], sort_keys=True)
        if isinstance(example, Chat):
            yield chat_template(self._tokenizer, example.tools)

    def survey(self) -> Survey:
        return Survey(self._documents, self._digest.hexdigest())


def survey(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, world: World = ALONE) -> Survey:
    """Stream the corpus once. Also on resume: a corpus that changed under a run must be noticed."""
    surveyor = _Surveyor(tokenizer)
    if world.first:
        with Progress("reading corpus", 0) as bar:
            for _ in surveyor.see(corpus):
                bar.advance()
    return Survey(**world.broadcast(asdict(surveyor.survey())))


def tokenised_documents(
    folder: Path,
    corpus: Corpus,
    found: Survey,
    model: LanguageModel,
    max_length: int,
    windows: bool,
    *,
    draw: int | None = None,
    seed: int = 0,
    rows: range | None = None,
    world: World = ALONE,
) -> tuple[DocumentTable, TokenReport]:
    """The documents of a run in `folder`: tokenised now, or found there from before a kill.

    Args:
        found: What the survey of the corpus found; StoreError if the corpus is another one by now.
        draw: Keep this many, drawn uniformly without replacement.
        rows: Keep these documents, a piece of the corpus.
        world: Its first process tokenises.
    """
    if world.first and not (intact(folder / FILE) and intact(folder / REPORT)):
        size, surveyor = found.documents, _Surveyor(model.tokenizer)
        documents = surveyor.see(corpus)
        kept = rows if draw is None else drawn_rows(size, draw, seed)
        if kept is not None:
            documents = (document for row, document in enumerate(documents) if row in kept)
        report = TokenReport()
        piece = rows is not None
        with Progress("tokenising", len(rows) if rows is not None else min(size, draw or size)) as bar:
            encoded = encode_documents(
                _ticked(documents, bar),
                model.tokenizer,
                max_length,
                windows,
                report,
                piece,
                model.trained_context,
            )

            def finish() -> None:
                _require_unchanged(corpus, found, surveyor.survey())
                if rows is None or rows.start == 0:  # of all pieces one counts what is in none
                    report.bad, report.unkept = corpus.bad, corpus.unkept.total()

            _write(folder, encoded, report, finish)
    world.barrier((folder / FILE, folder / REPORT))
    report = TokenReport(**json.loads((folder / REPORT).read_text()))
    return DocumentTable(folder), report


def drawn_rows(size: int, draw: int, seed: int) -> Container[int] | None:
    """Rows of a corpus of `size` documents that are drawn uniformly without replacement; None: all of them."""
    if draw >= size:
        return None
    return set(np.random.default_rng(seed).choice(size, draw, replace=False).tolist())


def _require_unchanged(corpus: Corpus, before: Survey, now: Survey) -> None:
    if before != now:
        raise StoreError(
            f"The corpus {corpus.name} changed while it was read.",
            have=f"{before.documents:,} documents at first, then {now.documents:,}"
            if before.documents != now.documents
            else "other ids, sources or texts the second time",
            fix="Run the command again, into another --out, once nothing writes to the corpus.",
        )


def _write(
    folder: Path,
    rows: Iterator[tuple[Document, list[int]]],
    report: TokenReport,
    finish: Callable[[], None],
) -> None:
    """Store documents, and the report once it is finished; the documents appear last, so where they are both are."""

    def then_report() -> Iterator[tuple[Document, list[int]]]:
        yield from rows
        finish()
        write_json(folder / REPORT, asdict(report))

    write_documents(folder, then_report())


def _ticked(documents: Iterator[Document], bar: Progress) -> Iterator[Document]:
    for document in documents:
        yield document
        bar.advance()
