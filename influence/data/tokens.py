"""From text to token ids, in one way for all: documents, queries, examples to train on, prompts to answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from influence.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: By tokenizer: see `_with_whole_offsets`.
_whole: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
#: Characters a token at first allows for, where only the first tokens of a text are asked for.
_CHARACTERS_A_TOKEN = 64


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as tokens.

    Attributes:
        text: The text.
        prefix: Ids that the tokenizer itself puts before a text, which are not in `ids`.
        ids: Ids of the text.
        ends: Where each of `ids` ends in the text, in characters; empty where it was not asked for.
    """

    text: str
    prefix: list[int]
    ids: list[int]
    ends: list[int]

    @property
    def whole(self) -> list[int]:
        """All ids, in order."""
        return self.prefix + self.ids

    def first_after(self, characters: int) -> int:
        """The place in `whole` of the first token that ends after so many characters of the text."""
        return len(self.prefix) + sum(end <= characters for end in self.ends)


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    as_written: bool = False,
    ends: bool = True,
    first: int | None = None,
) -> Iterator[Tokens]:
    """Yield the tokens of each text: what the tokenizer puts before a text stands there once, nothing is appended.

    Args:
        as_written: Put nothing before the texts, and take nothing of them as a prefix: a chat template wrote them.
        ends: Say where the tokens end in the text. Without it, a fast tokenizer is twice as fast.
        first: Only so many of the ids of a text will be used; those of a long text that follow may be missing.
    """
    prefix = [] if as_written else prefix_ids(tokenizer)
    size = len(prefix)
    most = len(max(texts, key=len, default="")) if first is None else first * _CHARACTERS_A_TOKEN
    short = _ids_and_ends(tokenizer, [text for text in texts if len(text) <= most], ends)
    for text in texts:
        ids, places = next(short) if len(text) <= most else _beginning(tokenizer, text, first or 0, ends)
        begin = (
            size if ids[:size] == prefix else 0
        )  # a text that begins with the prefix itself gets no second one
        yield Tokens(text, prefix, ids[begin:], places[begin:])


def tokenise_completions(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    *,
    ended: bool,
    first: int | None = None,
) -> Iterator[tuple[Tokens, int]]:
    """Yield the tokens of each prompt with its completion, and the place of the completion's first token in `whole`.

    Both are tokenised as one text; a token that straddles the border belongs to the completion.

    Args:
        ended: Put EOS behind a completion that does not end with it, as fine-tuning does.
        first: See `tokenise`.
    """
    eos = tokenizer.eos_token_id if ended else None
    joined = [prompt + completion for prompt, completion in pairs]
    for (prompt, _), tokens in zip(pairs, tokenise(tokenizer, joined, first=first), strict=True):
        start = tokens.first_after(len(prompt))
        if isinstance(eos, int) and tokens.ids[-1:] != [eos]:
            text = tokens.text + str(tokenizer.eos_token)
            tokens = replace(tokens, text=text, ids=[*tokens.ids, eos], ends=[*tokens.ends, len(text)])
        yield tokens, start


def detokenise(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Tokens:
    """Return given ids with the text that they stand for, nothing put before them."""
    text = str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))
    (tokens,) = tokenise(tokenizer, [text], as_written=True)
    if tokens.ids == list(ids):
        return tokens
    # other tokens than the tokenizer would choose: about where they end
    lengths = [len(str(tokenizer.decode([id_], clean_up_tokenization_spaces=False))) for id_ in ids]
    return Tokens(text, [], list(ids), [min(len(text), end) for end in accumulate(lengths)])


def prefix_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that this tokenizer itself puts before every text, such as `<s>`, `[CLS]` or `[gMASK]<sop>`."""
    return frame_ids(tokenizer)[0]


@contextmanager
def _of_the_tokenizer() -> Iterator[None]:
    """Say whose fault it is: the library of tokenizers raises bare exceptions, as for a word without a token."""
    try:
        yield
    except Exception as error:
        raise InputError(
            "The tokenizer of the model cannot encode a text.",
            have=str(error).partition("\n")[0] or type(error).__name__,
            fix="Give the model with a whole tokenizer: its vocabulary may lack the token for unknown words.",
        ) from error


def frame_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and after a text."""
    with _of_the_tokenizer():
        encoding: Any = tokenizer("a", return_special_tokens_mask=True)
    ids, special = list(encoding["input_ids"]), list(encoding["special_tokens_mask"])
    if 0 not in special:
        return ids, []
    return ids[: special.index(0)], ids[len(special) - special[::-1].index(0) :]


def _ids_and_ends(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], ends: bool
) -> Iterator[tuple[list[int], list[int]]]:
    """Token ids of each text, nothing added or dropped, and the end offset of each token if asked for."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not ends and backend is not None:
        backend.no_truncation()
        backend.no_padding()
        with _of_the_tokenizer():
            encodings: Any = backend.encode_batch_fast(texts, add_special_tokens=False)
        for encoding in encodings:
            yield encoding.ids, []
    elif ends and (whole := _with_whole_offsets(tokenizer)) is not None:
        with _of_the_tokenizer():
            encodings = whole.encode_batch(texts, add_special_tokens=False)
        for encoding in encodings:
            yield list(encoding.ids), [end for _, end in encoding.offsets]
    elif texts:
        with _of_the_tokenizer():
            encodings = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=ends, verbose=False)
        for n, ids in enumerate(encodings["input_ids"]):
            yield list(ids), [end for _, end in encodings["offset_mapping"][n]] if ends else []


def _beginning(
    tokenizer: PreTrainedTokenizerBase, text: str, count: int, ends: bool
) -> tuple[list[int], list[int]]:
    """At least the first `count` tokens of a long text, if it has as many.

    The text is cut only where `count` more tokens follow, so that the cut is out of reach of the tokens that matter.
    """
    size = count * _CHARACTERS_A_TOKEN
    while True:
        ((ids, places),) = _ids_and_ends(tokenizer, [text[:size]], ends)
        if len(ids) >= 2 * count or size >= len(text):
            return ids, places
        size *= 4


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
