"""How a model is to internalise what System 2 answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from influence.errors import InputError
from influence.train.stepwise.settings import Side, check_ranges

Way = Literal["answer-only", "stepwise", "context"]
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSettings:
    """Settings of a tuning. The paper publishes neither learning rate nor steps nor batch, so these are ours.

    Attributes:
        way: Way to internalise: answer-only, the answers, as in the paper; stepwise, remove the trace token by token;
            context, on the model's own answers, taught by itself with the trace in context.
        epochs: Passes over the lessons; of stepwise removal those once the whole trace is gone, and, adaptive, the
            most at each length of it.
        lr: Learning rate; its peak where answers alone are learned, constant elsewhere.
        batch_size: Lessons of an optimizer step.
        delta: Stepwise: tokens of the trace that are removed an epoch.
        adaptive: Stepwise: remove the next token as soon as the model has recovered from the last, instead.
        side: Stepwise: which end of the trace goes first.
        keep_positions: Stepwise: what follows the cut keeps its positions.
        max_tokens: Context: most tokens of an answer that the model samples.
        temperature: Context: temperature of these samples.
        lora_rank: Rank of the low-rank adapters that alone are trained. None: all weights.
        seed: Seeds order and samples.
        dtype: Precision of the training: bf16 computes in bfloat16 and keeps weights and optimizer in float32.
    """

    way: Way = "answer-only"
    epochs: int = 3
    lr: float = 5e-4
    batch_size: int = 32
    delta: float = 8.0
    adaptive: bool = False
    side: Side = "left"
    keep_positions: bool = False
    max_tokens: int = 32
    temperature: float = 1.0
    lora_rank: int | None = None
    seed: int = 0
    dtype: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise InputError(
                f"There is no internaliser {self.way!r}.", fix=f"Choose one of {', '.join(WAYS)}."
            )
        check_ranges(
            [
                ("epochs", self.epochs, self.epochs >= 1, "at least 1"),
                ("lr", self.lr, self.lr > 0, "more than 0"),
                ("batch size", self.batch_size, self.batch_size >= 1, "at least 1"),
                ("delta", self.delta, self.delta > 0, "more than 0"),
                ("max tokens", self.max_tokens, self.max_tokens >= 1, "at least 1"),
                ("temperature", self.temperature, self.temperature > 0, "more than 0"),
            ]
        )
