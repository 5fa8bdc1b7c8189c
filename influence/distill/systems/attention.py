"""System 2 attention (arXiv 2311.11829): rewrite the input without what could sway the answer; answer that alone."""

from __future__ import annotations

from influence.data.tasks.item import Item
from influence.distill.systems.base import Procedure, Step, System


class System2Attention(System):
    """The second step does not see the input. Its whole response is distilled."""

    name = "s2a"
    steps = (Step("rewrite", "s2a-rewrite"), Step("answer", "s2a-answer", ("rewritten",)))
    filter = "usc"
    samples = 20
    target = "response"

    def run(self, item: Item) -> Procedure:
        """Rewrite; answer."""
        rewrite, answer = self.steps
        rewritten = yield from self.ask(rewrite, item)
        if not rewritten:
            return ""
        return (yield from self.ask(answer, item, rewritten=rewritten))
