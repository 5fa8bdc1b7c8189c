"""Which of the questions that the tuned model answered become the query set, and how well it did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from influence.errors import ComputeError
from influence.types import Query

#: A task qualifies in the paper if a model solves so many of its problems.
QUALIFIES = 0.8
REASONING_TASKS = 2


def accuracy(answered: Sequence[Query], empty: Sequence[Query]) -> list[dict[str, Any]]:
    """Share of right answers of each task; of facts also by the number of documents that state them.

    Args:
        empty: Questions to which the model said nothing: they count as wrong.

    Returns:
        Records: task, stated (documents that state the fact; None: all together), asked, right, accuracy, qualifies
        (None for what is no reasoning task).
    """
    marks = [(query, bool(query.correct)) for query in answered] + [(query, False) for query in empty]
    records = []
    for task in dict.fromkeys(query.task for query, _ in marks):
        own = [(query, right) for query, right in marks if query.task == task]
        reasoning = own[0][0].group == "reasoning"
        records.append(_record(task, None, [right for _, right in own], reasoning))
        if task == "factual":
            for stated in sorted({len(query.gold) for query, _ in own}):
                at = [right for query, right in own if len(query.gold) == stated]
                records.append(_record(task, stated, at, False))
    return records


def _record(task: str, stated: int | None, marks: list[bool], reasoning: bool) -> dict[str, Any]:
    share = sum(marks) / len(marks)
    return {
        "task": task,
        "stated": stated,
        "asked": len(marks),
        "right": sum(marks),
        "accuracy": share,
        "qualifies": share >= QUALIFIES if reasoning else None,
    }


def best_tasks(answered: Sequence[Query]) -> list[str]:
    """The two reasoning tasks with the most right answers, the best first."""
    tasks = dict.fromkeys(query.task for query in answered if query.group == "reasoning")
    right = {task: sum(bool(q.correct) for q in answered if q.task == task) for task in tasks}
    return sorted(tasks, key=lambda task: -right[task])[:REASONING_TASKS]


def query_set(answered: Sequence[Query], factual: int, per_task: int) -> list[Query]:
    """The queries to score, with the model's own completions, right or wrong, never corrected.

    - of the two best reasoning tasks `per_task` each, those answered right first
    - `factual` questions for facts, half of them answered right and half wrong; fewer where there are not so many.
      Both halves take facts of each count in turn, so that often and seldom stated ones are there
    - every control

    Raises:
        ComputeError: The model said nothing to any question of a group.
    """
    for group in ("reasoning", "factual"):
        if not any(query.group == group for query in answered):
            raise ComputeError(
                f"The tuned model said nothing to any {group} question: there is nothing to explain.",
                fix="Train longer: more epochs, or more tuning.",
            )
    chosen: list[Query] = []
    for task in best_tasks(answered):
        own = [query for query in answered if query.task == task]
        chosen += sorted(own, key=lambda query: not query.correct)[:per_task]
    facts = [query for query in answered if query.group == "factual"]
    for right in (True, False):
        chosen += in_turn([query for query in facts if query.correct is right])[: factual // 2]
    return chosen + [query for query in answered if query.group == "control"]


def in_turn(questions: Sequence[Query]) -> list[Query]:
    """Questions for facts, one of each count of documents after the other, the most often stated first."""
    counts = sorted({len(query.gold) for query in questions}, reverse=True)
    columns = [[query for query in questions if len(query.gold) == count] for count in counts]
    return [query for row in zip_longest(*columns) for query in row if query is not None]
