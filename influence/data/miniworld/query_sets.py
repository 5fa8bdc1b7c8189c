"""The ready query sets of the repository's `queries/` folder.

Prompt and completion are read as one text, so a completion starts with what parts the two: a line break after
`Think step-by-step.`, a blank after a question.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from random import Random

from influence.data.miniworld.corpus import generate
from influence.data.miniworld.grammar import say, sentence
from influence.data.miniworld.problems import PROCEDURES, Problem, Procedure, draw, work
from influence.data.miniworld.world import Fact, facts, untold_facts
from influence.types import Query

#: The committed sample corpus, whose documents the factual queries name as gold.
READY_DOCUMENTS, READY_SEED = 2000, 0
_STEP_BY_STEP = "\n\nThink step-by-step."
_PER_PROCEDURE = 20
_FACTS_PER_KIND = 5


def query_sets() -> dict[str, list[Query]]:
    """Every ready set by name, made anew: 20 slopes, 20 arithmetic, 20 linear, 40 factual, 20 controls."""
    sets: dict[str, list[Query]] = {procedure: _reasoning(procedure) for procedure in PROCEDURES}
    return sets | {"factual": _factual(), "controls": [*_factual_controls(), *_reasoning_controls()]}


@functools.cache
def _problems(procedure: Procedure) -> list[Problem]:
    rng = Random(f"influence queries {procedure}")
    problems: dict[str, Problem] = {}
    while len(problems) < _PER_PROCEDURE:
        problem = draw(procedure, rng, for_query=True)
        problems.setdefault(problem.key, problem)
    return list(problems.values())


def _reasoning(procedure: Procedure) -> list[Query]:
    return [
        Query(
            id=f"{procedure}-{number:02d}",
            task=procedure,
            group="reasoning",
            prompt=problem.question() + _STEP_BY_STEP,
            completion="\n" + work(problem),
            answer=str(problem.answer),
            steps=problem.steps,
            correct=True,
        )
        for number, problem in enumerate(_problems(procedure), 1)
    ]


def _factual() -> list[Query]:
    """Five facts of each kind; within facts that are stated equally often, every other completion is wrong."""
    by_kind: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts():
        by_kind[fact.relation.kind].append(fact)
    asked = [fact for kind in by_kind.values() for fact in kind[:_FACTS_PER_KIND]]
    wrong = {fact.id for fact in sorted(asked, key=lambda fact: (fact.weight, fact.id))[1::2]}
    gold = _gold()
    queries = []
    for number, fact in enumerate(asked, 1):
        kind = by_kind[fact.relation.kind]
        other = kind[(kind.index(fact) + 1) % len(kind)]
        told = other if fact.id in wrong else fact
        queries.append(
            Query(
                id=f"factual-{number:02d}",
                task="factual",
                group="factual",
                prompt=_question(fact),
                completion=" " + _statement(fact, told.spellings[0]),
                answer=_answer(fact),
                keywords=fact.spellings,
                correct=told is fact,
                gold=gold[fact.id],
            )
        )
    return queries


def _gold() -> dict[str, tuple[str, ...]]:
    """For each fact, the documents of the sample corpus that state it."""
    gold: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for document in generate(READY_DOCUMENTS, READY_SEED):
        for fact in document.metadata["facts"]:
            gold[fact] += (document.id,)
    return gold


def _factual_controls() -> list[Query]:
    """The fact stands in the prompt, and in no document."""
    spread = [fact for offset in (0, 1) for fact in untold_facts()[offset::2]]
    return [
        Query(
            id=f"controls-{number:02d}",
            task="factual-control",
            group="control",
            prompt=f"{_statement(fact, fact.spellings[0])} {_question(fact)}",
            completion=" " + _statement(fact, fact.spellings[0]),
            answer=_answer(fact),
            keywords=fact.spellings,
            correct=True,
        )
        for number, fact in enumerate(spread[:10], 1)
    ]


_GIVEN: dict[Procedure, tuple[str, str]] = {
    "slopes": (
        "The slope of the line is <n>. What is the slope of the line?",
        "The slope of the line is <n>.",
    ),
    "arithmetic": (
        "The answer to the calculation is <n>. What is the answer to the calculation?",
        "The answer is <n>.",
    ),
    "linear": ("The solution of the equation is x = <n>. What is x?", "The solution is x = <n>."),
}


def _reasoning_controls() -> list[Query]:
    """The words of a procedure with the result given: nothing to compute."""
    counts: dict[Procedure, int] = {"slopes": 4, "arithmetic": 3, "linear": 3}
    problems = [problem for procedure, count in counts.items() for problem in _problems(procedure)[:count]]
    return [
        Query(
            id=f"controls-{number:02d}",
            task="reasoning-control",
            group="control",
            prompt=_GIVEN[problem.procedure][0].replace("<n>", str(problem.answer)) + _STEP_BY_STEP,
            completion="\n" + _GIVEN[problem.procedure][1].replace("<n>", str(problem.answer)),
            answer=str(problem.answer),
            correct=True,
        )
        for number, problem in enumerate(problems, 11)
    ]


def _question(fact: Fact) -> str:
    return _first_wording(fact.relation.questions[0], fact, fact.spellings[0])


def _statement(fact: Fact, value: str) -> str:
    return _first_wording(fact.relation.statements[0], fact, value)


def _answer(fact: Fact) -> str:
    return _first_wording(fact.relation.answer, fact, fact.spellings[0])


def _first_wording(template: str, fact: Fact, value: str) -> str:
    return sentence(say(Random(0), template, {**fact.slots, "value": value}))
