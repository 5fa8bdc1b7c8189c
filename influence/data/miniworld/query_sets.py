"""The ready query sets of the repository's `queries/` folder, and the same for a corpus of your own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from influence.data.miniworld.corpus import generate
from influence.data.miniworld.evaluation import STEP_BY_STEP, facts_to_ask, problems_to_ask
from influence.data.miniworld.plan import make_plan
from influence.data.miniworld.problems import PROCEDURES, Procedure, work
from influence.data.miniworld.relations import RELATIONS
from influence.data.miniworld.settings import Settings
from influence.data.miniworld.world import COUNTS, World, untold_facts
from influence.types import Document, Query

#: The committed sample corpus, whose documents the ready queries name as gold.
READY_DOCUMENTS, READY_SEED = 2000, 0
_PER_PROCEDURE = 20
#: Half of so many facts are for asking: one of each kind and count.
_FIRST_FACTS = 2 * len(RELATIONS) * len(COUNTS)


def ready_query_sets() -> dict[str, list[Query]]:
    """The committed sets, made anew."""
    world = make_plan(READY_DOCUMENTS, Settings()).world
    return query_sets(world, generate(READY_DOCUMENTS, READY_SEED))


def query_sets(world: World, documents: Iterable[Document]) -> dict[str, list[Query]]:
    """Query sets for a corpus: 20 slopes, 20 arithmetic, 20 linear, 40 factual, 20 controls.

    Args:
        world: What the corpus is about: `make_plan(n_documents, settings).world`. A world of fewer than 80 facts has
            fewer factual queries.
        documents: The corpus; it is read once.

    Returns:
        The sets by name. `gold` names, for a factual query, the documents that state the right answer; for a
        reasoning query, those that write out one of its steps. Either may be empty.
    """
    marked: dict[str, list[_Marked]] = {
        procedure: list(_reasoning(world, procedure)) for procedure in PROCEDURES
    }
    marked |= {
        "factual": list(_factual(world)),
        "controls": [*_factual_controls(), *_reasoning_controls(world)],
    }
    wanted = {mark for queries in marked.values() for _, marks in queries for mark in marks}
    places: dict[str, dict[str, None]] = defaultdict(dict)
    for document in documents:
        for mark in wanted.intersection((*document.metadata["facts"], *document.metadata["steps"])):
            places[mark][document.id] = None
    return {
        name: [replace(query, gold=_in_order(places, marks)) for query, marks in queries]
        for name, queries in marked.items()
    }


#: A query, and the facts and steps that make a document its gold.
_Marked = tuple[Query, Sequence[str]]


def _in_order(places: Mapping[str, Iterable[str]], marks: Sequence[str]) -> tuple[str, ...]:
    found = {name for mark in marks for name in places.get(mark, ())}
    return tuple(sorted(found, key=lambda name: (len(name), name)))


def _reasoning(world: World, procedure: Procedure) -> Iterator[_Marked]:
    problems = problems_to_ask(world, procedure, _PER_PROCEDURE)
    for number, problem in enumerate(problems, 1):
        query = Query(
            id=f"{procedure}-{number:02d}",
            task=procedure,
            group="reasoning",
            prompt=problem.question() + STEP_BY_STEP,
            completion="\n" + work(problem),
            answer=str(problem.answer),
            steps=problem.steps,
            correct=True,
        )
        yield query, [step.text for step in problem.steps]


def _factual(world: World) -> Iterator[_Marked]:
    """One fact of each kind and count; of the facts that are stated equally often, every other one is told wrong."""
    asked = [fact for fact in facts_to_ask(world) if fact.number < _FIRST_FACTS]
    wrong = {fact.id for count in COUNTS for fact in [one for one in asked if one.count == count][1::2]}
    for number, fact in enumerate(asked, 1):
        kind = [one for one in asked if one.relation is fact.relation]
        other = kind[(kind.index(fact) + 1) % len(kind)]
        query = Query(
            id=f"factual-{number:02d}",
            task="factual",
            group="factual",
            prompt=fact.ask(),
            completion=" " + (fact.misstate(other) if fact.id in wrong else fact.state()),
            answer=fact.answer(),
            keywords=fact.spellings,
            correct=fact.id not in wrong,
        )
        yield query, [fact.id]


def _factual_controls() -> Iterator[_Marked]:
    """The fact stands in the prompt, and in no document."""
    untold = untold_facts()
    for number, fact in enumerate([*untold[0::2], *untold[1::2]][:10], 1):
        query = Query(
            id=f"controls-{number:02d}",
            task="factual-control",
            group="control",
            prompt=f"{fact.state()} {fact.ask()}",
            completion=" " + fact.state(),
            answer=fact.answer(),
            keywords=fact.spellings,
            correct=True,
        )
        yield query, ()


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


def _reasoning_controls(world: World) -> Iterator[_Marked]:
    """The words of a procedure with the result given: nothing to compute."""
    counts: dict[Procedure, int] = {"slopes": 4, "arithmetic": 3, "linear": 3}
    problems = [
        problem for procedure, count in counts.items() for problem in problems_to_ask(world, procedure, count)
    ]
    for number, problem in enumerate(problems, 11):
        given, told = _GIVEN[problem.procedure]
        query = Query(
            id=f"controls-{number:02d}",
            task="reasoning-control",
            group="control",
            prompt=given.replace("<n>", str(problem.answer)) + STEP_BY_STEP,
            completion="\n" + told.replace("<n>", str(problem.answer)),
            answer=str(problem.answer),
            correct=True,
        )
        yield query, ()
