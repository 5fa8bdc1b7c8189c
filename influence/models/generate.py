"""Continuations of prompts by a local causal language model: the most likely ones, or drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers import PreTrainedTokenizerBase as Tokenizer

from influence.errors import ModelError
from influence.models.load import LanguageModel

if TYPE_CHECKING:
    from torch import Tensor

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


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The tokens of a prompt, as the message of a user where the tokenizer has a chat template."""
    if tokenizer.chat_template:
        message = [{"role": "user", "content": prompt}]
        prompt = str(tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
    return list(tokenizer(prompt, add_special_tokens=not tokenizer.chat_template)["input_ids"])


def check_room(language_model: LanguageModel, prompt_tokens: int, max_new_tokens: int) -> None:
    """Refuse a prompt that leaves no room for a reply.

    Raises:
        ModelError: both together are longer than the model's context.
    """
    context = getattr(language_model.model.config, "max_position_embeddings", None)
    if context is not None and prompt_tokens + max_new_tokens > context:
        raise ModelError(
            f"A prompt of {prompt_tokens} tokens and a reply of {max_new_tokens} do not fit into the context of "
            f"{language_model.name}.",
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

    Prompts (token ids) are padded on the left and masked, and each has its own draws, so that each continues as it
    would alone, but for rounding: in low precision a near tie can fall differently in another batch.

    Args:
        draw: How to draw; by default the most likely token is taken each time.
        stop: Texts that end a continuation and are no part of it.

    Raises:
        ModelError: a prompt leaves no room for a reply in the model's context.
    """
    model, tokenizer = language_model.model, language_model.tokenizer
    longest = max(map(len, prompts))
    check_room(language_model, longest, max_new_tokens)
    ends = _end_ids(language_model)
    pad = next((token for token in (tokenizer.pad_token_id, *ends) if token is not None), 0)
    ids_BT = torch.full((len(prompts), longest), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask_BT[row, longest - len(prompt) :] = 1
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
    rows = output_BT[:, longest:].tolist()
    return [_continuation(tokenizer, row, set(ends), stop) for row in rows]


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
