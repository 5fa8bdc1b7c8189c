"""How large a reproduction is: every number that a scale chooses, in one frozen record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from influence.distill.settings import TuneSettings
from influence.train.stepwise.new_model import Shape
from reports.system2.text import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base model of a scale.

    Attributes:
        name: Its folder.
        shape: A small Llama of this shape.
        lr: Peak learning rate of its training on the text, once through.
        batch_tokens: Tokens of a batch of text.
        numbers: Its text is about numbers: it has few tokens, and rephrasing and answer stand in one, as stages of
            stepwise removal write them.
    """

    name: str
    shape: Shape
    lr: float
    batch_tokens: int
    numbers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScale:
    """A task of a scale.

    Attributes:
        title: What a reader sees.
        base: The model to distil; tasks of the same one share it.
        text: Examples in its text, of this task.
        slip: Share of the text's rephrasings with a mistake.
        train, test: Unlabelled inputs, and inputs to test on.
        samples: Of System 2 for an input.
        tune: Of the distillation and its controls.
        ways: The other internalisers, run on the same pairs. Beside stepwise removal answers alone are tuned once
            more, on as many examples as it saw.
        digits: Of multiplication.
        problems: Of multiplication: how many problems the text is about; those to distil on are others.
        expected_to_fail: Answers alone are expected to fail here, as the paper found for arithmetic.
    """

    name: Name
    title: str
    base: Base
    text: int
    train: int
    test: int
    samples: int
    tune: TuneSettings
    ways: tuple[TuneSettings, ...] = ()
    digits: int = 2
    problems: int = 0
    slip: float = 0.15
    expected_to_fail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One size of the reproduction.

    Attributes:
        rephrased: Most tokens of a rephrasing.
        tasks: What is distilled.
        seeds: How often all is made.
    """

    rephrased: int = 40
    tasks: tuple[TaskScale, ...] = field(default=())
    seeds: int

    def config(self) -> dict[str, Any]:
        """All that determines the result but the number of seeds."""
        return {name: value for name, value in asdict(self).items() if name != "seeds"}


_WORDS = Base(name="words", shape=Shape(2, 4, 96), lr=4e-3, batch_tokens=2048)
_NUMBERS = Base(name="numbers", shape=Shape(4, 4, 64), lr=6e-3, batch_tokens=1664, numbers=True)

SCALES = {
    # every step once, for tests: the model knows next to nothing
    "smoke": Scale(
        rephrased=20,
        tasks=(
            TaskScale(
                name="coin-flip",
                title="Coin flip",
                base=Base(name="words", shape=Shape(1, 2, 32), lr=5e-3, batch_tokens=1024),
                text=1_200,
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
    # one core, hours
    "laptop": Scale(
        tasks=(
            TaskScale(
                name="last-letter",
                title="Last letters of two words",
                base=_WORDS,
                text=150_000,
                train=400,
                test=200,
                samples=8,
                tune=TuneSettings(epochs=10, lr=5e-4, max_tokens=8),
                ways=(TuneSettings(way="context", epochs=10, lr=3e-4, max_tokens=8),),
            ),
            TaskScale(
                name="coin-flip",
                title="Coin flip",
                base=_WORDS,
                text=30_000,
                train=400,
                test=200,
                samples=8,
                tune=TuneSettings(epochs=10, lr=5e-4, max_tokens=8),
                ways=(TuneSettings(way="context", epochs=10, lr=3e-4, max_tokens=8),),
            ),
            TaskScale(
                name="multiplication",
                title="Multiplication of numbers of two digits",
                base=_NUMBERS,
                text=200_000,
                slip=0.05,
                problems=2_000,
                train=5_500,
                test=200,
                samples=3,
                tune=TuneSettings(epochs=10, lr=1e-3, batch_size=64, max_tokens=8),
                ways=(
                    TuneSettings(
                        way="stepwise",
                        epochs=25,
                        lr=1.5e-3,
                        batch_size=64,
                        adaptive=True,
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
