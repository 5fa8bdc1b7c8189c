"""How large the study is: every number that a scale chooses, in one frozen record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from influence.data.tasks.makers.multiplication import Multiplication
from influence.data.tasks.makers.parity import Parity
from influence.models.load import DType
from influence.train.stepwise.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One size of the study.

    Attributes:
        title: What a reader sees of the task.
        maker: Makes the task, the same for all seeds.
        other: Makes another task in the same words, for documents of that kind.
        model: A shape trained from scratch, or a folder or hub name.
        settings: Of stepwise internalisation; both controls have the same but for their mode and length.
        counts: Documents of each kind, where not as in `influence.data.tasks.document_kinds.COUNTS`.
        asked: Examples that are asked at every stage.
        dtype: What scores are computed in: a model that is certain has gradients that float32 does not resolve.
        seeds: How often all is trained.
    """

    title: str
    maker: Parity | Multiplication
    other: Parity | Multiplication
    model: str
    settings: Settings
    counts: Mapping[str, int] = field(default_factory=dict)
    asked: int
    dtype: DType = "float64"
    seeds: int

    def stepwise(self, seed: int) -> Settings:
        """The training whose stages are studied."""
        return dataclasses.replace(self.settings, seed=seed)

    def control(self, mode: Any, seed: int, epochs: float) -> Settings:
        """A control of so many epochs."""
        return dataclasses.replace(
            self.settings, mode=mode, seed=seed, adaptive=False, explicit_epochs=0.0, after_epochs=epochs
        )

    def config(self) -> dict[str, Any]:
        """All that determines the result, but for the number of seeds."""
        config = dataclasses.asdict(self)
        del config["seeds"]
        return config


SCALES = {
    # every step once, for tests: the models learn nothing
    "smoke": Scale(
        title="parity, 3 from 8 bits",
        maker=Parity(bits=8, k=3, train=200, valid=16, test=16),
        other=Parity(bits=8, k=3, train=50, valid=4, test=4, seed=1),
        model="tiny",
        settings=Settings(
            adaptive=True,
            cap=0.5,
            patience=1,
            side="right",
            keep_positions=True,
            after_epochs=0.5,
            lr=1e-3,
            check_every=5,
            check_examples=16,
        ),
        counts={
            "full chain": 12,
            "partial chain": 12,
            "answer only": 12,
            "same operands": 2,
            "shared partial result": 2,
            "distractor": 6,
            "another task": 6,
        },
        asked=4,
        dtype="float32",
        seeds=2,
    ),
    # one core, about half an hour a seed
    "laptop": Scale(
        title="parity, 5 from 20 bits",
        maker=Parity(bits=20, k=5, train=400_000),
        other=Parity(bits=20, k=5, train=5000, seed=1),
        model="laptop",
        settings=Settings(
            adaptive=True,
            delta=4,
            recovered=0.98,
            patience=1,
            cap=0.5,
            side="right",
            keep_positions=True,
            explicit_epochs=0.4,
            after_epochs=0.3,
            batch_size=128,
            lr=5e-4,
        ),
        asked=40,
        seeds=2,
    ),
}
