"""What replies cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from influence.errors import InputError
from influence.generate.request import Reply


@dataclass(frozen=True, slots=True)
class Price:
    """In one currency: a million tokens of prompts, and a million generated ones."""

    prompt: float
    generated: float

    def __post_init__(self) -> None:
        if min(self.prompt, self.generated) < 0:
            raise InputError("A price is 0 or more.", have=f"{self.prompt}, {self.generated}")


def account(replies: Iterable[Reply], price: Price | None = None) -> dict[str, Any]:
    """Sums over replies, each of which was paid for once: `replies`, `prompt_tokens`, `tokens`, `cut_off`, `empty`.

    With a price also `cost`. What a server computed for a reply that never arrived is not known here.
    """
    sums = {"replies": 0, "prompt_tokens": 0, "tokens": 0, "cut_off": 0, "empty": 0}
    for reply in replies:
        sums["replies"] += 1
        sums["prompt_tokens"] += reply.prompt_tokens
        sums["tokens"] += reply.tokens
        sums["cut_off"] += not reply.finished
        sums["empty"] += not reply.text.strip()
    if price is None:
        return dict(sums)
    cost = (sums["prompt_tokens"] * price.prompt + sums["tokens"] * price.generated) / 1e6
    return {**sums, "cost": round(cost, 6)}
