"""What determines a pretraining, a supervised fine-tuning, and an evaluation of stages of internalisation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from influence.data.tasks.task import Split
from influence.errors import InputError

#: Precision of a training; weights and optimizer are float32 in either.
Dtype = Literal["bf16", "fp32"]
#: A ready size of a model to pretrain.
SizeName = Literal["tiny", "mini", "small"]


def check_ranges(rules: Iterable[tuple[str, float | None, bool, str]]) -> None:
    """Refuse a setting out of its range: of each its name, its value, whether that is good, and what is.

    Raises:
        InputError: A value is not good.
    """
    for name, value, good, range_ in rules:
        if not good:
            raise InputError(
                f"The setting {name} is out of its range.",
                have=f"{value:g}" if value is not None else "nothing",
                fix=f"Give a value {range_}.",
            )


def at_least_1(count: int | None) -> bool:
    """Whether a count is at least 1, or None."""
    return count is None or count >= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """What determines a pretraining besides its corpus.

    Attributes:
        size: tiny: 0.2 million parameters, a minute on two cores. mini: 2.8 million, for the controlled world. small:
            6.3 million, for real text.
        epochs: Passes over the corpus. None: the size's own number.
        seed: Seeds the weights and the order of the batches.
        keep: Models to keep on the way, at equal distances, the last at the end: OUT/checkpoint-STEP, for influence
            score --checkpoints auto.
        dtype: Precision of the computation; the saved weights are float32.
    """

    size: SizeName = "small"
    epochs: int | None = None
    seed: int = 0
    keep: int = 0
    dtype: Dtype = "bf16"

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("epochs", self.epochs, at_least_1(self.epochs), "at least 1"),
                ("keep", self.keep, self.keep >= 0, "at least 0"),
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SftSettings:
    """What determines a supervised fine-tuning besides its model and its examples.

    Attributes:
        epochs: Passes over the examples.
        lr: Peak learning rate.
        batch_tokens: Padded tokens of a batch.
        seed: Seeds the order of the batches.
        lora_rank: Rank of low-rank adapters, which are added to the weights at the end. None: all weights are trained.
        keep: Models to keep on the way, at equal distances, the last at the end: OUT/checkpoint-STEP, for influence
            score --checkpoints auto.
        dtype: Precision of the computation; the saved weights are float32.
    """

    epochs: int = 3
    lr: float = 5e-4
    batch_tokens: int = 2048
    seed: int = 0
    lora_rank: int | None = None
    keep: int = 0
    dtype: Dtype = "bf16"

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("epochs", self.epochs, self.epochs >= 1, "at least 1"),
                ("lr", self.lr, self.lr > 0, "more than 0"),
                ("batch tokens", self.batch_tokens, self.batch_tokens >= 1, "at least 1"),
                ("keep", self.keep, self.keep >= 0, "at least 0"),
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """Which examples stages are measured on, and how; the device changes nothing but the time it takes.

    Attributes:
        split: Split to evaluate on.
        limit: Number of examples, from the first on. None: all.
        timed: Examples, evenly spread, that are timed one at a time; 0 measures no speed.
        batch_size: Examples decoded together, for accuracy; changes nothing but the time it takes.
        dtype: Precision of the model.
        device: Device of the model. None: a GPU where there is one.
    """

    split: Split = "test"
    limit: int | None = None
    timed: int = 100
    batch_size: int = 64
    dtype: Literal["float32", "tf32", "bfloat16", "float64"] = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("limit", self.limit, at_least_1(self.limit), "at least 1"),
                ("timed", self.timed, self.timed >= 0, "at least 0"),
                ("batch size", self.batch_size, self.batch_size >= 1, "at least 1"),
            ]
        )
