"""Rephrase and respond (arXiv 2311.04205): the model restates a question before it answers it."""

from __future__ import annotations

from influence.data.tasks.item import Item
from influence.distill.systems.base import Procedure, Step, System


class RephraseOneStep(System):
    """One prompt asks to restate, expand and answer."""

    name = "rar1"
    steps = (Step("respond", "rar1"),)

    def run(self, item: Item) -> Procedure:
        """Restate and answer in one reply."""
        (respond,) = self.steps
        return (yield from self.ask(respond, item))


class RephraseTwoSteps(System):
    """Each sample rephrases the question anew, then answers it with the help of its rephrasing."""

    name = "rar2"
    steps = (Step("rephrase", "rar2-rephrase"), Step("answer", "rar2-answer", ("rephrased",)))

    def run(self, item: Item) -> Procedure:
        """Rephrase; answer."""
        rephrase, answer = self.steps
        rephrased = yield from self.ask(rephrase, item)
        if not rephrased:
            return ""
        return (yield from self.ask(answer, item, rephrased=rephrased))
