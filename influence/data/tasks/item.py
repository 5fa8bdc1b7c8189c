"""One input of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Item:
    """One input `x`; its answer is for measuring only, a distillation never sees it.

    Attributes:
        id: Unique in the task.
        input: The question as the model is asked, without any instruction.
        answer: What counts as right; None where nobody knows.
        choices: The options of a question with options, in the order they are shown.
        fields: The parts that prompts may name, such as `opinion` or the two responses of a pair.
    """

    id: str
    input: str
    answer: str | None = None
    choices: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
