"""System 2 procedures: calls of a model, each of which may use the replies to those before it; and each by its name.

Rephrase and respond: arXiv 2311.04205. System 2 attention: arXiv 2311.11829. Branch, solve, merge: arXiv 2310.15123.
Chain of thought, without examples: arXiv 2205.11916, and after eight of them: arXiv 2201.11903. The defaults are those
of arXiv 2407.06023.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from influence.data.tasks.choices import read_scores as read_pair_scores
from influence.data.tasks.declared import final_text, without_thoughts
from influence.data.tasks.task import Example
from influence.distill.prompt_texts import Prompts, direct_prompt
from influence.errors import InputError
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
        """A step of one call: `text = yield from self.ask(...)`; what the model thought before it is not handed on."""
        (text,) = yield [self.call(step, item, **handed)]
        return without_thoughts(text)


class Direct(System):
    """System 1: the answer at once; a teacher as any other, for the control that distils System 1 into itself."""

    name = "direct"
    steps = (Step("answer", "direct"), Step("answer", "direct-verdict"))

    def check(self, item: Example) -> None:
        """Only the prompt that fits the item is used."""
        direct_prompt(item, self.prompts)

    def run(self, item: Example) -> Procedure:
        """Answer."""
        single, pair = self.steps
        return (yield from self.ask(pair if "response_a" in item.fields else single, item))


class RephraseOneStep(System):
    """Rephrase and respond: one prompt asks to restate, expand and answer."""

    name = "rar1"
    steps = (Step("respond", "rar1"),)

    def run(self, item: Example) -> Procedure:
        """Restate and answer in one reply."""
        (respond,) = self.steps
        return (yield from self.ask(respond, item))


class RephraseTwoSteps(System):
    """Each sample rephrases the question anew, then answers it with the help of its rephrasing."""

    name = "rar2"
    steps = (Step("rephrase", "rar2-rephrase"), Step("answer", "rar2-answer", ("rephrased",)))

    def run(self, item: Example) -> Procedure:
        """Rephrase; answer."""
        rephrase, answer = self.steps
        rephrased = yield from self.ask(rephrase, item)
        if not rephrased:
            return ""
        return (yield from self.ask(answer, item, rephrased=rephrased))


class System2Attention(System):
    """Rewrite the input without what could sway the answer; answer that alone. The whole response is distilled."""

    name = "s2a"
    steps = (Step("rewrite", "s2a-rewrite"), Step("answer", "s2a-answer", ("rewritten",)))
    filter = "usc"
    samples = 20
    target = "response"

    def run(self, item: Example) -> Procedure:
        """Rewrite; answer."""
        rewrite, answer = self.steps
        rewritten = yield from self.ask(rewrite, item)
        if not rewritten:
            return ""
        return (yield from self.ask(answer, item, rewritten=rewritten))


class ChainOfThought(System):
    """One prompt that asks to think step by step."""

    name = "cot"
    steps = (Step("think", "cot"),)
    samples = 10

    def run(self, item: Example) -> Procedure:
        """Think and answer in one reply."""
        (think,) = self.steps
        return (yield from self.ask(think, item))


class FewShotChainOfThought(ChainOfThought):
    """Eight worked examples stand before the question; a reply ends where it would go on to a question of its own."""

    name = "cot8"
    steps = (Step("think", "cot8"),)
    sampling = Sampling(max_tokens=512, temperature=0.7, top_p=0.9, stop=("\nQuestion:",))


_MOST_CRITERIA = 5
_LISTED = re.compile(r"^\s*(?:\W{0,2}\d{1,2}\s*[.):]|[-*•])\s*(?P<text>\S.*?)\s*$", re.MULTILINE)


class BranchSolveMerge(System):
    """Judges the pair in both orders, each time with criteria of its own choice, all criteria at the same time."""

    name = "bsm"
    steps = (Step("branch", "bsm-branch"), Step("solve", "bsm-solve", ("criterion",)))
    filter = "orders"
    samples = 2
    sampling = Sampling(max_tokens=512)

    def run(self, item: Example) -> Procedure:
        """List criteria; score both responses on each; the higher mean wins."""
        branch, solve = self.steps
        plan = yield from self.ask(branch, item)
        criteria = read_criteria(plan)
        if not criteria:
            return ""
        replies = yield [self.call(solve, item, criterion=criterion) for criterion in criteria]
        return merge([read_scores(reply) for reply in replies])


def read_criteria(plan: str) -> list[str]:
    """The criteria of a numbered or bulleted list, five at most, none twice."""
    found = [match["text"].strip("*_ ") for match in _LISTED.finditer(plan)]
    return list(dict.fromkeys(criterion for criterion in found if criterion))[:_MOST_CRITERIA]


def read_scores(reply: str) -> tuple[float, float] | None:
    """The last score of A and of B, each from 1 to 5; None where one is missing or out of range."""
    scores = read_pair_scores(final_text(reply))
    return scores if scores is not None and all(1 <= score <= 5 for score in scores) else None


def merge(scores: Sequence[tuple[float, float] | None]) -> str:
    """The verdict by the mean of the scores that could be read, `[[C]]` where equal; empty where none could be read."""
    read = [pair for pair in scores if pair is not None]
    if not read:
        return ""
    difference = round(sum(a - b for a, b in read), 9)
    return "[[A]]" if difference > 0 else "[[B]]" if difference < 0 else "[[C]]"


#: A system of one's own goes here too.
SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        RephraseOneStep,
        RephraseTwoSteps,
        System2Attention,
        BranchSolveMerge,
        ChainOfThought,
        FewShotChainOfThought,
        Direct,
    )
}


def named_system(name: str, prompts: Prompts | None = None) -> System:
    """A system by its name; InputError where there is none."""
    if name not in SYSTEMS:
        raise InputError(f"There is no system {name!r}.", fix=f"Choose one of {', '.join(SYSTEMS)}.")
    return SYSTEMS[name](prompts)
