"""Systems whose steps are prompts one after the other.

Rephrase and respond: arXiv 2311.04205. System 2 attention: arXiv 2311.11829. Chain of thought, without examples:
arXiv 2205.11916, and after eight of them: arXiv 2201.11903. The defaults are those of arXiv 2407.06023.
"""

from __future__ import annotations

from influence.data.tasks.task import Example
from influence.distill.prompt_texts import direct_prompt
from influence.distill.systems.base import Procedure, Step, System
from influence.generate.request import Sampling


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
