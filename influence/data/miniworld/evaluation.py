"""Questions with known answers that a model is tested on: unseen problems, and facts by how often they are stated.

Prompt and completion are read as one text, so a completion starts with what parts the two: a line break after
`Think step-by-step.`, a blank after a question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from random import Random

from influence.data.miniworld.problems import Problem, Procedure
from influence.data.miniworld.world import COUNTS, Fact, World
from influence.errors import InputError
from influence.types import Document, Query

STEP_BY_STEP = "\n\nThink step-by-step."
_MOST_REPEATS = 2_000


def problems_to_ask(world: World, procedure: Procedure, count: int) -> list[Problem]:
    """The first `count` different problems of the held-out eighth: no document and no tuning pair works them.

    Raises:
        InputError: The ranges hold fewer.
    """
    rng = Random(f"influence queries {procedure}")
    problems: dict[str, Problem] = {}
    repeats = 0
    while len(problems) < count:
        problem = world.draw(procedure, rng, for_query=True)
        repeats = repeats + 1 if problem.key in problems else 0
        if repeats > _MOST_REPEATS:
            raise InputError(
                f"The ranges hold no {count} problems of the kind {procedure!r} for queries.",
                have=f"{len(problems)} in {world.ranges}",
                fix="Widen the ranges, or ask for fewer.",
            )
        problems.setdefault(problem.key, problem)
    return list(problems.values())


def problem_set(world: World, procedure: Procedure, count: int = 100) -> list[Query]:
    """Unseen problems in the format of the ready queries, with `answer` and `steps`; the completion is empty.

    The first twenty are those of the ready query set. `correct` is None: nothing has been answered yet.

    Raises:
        InputError: The ranges hold fewer problems.
    """
    return [
        Query(
            id=f"{procedure}-{number:03d}",
            task=procedure,
            group="reasoning",
            prompt=problem.question() + STEP_BY_STEP,
            completion="",
            answer=str(problem.answer),
            steps=problem.steps,
        )
        for number, problem in enumerate(problems_to_ask(world, procedure, count), 1)
    ]


def all_questions(world: World, documents: Iterable[Document]) -> list[Query]:
    """Questions over every fact that is for asking, in an order that mixes how often they are stated.

    `gold` names the documents that state the fact; the completion is empty, for a model to fill in.
    """
    stated: dict[str, list[str]] = defaultdict(list)
    for document in documents:
        for fact in document.metadata["facts"]:
            stated[fact].append(document.id)
    return [replace(_question(fact), gold=tuple(stated[fact.id])) for fact in facts_to_ask(world)]


def question_sets(world: World) -> dict[int, list[Query]]:
    """Questions over every fact that is for asking, by the number of documents that state it (0, 1, 2, 5, 20).

    With `answer` and `keywords` (spellings that mark a right answer); the completion is empty, `correct` is None.
    """
    sets: dict[int, list[Query]] = {count: [] for count in COUNTS}
    for fact in facts_to_ask(world):
        sets[fact.count].append(_question(fact))
    return sets


def _question(fact: Fact) -> Query:
    return Query(
        id=f"question-{fact.number:05d}",
        task="factual",
        group="factual",
        prompt=fact.ask(),
        completion="",
        answer=fact.answer(),
        keywords=fact.spellings,
    )


def facts_to_ask(world: World) -> list[Fact]:
    """The facts that queries may ask for; the others are for tuning."""
    return [fact for fact in world.facts() if fact.role == "asking"]
