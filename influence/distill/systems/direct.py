"""System 1: the answer at once. A teacher as any other, for the control that distils System 1 into itself."""

from __future__ import annotations

from influence.data.tasks.item import Item
from influence.distill.prompt_files import Prompts
from influence.distill.systems.base import Procedure, Step, System


class Direct(System):
    """One prompt, no intermediate text."""

    name = "direct"
    steps = (Step("answer", "direct"), Step("answer", "direct-verdict"))

    def check(self, item: Item) -> None:
        """Only the prompt that fits the item is used."""
        direct_prompt(item, self.prompts)

    def run(self, item: Item) -> Procedure:
        """Answer."""
        single, pair = self.steps
        return (yield from self.ask(pair if "response_a" in item.fields else single, item))


def direct_prompt(item: Item, prompts: Prompts) -> str:
    """What System 1 is asked: another prompt for two responses to be compared."""
    return prompts.fill("direct-verdict" if "response_a" in item.fields else "direct", item)
