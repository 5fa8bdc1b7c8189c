"""Tokenised examples of a task: `input SEP chain SEP #### answer EOS`, all of a split in one flat array.

SEP is the tokenizer's separator token where it has one, else its EOS token, as in the released format of GPT-2; a
model whose separator is EOS has therefore finished an answer at the first EOS *after* the second separator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from influence.data.tasks.task import ANSWER_START, Example, Task, steps
from influence.data.tokens import prefix_ids, tokenise
from influence.errors import InputError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from influence.train.stepwise.settings import Side

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_TOKENIZE = 8192
_SET_EOS = "Set eos_token in the model's tokenizer_config.json."


@dataclass(frozen=True)
class Sequences:
    """The examples of a split as token ids; example i is `tokens[starts[i]:starts[i + 1]]`.

    Args:
        tokens: int32, all examples one after the other.
        starts: int64 `[N + 1]`.
        chain_start: int32 `[N]`, place of the chain's first token in its example; a separator stands before it.
        chain_end: int32 `[N]`, place after the chain's last token, where the second separator stands.
        answer_start: int32 `[N]`, place of the answer's first token, after the mark `####`; EOS ends the example.
        step_ends: int32, for each step of each chain the tokens of the chain up to its end; empty if not asked for.
        step_starts: int64 `[N + 1]`, where the steps of each example begin in `step_ends`.
        dropped: What was left out and why, by number of examples.
    """

    tokens: Int32
    starts: Int64
    chain_start: Int32
    chain_end: Int32
    answer_start: Int32
    step_ends: Int32
    step_starts: Int64
    dropped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.chain_start)

    @property
    def lengths(self) -> Int64:
        """Tokens of each example, int64 `[N]`."""
        return np.diff(self.starts)

    @property
    def chain_lengths(self) -> Int32:
        """Tokens of each chain, int32 `[N]`."""
        return self.chain_end - self.chain_start

    @property
    def step_counts(self) -> Int64:
        """Steps of each chain, int64 `[N]`; zeros if steps were not asked for."""
        return np.diff(self.step_starts)

    def tokens_of_steps(self, rows: Int64, removed_steps_B: Int64, side: Side = "left") -> Int64:
        """How many tokens go with the first (or last) steps of the chains of `rows`, int64 `[B]`."""
        count_B = self.step_counts[rows]
        gone_B = np.minimum(removed_steps_B, count_B)
        first_B = self.step_starts[rows]
        if side == "left":
            return np.where(gone_B > 0, self._step_end(first_B + gone_B - 1), 0)
        kept_B = count_B - gone_B
        kept_tokens_B = np.where(kept_B > 0, self._step_end(first_B + kept_B - 1), 0)
        return self.chain_lengths[rows].astype(np.int64) - kept_tokens_B

    def _step_end(self, at_B: Int64) -> Int64:
        if not len(self.step_ends):
            return np.zeros_like(at_B)
        return self.step_ends[np.clip(at_B, 0, len(self.step_ends) - 1)].astype(np.int64)


def separator(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that stands before and after a chain; ModelError where the tokenizer has neither SEP nor EOS."""
    for token in (tokenizer.sep_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise ModelError(
        "The tokenizer has no EOS token, which separates and ends the parts of an example.", fix=_SET_EOS
    )


def prompt_ids(inputs: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """What a model is given to answer: the ids of `input SEP` for each text."""
    bos, sep = prefix_ids(tokenizer), separator(tokenizer)
    return [[*bos, *ids, sep] for ids in _ids(tokenizer, inputs)]


def answer_mark(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of `####`, which stand between the second separator and the answer."""
    return _ids(tokenizer, [ANSWER_START.strip()])[0]


def tokenize_task(
    examples: Iterable[Example],
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int | None = None,
    positions: int | None = None,
    by_step: bool = False,
) -> Sequences:
    """Tokenise the examples of a split, each part on its own so that no token spans two parts.

    Args:
        examples: Of one split.
        task: Gives the pattern of a step.
        tokenizer: Its BOS stands first if it adds one.
        max_tokens: Leave out, and count in `dropped`, what has more tokens.
        positions: Positions of the model; an example that has more tokens is an error.
        by_step: Find the steps of the chains as well; needs a fast tokenizer.

    Raises:
        InputError: An example is longer than the positions, or none is left.
        ModelError: The tokenizer has no EOS.
    """
    parts, steps_of = _Parts(tokenizer), _Steps(task.step_pattern)
    flat: list[Int32] = []
    heads: list[Int32] = []
    step_ends: list[Sequence[int]] = []
    dropped = 0
    waiting = iter(examples)
    while some := list(islice(waiting, _TOKENIZE)):
        bounds, rows, chains = parts.rows(some, by_step)
        keep = [i for i, row in enumerate(rows) if max_tokens is None or len(row) <= max_tokens]
        dropped += len(rows) - len(keep)
        for i in keep:
            if positions is not None and len(rows[i]) > positions:
                raise InputError(
                    f"An example has {len(rows[i])} tokens, more than the model's {positions} positions.",
                    have=f"{bounds[i][1] - bounds[i][0]} of them are its chain: {some[i].input[:60]!r}",
                    fix=f"Take a model with more positions, or leave long ones out by --max-tokens {positions}.",
                )
        flat.append(np.fromiter(chain.from_iterable(rows[i] for i in keep), np.int32))
        heads.append(np.array([(len(rows[i]), *bounds[i]) for i in keep], np.int32).reshape(-1, 4))
        if by_step:
            step_ends += [steps_of.token_ends(some[i].chain, chains[i]) for i in keep]
    heads_N4 = np.concatenate(heads) if heads else np.zeros((0, 4), np.int32)
    if not len(heads_N4):
        raise InputError(
            "No example is left.",
            have=f"{dropped:,} have more than {max_tokens} tokens",
            fix="Choose a larger --max-tokens.",
        )
    length, chain_start, chain_end, answer_start = heads_N4.T
    return Sequences(
        tokens=np.concatenate(flat),
        starts=np.concatenate([[0], np.cumsum(length, dtype=np.int64)]),
        chain_start=np.ascontiguousarray(chain_start),
        chain_end=np.ascontiguousarray(chain_end),
        answer_start=np.ascontiguousarray(answer_start),
        step_ends=np.fromiter(chain.from_iterable(step_ends), np.int32),
        step_starts=np.concatenate(
            [[0], np.cumsum([len(ends) for ends in step_ends] or [0] * len(length), dtype=np.int64)]
        ),
        dropped={"too long": dropped} if dropped else {},
    )


class _Parts:
    """Lays the parts of examples one after the other."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._bos, self._sep = prefix_ids(tokenizer), separator(tokenizer)
        self._mark = answer_mark(tokenizer)
        if not isinstance(tokenizer.eos_token_id, int):
            raise ModelError("The tokenizer has no EOS token, which ends an answer.", fix=_SET_EOS)
        self._eos = tokenizer.eos_token_id

    def rows(
        self, some: list[Example], by_step: bool
    ) -> tuple[list[tuple[int, int, int]], list[list[int]], list[list[int]]]:
        """Chain start, chain end and answer start of each; its ids; the end offsets of its chain's tokens."""
        inputs = _ids(self._tokenizer, (example.input for example in some))
        answers = _ids(self._tokenizer, (example.gold for example in some))
        texts = [example.chain for example in some]
        if by_step:
            encoded = list(tokenise(self._tokenizer, _spaced(texts), as_written=True))
            chains, ends = [tokens.ids for tokens in encoded], [tokens.ends for tokens in encoded]
        else:
            chains, ends = _ids(self._tokenizer, texts), [[] for _ in some]
        bounds, rows = [], []
        for head, middle, tail in zip(inputs, chains, answers, strict=True):
            start = len(self._bos) + len(head) + 1
            end = start + len(middle)
            bounds.append((start, end, end + 1 + len(self._mark)))
            rows.append([*self._bos, *head, self._sep, *middle, self._sep, *self._mark, *tail, self._eos])
        return bounds, rows, ends


class _Steps:
    """Where the steps of a chain end, in tokens."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = pattern

    def token_ends(self, text: str, ends: list[int]) -> list[int]:
        """For each step, the number of the chain's tokens up to its end; a token over the border is the next one's."""
        if not text.strip():
            return []
        spans = steps(text.strip(), self._pattern)
        found = np.searchsorted(ends, [end + 1 for _, end in spans], side="right")  # 1: the blank before it
        found[-1] = len(ends)
        return [int(end) for end in found]


def _spaced(texts: Iterable[str]) -> list[str]:
    """Each part with a blank before it, as within a sentence; nothing for an empty part."""
    return [f" {text.strip()}" if text.strip() else "" for text in texts]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[list[int]]:
    """Ids of each part."""
    return [tokens.ids for tokens in tokenise(tokenizer, _spaced(texts), as_written=True, ends=False)]


def rows_of(sequences: Sequences) -> Iterator[Int32]:
    """The ids of one example after the other."""
    for start, end in zip(sequences.starts[:-1], sequences.starts[1:], strict=True):
        yield sequences.tokens[start:end]
