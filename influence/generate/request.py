"""What a language model is asked, what it replies, and what can be asked: the protocol of all backends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from influence.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a reply is generated.

    Attributes:
        max_tokens: Most tokens of a reply.
        temperature: Temperature of the draws; 0 takes the most likely token each time.
        top_p: Draw among the most likely tokens that together have this probability.
        stop: Texts that end a reply; they are not part of it.
        seed: Together with the prompt and the number of the sample it determines the draws.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InputError("A reply has one token at least.", have=f"max_tokens {self.max_tokens}")
        if not (self.temperature >= 0 and self.temperature != float("inf")):
            raise InputError("The temperature is 0 or more.", have=str(self.temperature))
        if not 0 < self.top_p <= 1:
            raise InputError("top_p is more than 0 and at most 1.", have=str(self.top_p))
        if not all(self.stop):
            raise InputError("A text that ends a reply is not empty.")

    @property
    def greedy(self) -> bool:
        """Whether every sample of a prompt is the same."""
        return self.temperature == 0


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt, how to sample, and which of several samples this is, from 0."""

    prompt: str
    sampling: Sampling
    sample: int = 0

    def key(self, model: str) -> str:
        """Names the reply of a model on disk: a hash of model, prompt, settings and number of the sample."""
        return _digest([model, self.prompt, asdict(self.sampling), self.sample]).hex()

    @property
    def seed(self) -> int:
        """Of the draws of this reply, 0 to 2⁶³−1; the same whatever else is asked."""
        return int.from_bytes(_digest([self.sampling.seed, self.prompt, self.sample])[:8], "big") >> 1


def _digest(parts: list[Any]) -> bytes:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote.

    Attributes:
        text: Without special tokens and without what ended it.
        tokens: Generated, the one that ends the reply included.
        prompt_tokens: Tokens of the prompt, those of a chat template included.
        finished: False where the reply was cut off at `max_tokens`.
    """

    text: str
    tokens: int
    prompt_tokens: int
    finished: bool = True


class Generator(Protocol):
    """A language model that can be asked."""

    @property
    def name(self) -> str:
        """Which model; part of the key of a kept reply."""

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """(number of the request, reply) for every request, as they come."""
