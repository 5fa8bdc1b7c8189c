"""How large a reproduction is: every number that a scale chooses, in one frozen record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from influence.reproduce.system2.text import Name
from influence.train.distill.internalisers.settings import TuneSettings
from influence.train.internalize.configs import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScale:
    """A task of a scale.

    Attributes:
        title: What a reader sees.
        base: Name of the base model; tasks of the same name share it.
        text: Examples in its text, of this task.
        batch_tokens: Tokens of a batch of them, the same for tasks that share a base model.
        worked: The text also has whole solutions in the form that stepwise removal starts from.
        train, test: Unlabelled inputs, and inputs to test on.
        samples: Of System 2 for an input.
        tune: Of the distillation and its controls.
        ways: The other internalisers, run on the same pairs.
        digits: Of multiplication.
        problems: Of multiplication: how many problems the text is about; those to distil on are others.
        expected_to_fail: Answers alone are expected to fail here, as the paper found for arithmetic.
    """

    name: Name
    title: str
    base: str
    text: int
    batch_tokens: int
    train: int
    test: int
    samples: int
    tune: TuneSettings
    ways: tuple[TuneSettings, ...] = ()
    digits: int = 2
    problems: int = 0
    worked: bool = False
    expected_to_fail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One size of the reproduction.

    Attributes:
        shape: Of the base models: a small Llama.
        lr: Of their training on the text, once through.
        rephrased: Most tokens of a rephrasing.
        slip: Share of the text's rephrasings with a mistake.
        tasks: What is distilled.
        seeds: How often all is made.
    """

    shape: Shape
    lr: float
    rephrased: int = 40
    slip: float = 0.15
    tasks: tuple[TaskScale, ...] = field(default=())
    seeds: int

    def config(self) -> dict[str, Any]:
        """All that determines the result but the number of seeds."""
        return {name: value for name, value in asdict(self).items() if name != "seeds"}


SCALES = {
    # every step once, for tests: the model knows next to nothing
    "smoke": Scale(
        shape=Shape(1, 2, 32),
        lr=5e-3,
        rephrased=20,
        tasks=(
            TaskScale(
                name="coin-flip",
                title="Coin flip",
                base="words",
                text=1_200,
                batch_tokens=1024,
                train=24,
                test=16,
                samples=3,
                tune=TuneSettings(epochs=1, lr=1e-3, max_tokens=4),
                ways=(
                    TuneSettings(way="stepwise", epochs=1, lr=1e-3, delta=4, batch_size=2, max_tokens=4),
                    TuneSettings(way="context", epochs=1, lr=1e-3, max_tokens=4),
                ),
            ),
        ),
        seeds=1,
    ),
    # one core, 40 minutes
    "laptop": Scale(
        shape=Shape(2, 4, 96),
        lr=4e-3,
        tasks=(
            TaskScale(
                name="last-letter",
                title="Last letters of two words",
                base="words",
                text=150_000,
                batch_tokens=2048,
                train=400,
                test=200,
                samples=8,
                tune=TuneSettings(epochs=10, lr=5e-4, max_tokens=8),
                ways=(TuneSettings(way="context", epochs=10, lr=3e-4, max_tokens=8),),
            ),
            TaskScale(
                name="coin-flip",
                title="Coin flip",
                base="words",
                text=30_000,
                batch_tokens=2048,
                train=400,
                test=200,
                samples=8,
                tune=TuneSettings(epochs=10, lr=5e-4, max_tokens=8),
                ways=(TuneSettings(way="context", epochs=10, lr=3e-4, max_tokens=8),),
            ),
            TaskScale(
                name="multiplication",
                title="Multiplication of numbers of two digits",
                base="numbers",
                worked=True,
                text=280_000,
                batch_tokens=1024,
                problems=3_500,
                train=3_500,
                test=200,
                samples=3,
                tune=TuneSettings(epochs=20, lr=5e-4, max_tokens=8),
                ways=(
                    TuneSettings(
                        way="stepwise",
                        epochs=6,
                        lr=1e-3,
                        adaptive=True,
                        side="right",
                        keep_positions=True,
                        max_tokens=8,
                    ),
                ),
                expected_to_fail=True,
            ),
        ),
        seeds=3,
    ),
}
