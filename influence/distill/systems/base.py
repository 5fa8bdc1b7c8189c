"""What a System 2 procedure is: calls of a model, each of which may use the replies to those before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Literal

from influence.data.tasks.task import Example
from influence.distill.prompt_texts import Prompts
from influence.generate.request import Sampling

#: majority over the samples; usc: the model picks the most consistent of its samples; orders: every order of the
#: options, or of the two responses, gives the same answer; none: the first sample.
Filter = Literal["majority", "usc", "orders", "none"]

#: What a model is tuned to write: the answer that was read, or the response it was read from.
Target = Literal["answer", "response"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a system: its name in the trace, its prompt, and the names of the texts it is handed by other steps."""

    name: str
    prompt: str
    handed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One prompt; `step` names it in the trace."""

    step: str
    prompt: str


#: Yields calls that can be made at the same time, is sent their replies in order, returns the text with the answer.
Procedure = Generator[list[Call], list[str], str]


class System(ABC):
    """A procedure with its published defaults. A new one sets the attributes and writes `run`.

    Attributes:
        name: As on the command line.
        steps: In the order they are made.
        filter: How its answers are filtered.
        samples: Samples of an input; for `orders` the orders of it.
        sampling: How it is sampled. Not published, so ours.
        target: What is distilled.
    """

    name: ClassVar[str]
    steps: ClassVar[tuple[Step, ...]]
    filter: ClassVar[Filter] = "majority"
    samples: ClassVar[int] = 8
    sampling: ClassVar[Sampling] = Sampling(max_tokens=512, temperature=0.7, top_p=0.9)
    target: ClassVar[Target] = "answer"

    def __init__(self, prompts: Prompts | None = None) -> None:
        self.prompts = prompts or Prompts()

    def check(self, item: Example) -> None:
        """Refuse an item that lacks what a prompt names, and a prompt that leaves out what it is handed.

        Raises:
            InputError: Says which.
        """
        for step in self.steps:
            self.prompts.fill(step.prompt, item, **dict.fromkeys(step.handed, ""))

    @abstractmethod
    def run(self, item: Example) -> Procedure:
        """The calls for one sample of one item. An empty text is no answer."""

    def call(self, step: Step, item: Example, **handed: str) -> Call:
        """One call of a step."""
        return Call(step.name, self.prompts.fill(step.prompt, item, **handed))

    def ask(self, step: Step, item: Example, **handed: str) -> Procedure:
        """A step of one call: `text = yield from self.ask(...)`."""
        (text,) = yield [self.call(step, item, **handed)]
        return text.strip()
