"""A generator of a local model, by transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from influence.data.chats import prompt_ids
from influence.errors import ComputeError
from influence.generate.request import Reply, Request, Sampling
from influence.models.decode import Draw, check_room, continuations
from influence.models.load import LanguageModel


@dataclass(frozen=True)
class LocalGenerator:
    """Replies of a causal language model in batches of similar length; with its chat template if it has one.

    Each reply is a function of model, prompt, settings and number of the sample: what else is in a batch, and in which
    order replies are made, changes nothing but the rounding of the model's arithmetic.

    Args:
        language_model: Model and tokenizer.
        batch_size: Most prompts of a batch; halved for a batch that does not fit into memory.
    """

    language_model: LanguageModel
    batch_size: int = 32

    @property
    def name(self) -> str:
        """The model's parameters, their precision, and how text becomes tokens."""
        model = self.language_model
        text = f"{model.tokenizer_fingerprint} {model.tokenizer.chat_template or ''}"
        return f"hf:{model.fingerprint}:{model.precision}:{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """(number of the request, reply), batch by batch, the longest prompts first.

        Raises:
            ModelError: a prompt leaves no room for a reply in the model's context; said before any is generated.
            ComputeError: there is no memory for one prompt alone.
        """
        prompts = [prompt_ids(self.language_model.tokenizer, request.prompt) for request in requests]
        for prompt, request in zip(prompts, requests, strict=True):
            check_room(self.language_model.model, len(prompt), request.sampling.max_tokens)
        groups: dict[Sampling, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(request.sampling, []).append(number)
        for numbers in groups.values():
            numbers.sort(key=lambda number: -len(prompts[number]))
            for start in range(0, len(numbers), self.batch_size):
                yield from self._batch(numbers[start : start + self.batch_size], prompts, requests)

    def texts(self, prompts: Sequence[str], sampling: Sampling) -> list[str]:
        """One reply to each prompt."""
        requests = [Request(prompt, sampling) for prompt in prompts]
        return [reply.text for _, reply in sorted(self.replies(requests), key=lambda pair: pair[0])]

    def _batch(
        self, numbers: list[int], prompts: Sequence[list[int]], requests: Sequence[Request]
    ) -> Iterator[tuple[int, Reply]]:
        sampling = requests[numbers[0]].sampling
        seeds = [requests[number].seed for number in numbers]
        draw = None if sampling.greedy else Draw(seeds, sampling.temperature, sampling.top_p)
        try:
            written = continuations(
                self.language_model,
                [prompts[number] for number in numbers],
                sampling.max_tokens,
                draw,
                sampling.stop,
            )
        except torch.OutOfMemoryError as error:
            if len(numbers) == 1:
                raise ComputeError(
                    f"There is no memory for a prompt of {len(prompts[numbers[0]])} tokens alone.",
                    fix="Use shorter prompts or replies, a smaller model, or --dtype bfloat16.",
                ) from error
            written = None
        if written is None:  # outside of the handler, which keeps the batch's memory alive
            half = len(numbers) // 2
            yield from self._batch(numbers[:half], prompts, requests)
            yield from self._batch(numbers[half:], prompts, requests)
            return
        for number, one in zip(numbers, written, strict=True):
            yield number, Reply(one.text, one.tokens, len(prompts[number]), one.finished)
