"""From documents of any kind to token ids and loss masks: truncation or windows, and a count of what was left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from influence.data.chats import encode_chat
from influence.data.tokens import (
    Tokens,
    detokenise,
    frame_ids,
    prefix_ids,
    require_offsets,
    tokenise,
    tokenise_completions,
)
from influence.errors import InputError
from influence.types import Chat, Completion, Document, TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 512
_BATCH_CHARACTERS = 1 << 24
_LIKE_A_WINDOW = re.compile(r"#\d+$")


@dataclass(slots=True)
class TokenReport:
    """What happened to the documents on their way to tokens. Shown to the user in every run."""

    documents: int = 0
    tokens: int = 0
    truncated: int = 0
    windows: int = 0
    empty: int = 0
    beyond_context: int = 0
    end_left_off: int = 0
    examples: int = 0
    counted: int = 0
    without_loss: int = 0
    bad: int = 0
    unkept: int = 0

    def sentence(self, max_length: int, positions: int | None = None) -> str:
        """One line for people.

        Args:
            positions: All that the model has an embedding of, where it has a table of them.
        """
        parts = [f"{self.documents:,} documents, {self.tokens:,} tokens"]
        if self.truncated:
            limit = ", all the positions of the model" if max_length == positions else ""
            parts.append(f"{self.truncated:,} truncated to {max_length} tokens{limit}")
        if self.windows:
            parts.append(f"{self.windows:,} are windows of longer documents")
        if self.examples:
            parts.append(f"loss on {self.counted:,} tokens of {self.examples:,} fine-tuning examples")
        if self.without_loss:
            parts.append(f"{self.without_loss:,} left out for having no token whose loss counts")
        if self.empty:
            parts.append(f"{self.empty:,} left out for having no token to predict")
        if self.bad:
            parts.append(f"{self.bad:,} bad records left out (--skip-bad)")
        if self.unkept:
            parts.append(f"{self.unkept:,} fields left out that JSON cannot hold")
        if self.end_left_off:
            parts.append("the end token that the tokenizer appends is left off")
        if self.beyond_context:
            parts.append(f"{self.beyond_context:,} longer than any text the model was trained on")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """The tokens of a whole document, and whether the loss of each of its `ids` counts (None: that of every one)."""

    tokens: Tokens
    counts: list[bool] | None


def encode_documents(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    windows: bool,
    report: TokenReport,
    may_be_empty: bool = False,
    trained_context: int | None = None,
) -> Iterator[tuple[Document, list[int]]]:
    """Tokenise documents in order; `report` is filled in on the way. A document brings its `loss_mask`.

    Args:
        max_length: Most tokens of a document, what the tokenizer puts before it included.
        windows: Cut a longer document into windows `id#0, id#1, …` instead of keeping only its beginning. A short one
            whose own id looks like that of a window is `id#0` too, so that no window of another has its id.
        may_be_empty: Accept that none of them has text: they are a part of a corpus.
        trained_context: Longest text of the model's training, in tokens; longer documents are counted.

    A document with nothing to predict (fewer than two tokens, prefix included) is left out and counted, and so is one,
    or a window of one, of which no token counts in the loss.
    """
    require_offsets(tokenizer)
    if max_length < 2:
        raise InputError(f"--max-length {max_length} leaves no room for text.", fix="Use at least 2.")
    _, suffix = frame_ids(tokenizer)
    first = None if windows else max_length + 1  # one more, by which it is known that there are more
    for batch in _batches(documents):
        for document, whole in zip(batch, _encoded(tokenizer, batch, first), strict=True):
            for piece, ids in _pieces(document, whole, max_length, windows, report):
                report.end_left_off += bool(suffix) and document.example is None
                report.documents += 1
                report.tokens += len(ids)
                report.beyond_context += trained_context is not None and len(ids) > trained_context
                yield piece, ids
    if not report.documents and not may_be_empty:
        raise _nothing_to_read(report)


def _pieces(
    document: Document, whole: _Encoded, max_length: int, windows: bool, report: TokenReport
) -> Iterator[tuple[Document, list[int]]]:
    """The windows of a document, or its beginning, each with its tokens; none where nothing is to be predicted."""
    text, prefix, ids, ends = whole.tokens.text, whole.tokens.prefix, whole.tokens.ids, whole.tokens.ends
    room = max_length - len(prefix)
    if len(prefix) + len(ids) < 2:
        report.empty += 1
        return
    is_cut = len(ids) > room
    report.truncated += is_cut and not windows
    for number, start in enumerate(range(0, len(ids), room) if windows else range(1)):
        part = ids[start : start + room]
        if len(prefix) + len(part) < 2:  # a last window of one token
            continue
        mask = None
        if whole.counts is not None:
            mask = (*(False for _ in prefix), *whole.counts[start : start + room])
            if not any(mask[1:]):
                report.without_loss += 1
                continue
        piece = document
        if document.example is not None:
            piece = replace(document, text=text, example=None, loss_mask=mask)
            report.examples += 1
            report.counted += len(prefix) + len(part) - 1 if mask is None else sum(mask[1:])
        if windows and (is_cut or _LIKE_A_WINDOW.search(document.id)):
            piece = replace(piece, id=f"{document.id}#{number}")
        if is_cut:
            begin, end = (ends[start - 1] if start else 0), ends[start + len(part) - 1]
            piece = replace(piece, text=text[begin:end])
            report.windows += windows
        yield piece, prefix + part


def _nothing_to_read(report: TokenReport) -> InputError:
    left_out = [f"{report.empty} empty documents"] if report.empty else []
    if report.without_loss:
        left_out.append(f"{report.without_loss} without a token whose loss counts")
    return InputError(
        "The corpus holds nothing to learn." if report.without_loss else "The corpus holds no text.",
        have=", ".join(left_out) or "0 empty documents",
        fix="Raise --max-length if the answers come late." if report.without_loss else None,
    )


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents some at a time: as many as tokenise well together, fewer where they are long."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) == _BATCH or characters > _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _encoded(
    tokenizer: PreTrainedTokenizerBase, documents: list[Document], first: int | None
) -> Iterator[_Encoded]:
    """Documents of any kind, all plain texts tokenised together, and all completions; `first` as in `tokenise`."""
    plain = tokenise(tokenizer, [d.text for d in documents if d.example is None], first=first)
    pairs = [(d.example.prompt, d.example.completion) for d in documents if isinstance(d.example, Completion)]
    completed = tokenise_completions(tokenizer, pairs, ended=True, first=first)
    for document in documents:
        match document.example:
            case Chat() as chat:
                tokens, counts = encode_chat(tokenizer, chat, f"document {document.id}")
                yield _without_prefix(tokenizer, _Encoded(tokens, counts))
            case TokenIds() as given:
                _require_known(tokenizer, given, document.id)
                tokens = detokenise(tokenizer, given.input_ids)
                yield _without_prefix(
                    tokenizer, _Encoded(tokens, None if given.counts is None else list(given.counts))
                )
            case Completion() as example:
                tokens, start = next(completed)
                counts = [n >= start for n in range(len(tokens.prefix), len(tokens.whole))]
                yield _Encoded(tokens, None if example.loss == "all" else counts)
            case None:
                yield _Encoded(next(plain), None)


def _require_known(tokenizer: PreTrainedTokenizerBase, tokens: TokenIds, document: str) -> None:
    if (highest := max(tokens.input_ids, default=-1)) >= len(tokenizer):
        raise InputError(
            f"Document {document} has a token id that the model's tokenizer has not.",
            have=f"{highest} of {len(tokenizer):,} ids",
            fix="Score it with the model that it was tokenised for.",
        )


def _without_prefix(tokenizer: PreTrainedTokenizerBase, whole: _Encoded) -> _Encoded:
    """The same with what the tokenizer puts before texts apart, if it is there, so that it begins every window."""
    prefix = prefix_ids(tokenizer) or [tokenizer.bos_token_id]
    size, tokens = len(prefix), whole.tokens
    if tokens.ids[:size] != prefix:
        return whole
    apart = replace(tokens, prefix=prefix, ids=tokens.ids[size:], ends=tokens.ends[size:])
    return _Encoded(apart, None if whole.counts is None else whole.counts[size:])
