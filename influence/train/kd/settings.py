"""What determines a run of ICoT-KD."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from influence.train.stepwise.settings import check_ranges


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
