"""From text to token ids: what the tokenizer puts before a text once, and where each token ends in the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from influence.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: By tokenizer: see `_with_whole_offsets`.
_whole: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def prefix_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that this tokenizer itself puts before every text, such as `<s>`, `[CLS]` or `[gMASK]<sop>`."""
    return frame_ids(tokenizer)[0]


def frame_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
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
    for ids, ends in ids_and_ends(tokenizer, texts):
        skip = len(prefix) if ids[: len(prefix)] == prefix else 0
        results.append((ids[skip:], ends[skip:]))
    return results


def ending(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """Return the EOS that a completion of fine-tuning still lacks: none where it has it, or where there is none."""
    eos = tokenizer.eos_token_id
    return [] if eos is None or ids[-1:] == [eos] else [eos]


def ids_and_ends(
    tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> Iterator[tuple[list[int], list[int]]]:
    """Token ids of each text, nothing added or dropped, and the end offset of each token."""
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


def require_offsets(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise InputError unless the tokenizer says where its tokens lie in the text."""
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"{type(tokenizer).__name__} cannot say where its tokens lie in the text.",
            fix="Use a fast tokenizer: AutoTokenizer.from_pretrained(..., use_fast=True), saved beside the model.",
        )
