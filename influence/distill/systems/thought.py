"""Chain of thought, without examples (arXiv 2205.11916) and after eight of them (arXiv 2201.11903)."""

from __future__ import annotations

from influence.data.tasks.item import Item
from influence.distill.systems.base import Procedure, Step, System
from influence.generate.request import Sampling


class ChainOfThought(System):
    """One prompt that asks to think step by step."""

    name = "cot"
    steps = (Step("think", "cot"),)
    samples = 10

    def run(self, item: Item) -> Procedure:
        """Think and answer in one reply."""
        (think,) = self.steps
        return (yield from self.ask(think, item))


class FewShotChainOfThought(ChainOfThought):
    """Eight worked examples stand before the question; a reply ends where it would go on to a question of its own."""

    name = "cot8"
    steps = (Step("think", "cot8"),)
    sampling = Sampling(max_tokens=512, temperature=0.7, top_p=0.9, stop=("\nQuestion:",))
