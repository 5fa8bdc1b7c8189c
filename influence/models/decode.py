"""All decoding: continuations of prompts as text, drawn samples as ids, and greedy ids at positions that are given.

Prompts of a batch are padded on the left and masked, so that each continues as it would alone.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers import PreTrainedTokenizerBase as Tokenizer

from influence.errors import ModelError
from influence.models.load import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: What a checkpoint's own generation settings may not change.
_PLAIN = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
}


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a model wrote: text without special tokens and without a stop text, how many tokens it generated up to the
    one that ended it, that one included, and whether it came to such an end.
    """

    text: str
    tokens: int
    finished: bool


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw tokens instead of taking the most likely ones.

    Attributes:
        seeds: One a prompt; a continuation depends on its own seed alone.
        temperature: Of the softmax.
        top_p: Draw among the most likely tokens that together have this probability.
    """

    seeds: Sequence[int]
    temperature: float = 1.0
    top_p: float = 1.0


def left_padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """`ids_BT` and their mask, both int64 `[B, T]`."""
    missing = [max(map(len, prompts)) - len(ids) for ids in prompts]
    ids_BT = torch.tensor([[pad] * count + list(ids) for count, ids in zip(missing, prompts, strict=True)])
    return ids_BT, (torch.arange(ids_BT.shape[1]) >= torch.tensor(missing)[:, None]).long()


def check_room(model: PreTrainedModel, prompt_tokens: int, max_new_tokens: int) -> None:
    """Refuse a prompt that leaves no room for a reply.

    Raises:
        ModelError: both together are longer than the model's context.
    """
    context = getattr(model.config, "max_position_embeddings", None) or sys.maxsize
    if prompt_tokens + max_new_tokens > context:
        raise ModelError(
            f"A prompt of {prompt_tokens} tokens and a reply of {max_new_tokens} do not fit into the model's context.",
            have=f"a context of {context} tokens",
            fix="Use a model of longer context, shorter prompts or shorter replies.",
        )


def greedy(language_model: LanguageModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[str]:
    """The most likely completion of each prompt, up to EOS or `max_new_tokens`, as text without special tokens.

    Raises:
        ModelError: a prompt leaves no room for a reply in the model's context.
    """
    return [one.text for one in continuations(language_model, prompts, max_new_tokens)]


@torch.no_grad()
def continuations(
    language_model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    draw: Draw | None = None,
    stop: Sequence[str] = (),
) -> list[Continuation]:
    """A continuation of each prompt, up to EOS, a text in `stop` or `max_new_tokens`.

    Each prompt (token ids) has its own draws, so that it continues as it would alone, but for rounding: in low
    precision a near tie can fall differently in another batch.

    Args:
        draw: How to draw; by default the most likely token is taken each time.
        stop: Texts that end a continuation and are no part of it.

    Raises:
        ModelError: a prompt leaves no room for a reply in the model's context.
    """
    model, tokenizer = language_model.model, language_model.tokenizer
    longest = max(map(len, prompts))
    check_room(model, longest, max_new_tokens)
    ends = _end_ids(language_model)
    pad = next((token for token in (tokenizer.pad_token_id, *ends) if token is not None), 0)
    ids_BT, mask_BT = left_padded(prompts, pad)
    generate: Any = model.generate
    output_BT = generate(
        input_ids=ids_BT.to(model.device),
        attention_mask=mask_BT.to(model.device),
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=ends or None,
        logits_processor=LogitsProcessorList([_Drawn(draw, longest, max_new_tokens)] if draw else []),
        stopping_criteria=StoppingCriteriaList([_Stop(tokenizer, stop, longest)] if stop else []),
        **_PLAIN,
    )
    return [_continuation(tokenizer, row, set(ends), stop) for row in output_BT[:, longest:].tolist()]


def _end_ids(language_model: LanguageModel) -> list[int]:
    """Tokens that end a text: those of the model's generation settings, and of its tokenizer."""
    config = language_model.model.generation_config
    of_model = config.eos_token_id if config is not None else None
    ids = [of_model] if isinstance(of_model, int) else list(of_model or [])
    of_tokenizer = language_model.tokenizer.eos_token_id
    return [*ids, *([of_tokenizer] if of_tokenizer is not None and of_tokenizer not in ids else [])]


def _continuation(tokenizer: Tokenizer, row: list[int], ends: set[int], stop: Sequence[str]) -> Continuation:
    count = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
    finished = bool(row) and row[count - 1] in ends
    text = str(tokenizer.decode(row[:count], skip_special_tokens=True))
    if cuts := [text.index(word) for word in stop if word in text]:
        while any(word in tokenizer.decode(row[: count - 1], skip_special_tokens=True) for word in stop):
            count -= 1
        return Continuation(text[: min(cuts)], count, True)
    return Continuation(text, count, finished)


class _Drawn(LogitsProcessor):
    """Leaves of each row only the token that is drawn, by inversion of the distribution in vocabulary order."""

    def __init__(self, draw: Draw, start: int, steps: int) -> None:
        self._draw, self._start = draw, start
        self._uniform_BT = torch.from_numpy(
            np.stack([np.random.default_rng(seed).random(steps) for seed in draw.seeds])
        )

    def __call__(self, ids_BT: Tensor, logits_BV: Tensor) -> Tensor:
        probability_BV = (logits_BV.double() / self._draw.temperature).softmax(-1)
        if self._draw.top_p < 1:
            sorted_BV, order_BV = probability_BV.sort(stable=True, dim=-1, descending=True)
            sorted_BV[sorted_BV.cumsum(-1) - sorted_BV >= self._draw.top_p] = 0
            probability_BV = torch.zeros_like(sorted_BV).scatter(-1, order_BV, sorted_BV)
        sum_BV = probability_BV.cumsum(-1)
        step = ids_BT.shape[1] - self._start
        wanted_B1 = self._uniform_BT[:, step : step + 1].to(sum_BV.device) * sum_BV[:, -1:]
        token_B1 = (sum_BV <= wanted_B1).sum(-1, keepdim=True)
        return torch.full_like(logits_BV, -torch.inf).scatter(-1, token_B1, 0.0)


class _Stop(StoppingCriteria):
    """Ends the rows whose generated text holds one of the texts."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], start: int) -> None:
        self._tokenizer, self._stop, self._start = tokenizer, stop, start
        self._last = max(len(word.encode()) for word in stop) + 4  # a token is a byte at least

    def __call__(self, ids_BT: Tensor, logits_BV: Tensor, **kwargs: Any) -> Tensor:
        new_BT = ids_BT[:, max(self._start, ids_BT.shape[1] - self._last) :]
        texts = self._tokenizer.batch_decode(new_BT, skip_special_tokens=True)
        return torch.tensor(
            [any(word in text for word in self._stop) for text in texts], device=ids_BT.device
        )


@torch.no_grad()
def sampled_ids(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    pad: int,
    end: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[list[int]]:
    """One drawn continuation of each prompt, the end token included; a function of weights, prompts and seed.

    The global random state is left as it was.
    """
    ids_BT, mask_BT = left_padded(prompts, pad)
    device = model.device
    generate: Any = model.generate
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        output_BT = generate(
            input_ids=ids_BT.to(device),
            attention_mask=mask_BT.to(device),
            max_new_tokens=max_new_tokens,
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            pad_token_id=pad,
            eos_token_id=end,
        )
    rows = output_BT[:, ids_BT.shape[1] :].tolist()
    return [ids[: ids.index(end) + 1] if end in ids else ids for ids in rows]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is to continue.

    Attributes:
        tokens: Input and first separator.
        gap: Positions that are skipped; 0 is normal positions.
        gap_at_separator: Skip them at the first separator that is generated, not right after the prompt.
    """

    tokens: tuple[int, ...]
    gap: int = 0
    gap_at_separator: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """Token ids of the sequence: `separator` ends the chain, `end` ends all; they may be the same token."""

    separator: int
    end: int


@torch.no_grad()
def decode_at_positions(
    model: PreTrainedModel, prompts: Sequence[Prompt], marks: Marks, max_new_tokens: int
) -> list[list[int]]:
    """The most likely continuation of each prompt, token by token, with its end token if it came to it.

    Every position is given, so that a token stands where it stood in training: where positions are kept, removing a
    part of a chain of thought leaves a gap, after the prompt when it was removed from the left, before the separator
    that ends the chain when from the right. Where separator and end are one token, the second of them ends it. A gap
    that leads past the model's positions ends at the last one, as in training.

    Raises:
        ModelError: positions do not fit into the model's context, or must be given and the model takes none.
    """
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if not takes_positions and any(prompt.gap for prompt in prompts):
        raise ModelError(
            f"{type(model).__name__} takes no position ids, so positions cannot be kept.",
            fix="Evaluate a model that was trained with normal positions.",
        )
    check_room(model, max(len(p.tokens) for p in prompts), max_new_tokens - 1)  # the last token is not read
    ids_BT, mask_BT = left_padded([prompt.tokens for prompt in prompts], marks.end)
    position_BT = mask_BT.cumsum(1) - 1
    device = model.device
    ids_BT, position_BT = ids_BT.to(device), position_BT.clamp(min=0).to(device)
    mask_BT = mask_BT.to(device)  # always given: without one, transformers takes a gap for another sequence
    gap_B = torch.tensor([prompt.gap for prompt in prompts], device=device)
    late_B = torch.tensor([prompt.gap_at_separator for prompt in prompts], device=device)
    next_B = mask_BT.sum(1)
    separated_B = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    done_B = separated_B.clone()
    last = (getattr(model.config, "max_position_embeddings", None) or sys.maxsize) - 1
    call: Any = model
    past, steps = None, list[Tensor]()
    for step in range(max_new_tokens):
        inputs = {"position_ids": position_BT} if takes_positions else {}
        output = call(
            input_ids=ids_BT, attention_mask=mask_BT, past_key_values=past, use_cache=True, **inputs
        )
        past = output.past_key_values
        token_B = output.logits[:, -1].argmax(-1)
        steps.append(token_B)
        is_end_B = token_B == marks.end
        done_B |= is_end_B & separated_B if marks.separator == marks.end else is_end_B
        separated_B |= token_B == marks.separator
        if bool(done_B.all()):
            break
        ids_BT = token_B[:, None]
        position_B = next_B + step + torch.where(late_B & ~separated_B, 0, gap_B)
        position_BT = position_B.clamp(max=last)[:, None]
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(prompts), 1)], dim=1)
    return [_until_end(row, marks) for row in torch.stack(steps, dim=1).tolist()]


def _until_end(tokens: list[int], marks: Marks) -> list[int]:
    """The tokens up to the one that ends the sequence, which is the second where it is the separator too."""
    ends = [place for place, token in enumerate(tokens) if token == marks.end]
    needed = 2 if marks.separator == marks.end else 1
    return tokens[: ends[needed - 1] + 1] if len(ends) >= needed else tokens
