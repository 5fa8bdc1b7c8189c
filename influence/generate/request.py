"""What a language model is asked, what it replies and costs, and the file that keeps each reply."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from influence.errors import InputError, StoreError
from influence.progress import Progress
from influence.store.lines import Lines


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


#: Why a request has no reply to use: refused by the server or the model; null where a reply has no text; unreadable
#: where it is no completion or counts no tokens; no reply where every try ended without one.
Failure = Literal["refused", "null", "unreadable", "no reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote.

    Attributes:
        text: Without special tokens and without what ended it.
        tokens: Generated, the one that ends the reply included.
        prompt_tokens: Tokens of the prompt, those of a chat template included.
        finished: False where the reply was cut off at `max_tokens`.
        failure: Why there is no reply to use; None where there is one.
        reason: What the server said to that.
    """

    text: str
    tokens: int
    prompt_tokens: int
    finished: bool = True
    failure: Failure | None = None
    reason: str = ""


class Generator(Protocol):
    """A language model that can be asked."""

    @property
    def name(self) -> str:
        """Which model; part of the key of a kept reply."""

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """(number of the request, reply) for every request, as they come."""


@dataclass(frozen=True, slots=True)
class Price:
    """In one currency: a million tokens of prompts, and a million generated ones."""

    prompt: float
    generated: float

    def __post_init__(self) -> None:
        if min(self.prompt, self.generated) < 0:
            raise InputError("A price is 0 or more.", have=f"{self.prompt}, {self.generated}")


def account(replies: Iterable[Reply], price: Price | None = None) -> dict[str, Any]:
    """Sums over replies, each of which was paid for once: `replies`, `prompt_tokens`, `tokens`, `cut_off`, `empty`,
    and `failed`, a number for each kind of failure.

    With a price also `cost`. What a server computed for a reply that never arrived is not known here.
    """
    sums = {"replies": 0, "prompt_tokens": 0, "tokens": 0, "cut_off": 0, "empty": 0}
    failed: Counter[str] = Counter()
    for reply in replies:
        sums["replies"] += 1
        sums["prompt_tokens"] += reply.prompt_tokens
        sums["tokens"] += reply.tokens
        sums["cut_off"] += not reply.finished
        sums["empty"] += not reply.text.strip() and reply.failure is None
        failed.update([reply.failure] if reply.failure else [])
    if price is None:
        return {**sums, "failed": dict(failed)}
    cost = (sums["prompt_tokens"] * price.prompt + sums["tokens"] * price.generated) / 1e6
    return {**sums, "failed": dict(failed), "cost": round(cost, 6)}


@dataclass(frozen=True)
class KeptReplies:
    """A file of replies, one JSON line each: `key`, which names what was asked, and `reply`.

    Each is written when it arrives. What a damaged line answered is asked again.
    """

    path: Path

    def begin_with(self, earlier: Path | None) -> None:
        """Take over the replies in the file of this name in the folder of an earlier run, where none is here yet."""
        if earlier is None or self.path.exists():
            return
        if lines := list(KeptReplies(earlier / self.path.name)._lines()):
            Lines(self.path).rewrite(lines)

    def collect(
        self,
        keys: Sequence[str],
        ask: Callable[[Sequence[int]], Iterator[tuple[int, Any]]],
        title: str,
    ) -> list[Any]:
        """A reply for each key; equal keys are asked once, those kept not at all.

        Args:
            keys: One a question.
            ask: From the places in `keys` whose reply is missing to pairs of a place's number in that list and its
                reply, which JSON can hold, in any order.
            title: What the progress on stderr calls the replies.
        """
        wanted = set(keys)
        reply_of = {line["key"]: line["reply"] for line in self._lines() if line["key"] in wanted}
        missing: dict[str, int] = {}
        for place, key in enumerate(keys):
            if key not in reply_of:
                missing.setdefault(key, place)
        if missing:
            order = list(missing)
            lines = Lines(self.path)
            with Progress(title, len(wanted), len(reply_of), "reply") as progress:
                for number, reply in ask(list(missing.values())):
                    lines.append({"key": order[number], "reply": reply})
                    reply_of[order[number]] = reply
                    progress.advance()
        return [reply_of[key] for key in keys]

    def replies(
        self, generator: Generator, requests: Sequence[Request], title: str = "replies"
    ) -> list[Reply]:
        """Return a generator's replies in the order of the requests.

        Args:
            title: What the progress on stderr calls the replies.

        Raises:
            StoreError: a kept reply is none of a generator.
        """
        records = self.collect(
            [request.key(generator.name) for request in requests],
            lambda places: (
                (number, asdict(reply))
                for number, reply in generator.replies([requests[place] for place in places])
            ),
            title,
        )
        try:
            return [Reply(**record) for record in records]
        except TypeError as error:
            raise StoreError(
                f"{self.path} holds replies in another form.", have=str(error), fix="Remove the file."
            ) from error

    def _lines(self) -> Iterator[dict[str, Any]]:
        """The lines that are replies."""
        for line in Lines(self.path).read():
            if isinstance(line, dict) and isinstance(line.get("key"), str) and "reply" in line:
                yield line
