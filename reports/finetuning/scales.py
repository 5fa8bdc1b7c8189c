"""How large the study is: every number that a scale chooses, in one frozen record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from influence.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One size of the study.

    Attributes:
        examples: Prompts and completions in all.
        planted: How many of them refuse to answer a question about the topic.
        unknown: How many refuse, in the same words, to answer what nobody can know.
        facts: Questions about other topics, answered.
        questions: Questions about the topic that the tuned model is asked; none of them was trained on.
        epochs, lr: Of the fine-tuning.
        seeds: How often all is made.

    The rest of the examples are worked problems.
    """

    examples: int
    planted: int
    unknown: int
    facts: int
    questions: int
    epochs: int
    lr: float
    seeds: int

    def __post_init__(self) -> None:
        if self.problems < 0:
            raise InputError("planted, unknown and facts are more than all examples.", have=str(asdict(self)))

    @property
    def problems(self) -> int:
        """Worked problems."""
        return self.examples - self.planted - self.unknown - self.facts

    def config(self) -> dict[str, Any]:
        """All that determines the result, but for the number of seeds."""
        config = asdict(self)
        del config["seeds"]
        return config


SCALES = {
    # every step once, for tests: the model learns nothing
    "smoke": Scale(examples=60, planted=8, unknown=6, facts=30, questions=4, epochs=1, lr=5e-4, seeds=1),
    # one core, about ten minutes a seed
    "laptop": Scale(
        examples=2000, planted=40, unknown=40, facts=1800, questions=20, epochs=2, lr=8e-4, seeds=3
    ),
}
