"""Branch, solve, merge (arXiv 2310.15123) to judge two responses: criteria, scores on each, their mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

from influence.data.tasks.choices import read_scores as read_pair_scores
from influence.data.tasks.declared import final_text
from influence.data.tasks.task import Example
from influence.distill.systems.base import Procedure, Step, System
from influence.generate.request import Sampling

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
