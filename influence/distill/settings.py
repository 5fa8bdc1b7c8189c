"""Settings of a distillation, and of the tuning in it: how a model internalises what System 2 answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from influence.distill.sample import Plan
from influence.errors import InputError
from influence.train.settings import at_least_1, check_ranges
from influence.train.stepwise.settings import Side

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
        longest: Most tokens of question, trace and answer; longer lessons are left out and named. None: none is.
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
    longest: int | None = None
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
                ("longest", self.longest, at_least_1(self.longest), "at least 1"),
                ("temperature", self.temperature, self.temperature > 0, "more than 0"),
            ]
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What determines a distillation besides task, system and model.

    Attributes:
        plan: How System 2 is sampled, on the inputs to learn from and on those to test.
        tune: How the model is tuned; the controls the same way, those without a trace on answers alone.
        limit: Inputs to learn from. None: all.
        test_limit: Inputs to test on. None: all.
        answer_tokens: Most tokens of an answer that is given at once.
        minimum_share: majority: least share of an input's samples that the winner must have.
        controls: Also train and measure: no filter, System 1 distilled into itself, the right answers.
    """

    plan: Plan = field(default_factory=Plan)
    tune: TuneSettings = field(default_factory=TuneSettings)
    limit: int | None = None
    test_limit: int | None = None
    answer_tokens: int = 64
    minimum_share: float = 0.0
    controls: bool = True

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("limit", self.limit, at_least_1(self.limit), "at least 1"),
                ("test limit", self.test_limit, at_least_1(self.test_limit), "at least 1"),
                ("answer tokens", self.answer_tokens, self.answer_tokens >= 1, "at least 1"),
            ]
        )
