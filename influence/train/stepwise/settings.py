"""What determines a run of stepwise internalisation or one of its baselines, and the schedule that it means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from influence.errors import InputError
from influence.train.settings import at_least_1, check_ranges
from influence.train.stepwise.schedule import (
    Linear,
    Recovery,
    Schedule,
    check_pace,
    every_level,
    geometric_levels,
    up_to,
)

#: The end of a chain that is removed first.
Side = Literal["left", "right"]
Mode = Literal["stepwise", "no-cot", "explicit-cot"]
Dtype = Literal["fp32", "bf16", "pure-bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a run; the defaults are the paper's for multiplication.

    Attributes:
        mode: "stepwise", or a baseline: with all of the chain or none of it throughout.
        delta: Tokens (or steps of the chain) removed an epoch, in the linear pace.
        adaptive: Remove the next as soon as the model has recovered, instead of linearly in time.
        recovered: Adaptive: share of held-out examples whose whole target must be right, teacher-forced.
        patience: Adaptive: checks in a row that must show it.
        cap: Adaptive: most epochs at one level.
        geometric: Remove chunks of 1, 2, 4, 8, … instead of one at a time.
        by_step: Remove whole steps of the chain, not tokens.
        smoothing: Each example loses o more, drawn with P(o) ∝ exp(−λ·o); this is λ, and off draws none.
        random_cut: Each example loses a random amount from 0 to the scheduled one, instead of smoothing.
        side: Which end of the chain goes first.
        remove_all_beyond: Once so much is scheduled, everything goes.
        reset_optimizer: Throw AdamW's moments away at each removal.
        keep_positions: What follows the cut keeps its positions, in training and when generating.
        explicit_epochs: Epochs of pure explicit chain of thought first.
        after_epochs: Epochs once everything is removed, at least a step; of a baseline, all its epochs.
        batch_size: Examples of an optimizer step.
        accumulation: Parts a batch is computed in, for less memory; the gradient is that of the whole batch.
        lr: Learning rate, constant.
        weight_decay: Weight decay of AdamW.
        dropout: Dropout of a model trained from scratch.
        seed: Seeds weights, order, draws and dropout.
        dtype: Precision: bf16 computes in bfloat16 and keeps weights and optimizer in float32, pure-bf16 keeps those
            in bfloat16 too.
        lora_rank: Rank of the low-rank adapters that alone are trained. None: all weights.
        gradient_checkpointing: Less memory for a third more time.
        compile: Compile the model; batches get static shapes.
        max_tokens: Leave out longer sequences, and count them.
        check_every: Optimizer steps between checks on held-out examples. None: chosen.
        check_examples: Held-out examples of a check.
        stage_every: Levels between two kept checkpoints; the first and the last are kept always.
    """

    mode: Mode = "stepwise"
    delta: float = 8.0
    adaptive: bool = False
    recovered: float = 0.95
    patience: int = 2
    cap: float = 1.0
    geometric: bool = False
    by_step: bool = False
    smoothing: float | None = 4.0
    random_cut: bool = False
    side: Side = "left"
    remove_all_beyond: int | None = None
    reset_optimizer: bool = True
    keep_positions: bool = False
    explicit_epochs: float = 0.0
    after_epochs: float = 1.0
    batch_size: int = 32
    accumulation: int = 1
    lr: float = 5e-5
    weight_decay: float = 0.01
    dropout: float = 0.0
    seed: int = 0
    dtype: Dtype = "fp32"
    lora_rank: int | None = None
    gradient_checkpointing: bool = False
    compile: bool = False
    max_tokens: int | None = None
    check_every: int | None = None
    check_examples: int = 512
    stage_every: int = 1

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("batch size", self.batch_size, self.batch_size >= 1, "at least 1"),
                (
                    "accumulation",
                    self.accumulation,
                    1 <= self.accumulation <= self.batch_size,
                    "from 1 to the batch size",
                ),
                ("recovered", self.recovered, 0 < self.recovered <= 1, "more than 0 and at most 1"),
                ("patience", self.patience, self.patience >= 1, "at least 1"),
                ("cap", self.cap, 0 < self.cap < math.inf, "more than 0"),
                (
                    "smoothing",
                    self.smoothing,
                    self.smoothing is None or 0 <= self.smoothing < math.inf,
                    "at least 0, or off",
                ),
                (
                    "remove all beyond",
                    self.remove_all_beyond,
                    at_least_1(self.remove_all_beyond),
                    "at least 1",
                ),
                ("explicit epochs", self.explicit_epochs, 0 <= self.explicit_epochs < math.inf, "at least 0"),
                # without a step at the last level there would be no checkpoint of it
                ("epochs after removal", self.after_epochs, 0 < self.after_epochs < math.inf, "more than 0"),
                ("lr", self.lr, 0 < self.lr < math.inf, "more than 0"),
                ("weight decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "at least 0"),
                ("dropout", self.dropout, 0 <= self.dropout < 1, "from 0 to less than 1"),
                ("stage every", self.stage_every, self.stage_every >= 1, "at least 1"),
                ("check examples", self.check_examples, self.check_examples >= 1, "at least 1"),
                ("check every", self.check_every, at_least_1(self.check_every), "at least 1"),
                ("max tokens", self.max_tokens, at_least_1(self.max_tokens), "at least 1"),
            ]
        )
        if self.by_step and self.keep_positions:
            raise InputError(
                "Positions can be kept only when tokens are removed, not whole steps.",
                have="steps differ in length, and a generator cannot know how long those are it does not write",
                fix="Leave one of the two out.",
            )


def make_schedule(settings: Settings, total: int, steps_per_epoch: int) -> Schedule:
    """The schedule of a run whose longest chain is `total` tokens (or steps).

    Raises:
        InputError: There is no chain to remove, or Δ is larger than an epoch has steps.
    """
    pace = (
        Recovery(settings.recovered, settings.patience, max(1, round(settings.cap * steps_per_epoch)))
        if settings.adaptive
        else Linear(settings.delta, steps_per_epoch)
    )
    explicit = round(settings.explicit_epochs * steps_per_epoch)
    after = max(1, round(settings.after_epochs * steps_per_epoch))
    if settings.mode != "stepwise":
        return Schedule((0 if settings.mode == "explicit-cot" else total,), total, pace, 0, after)
    if not total:
        raise InputError(
            "No example has a chain of thought, so there is nothing to internalise.",
            fix="Check the task: <input>||<chain> #### <answer>. Without chains, use `influence train no-cot`.",
        )
    if isinstance(pace, Linear):
        check_pace(pace)
    levels = geometric_levels(total) if settings.geometric else every_level(total)
    return Schedule(up_to(levels, settings.remove_all_beyond), total, pace, explicit, after)


def checks_every(settings: Settings, steps_per_epoch: int) -> int:
    """Optimizer steps between checks: four at each level, but no more than a tenth of the time for checks."""
    if settings.check_every is not None:
        return settings.check_every
    affordable = -(-10 * settings.check_examples // (3 * settings.batch_size))
    return max(1, affordable, int(steps_per_epoch / (4 * settings.delta)))


@dataclass(frozen=True, slots=True, kw_only=True)
class KdSettings:
    """Settings of a run; the defaults are those of the paper for multiplication.

    Attributes:
        delta: Tokens of the chain a layer, along the diagonal. None: the layers are spread over each chain.
        mixture: The emulator chooses a token of the chain at each layer: for chains that do not follow from the input,
            such as those of GSM8K.
        teacher_epochs: Epochs of the teacher.
        epochs: Epochs of each of the three trainings; the best on held-out examples counts.
        batch_size: Examples of an optimizer step.
        lr: Learning rate, constant, of all four.
        seed: Seeds weights and order.
        dtype: Precision: bf16 computes in bfloat16 and keeps weights and optimizer in float32.
        max_tokens: Leave out longer sequences, and count them.
    """

    delta: int | None = None
    mixture: bool = False
    teacher_epochs: float = 1.0
    epochs: int = 40
    batch_size: int = 32
    lr: float = 5e-5
    seed: int = 0
    dtype: Literal["fp32", "bf16"] = "fp32"
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("delta", self.delta, self.delta is None or self.delta >= 1, "at least 1"),
                ("epochs", self.epochs, self.epochs >= 1, "at least 1"),
                ("teacher epochs", self.teacher_epochs, 0 < self.teacher_epochs < math.inf, "more than 0"),
                ("batch size", self.batch_size, self.batch_size >= 1, "at least 1"),
                ("lr", self.lr, 0 < self.lr < math.inf, "more than 0"),
            ]
        )
