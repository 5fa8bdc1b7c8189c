"""From text to token ids: BOS once, truncation or windows, never more text kept than was tokenised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from influence.errors import InputError
from influence.types import Document, Query

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 512
#: By tokenizer: see `_with_whole_offsets`.
_whole: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


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
        if self.empty:
            parts.append(f"{self.empty:,} left out for having no token to predict")
        if self.end_left_off:
            parts.append("the end token that the tokenizer appends is left off")
        if self.beyond_context:
            parts.append(f"{self.beyond_context:,} longer than any text the model was trained on")
        return "; ".join(parts)


def prefix_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that this tokenizer itself puts before every text, such as `<s>`, `[CLS]` or `[gMASK]<sop>`."""
    return _frame(tokenizer)[0]


def _frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and after a text."""
    encoding: Any = tokenizer("a", return_special_tokens_mask=True)
    ids, special = list(encoding["input_ids"]), list(encoding["special_tokens_mask"])
    if 0 not in special:
        return ids, []
    return ids[: special.index(0)], ids[len(special) - special[::-1].index(0) :]


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[tuple[list[int], list[int]]]:
    """Token ids without special tokens, and the end offset of each token in its text.

    A text that begins with the tokenizer's prefix itself does not get a second one: the first is dropped here.
    """
    prefix = prefix_ids(tokenizer)
    results = []
    for ids, ends in _ids_and_ends(tokenizer, texts):
        skip = len(prefix) if ids[: len(prefix)] == prefix else 0
        results.append((ids[skip:], ends[skip:]))
    return results


def _ids_and_ends(
    tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> Iterator[tuple[list[int], list[int]]]:
    whole = _with_whole_offsets(tokenizer)
    if whole is not None:
        for encoding in whole.encode_batch(texts, add_special_tokens=False):
            yield list(encoding.ids), [end for _, end in encoding.offsets]
        return
    encodings: Any = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    for ids, offsets in zip(encodings["input_ids"], encodings["offset_mapping"], strict=True):
        yield list(ids), [end for _, end in offsets]


def _with_whole_offsets(tokenizer: PreTrainedTokenizerBase) -> Any:
    """A copy of the backend of a tokenizer that trims white space off its offsets, which does not; None: it does not.

    Trimmed, a token that straddles prompt and completion, such as `.\\n\\n`, seems to end before the completion.
    """
    if tokenizer not in _whole:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        text = backend.to_str() if backend is not None else ""
        whole = text.replace('"trim_offsets":true', '"trim_offsets":false')
        _whole[tokenizer] = None
        if whole != text:
            from tokenizers import Tokenizer

            copy = Tokenizer.from_str(whole)
            copy.no_truncation()
            copy.no_padding()
            _whole[tokenizer] = copy
    return _whole[tokenizer]


def encode_documents(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    windows: bool,
    report: TokenReport,
    may_be_empty: bool = False,
    trained_context: int | None = None,
) -> Iterator[tuple[Document, list[int]]]:
    """Tokenise documents in order; `report` is filled in on the way.

    Args:
        max_length: Most tokens of a document, BOS included.
        windows: Cut a longer document into windows `id#0, id#1, …` instead of keeping only its beginning.
        may_be_empty: Accept that none of them has text: they are a part of a corpus.
        trained_context: Longest text of the model's training, in tokens; longer documents are counted.

    A document with nothing to predict (fewer than two tokens, BOS included) is left out and counted.
    """
    _require_offsets(tokenizer)
    prefix, suffix = _frame(tokenizer)
    room = max_length - len(prefix)
    if max_length < 2:
        raise InputError(f"--max-length {max_length} leaves no room for text.", fix="Use at least 2.")
    stream = iter(documents)
    while batch := list(islice(stream, _BATCH)):
        for document, (ids, ends) in zip(batch, encode(tokenizer, [d.text for d in batch]), strict=True):
            if len(prefix) + len(ids) < 2:
                report.empty += 1
                continue
            starts = range(0, len(ids), room) if windows else range(1)
            if len(ids) > room and not windows:
                report.truncated += 1
            for number, start in enumerate(starts):
                part = ids[start : start + room]
                if len(prefix) + len(part) < 2:  # a last window of one token
                    continue
                begin, end = (ends[start - 1] if start else 0), ends[start + len(part) - 1]
                piece = document
                if len(ids) > room:
                    identity = f"{document.id}#{number}" if windows else document.id
                    piece = replace(document, id=identity, text=document.text[begin:end])
                    report.windows += windows
                report.documents += 1
                report.end_left_off += bool(suffix)
                report.tokens += len(prefix) + len(part)
                report.beyond_context += (
                    trained_context is not None and len(prefix) + len(part) > trained_context
                )
                yield piece, prefix + part
    if report.documents == 0 and not may_be_empty:
        raise InputError("The corpus holds no text.", have=f"{report.empty} empty documents")


def encode_query(tokenizer: PreTrainedTokenizerBase, query: Query, max_length: int) -> tuple[list[int], int]:
    """Token ids of prompt + completion, and the position where the completion begins.

    Prompt and completion are tokenised as one text; a token that straddles the boundary belongs to the completion.

    Raises:
        InputError: the two do not fit into `max_length`, or the completion has no token of its own.
    """
    _require_offsets(tokenizer)
    prefix = prefix_ids(tokenizer)
    ((ids, ends),) = encode(tokenizer, [query.prompt + query.completion])
    boundary = len(query.prompt)
    prompt_tokens = sum(end <= boundary for end in ends)
    tokens = prefix + ids
    start = max(len(prefix) + prompt_tokens, 1)
    if start >= len(tokens):
        raise InputError(
            f"Query {query.id}: the completion has no token to score.", have=repr(query.completion)
        )
    if len(tokens) > max_length:
        raise InputError(
            f"Query {query.id} has {len(tokens)} tokens, more than --max-length {max_length}.",
            fix="Raise --max-length, or shorten the query.",
        )
    return tokens, start


def _require_offsets(tokenizer: PreTrainedTokenizerBase) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"{type(tokenizer).__name__} cannot say where its tokens lie in the text.",
            fix="Use a fast tokenizer: AutoTokenizer.from_pretrained(..., use_fast=True), saved beside the model.",
        )
