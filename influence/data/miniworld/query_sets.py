"""What a model of the world is asked: ready query sets, questions that test it, and pairs that teach it the format.

The ready sets are those of the repository's `queries/` folder; the same can be made for a corpus of your own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from influence.data.miniworld.corpus import generate
from influence.data.miniworld.plan import make_plan
from influence.data.miniworld.problems import PROCEDURES, Problem, Procedure, work
from influence.data.miniworld.settings import Settings
from influence.data.miniworld.world import COUNTS, RELATIONS, Fact, World, untold_facts
from influence.errors import InputError
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


def tuning_pairs(
    world: World,
    *,
    seed: int,
    n_problems: int = 1000,
    n_questions: int | None = None,
    counts: tuple[int, ...] = COUNTS[1:],
) -> list[tuple[str, str]]:
    """Prompts and completions for supervised fine-tuning, in the exact format of the queries.

    Args:
        world: Its facts for tuning are asked; its facts for asking never are. Problems are drawn from those that
            queries never use, and no withheld step is written out.
        seed: Chooses and orders the pairs.
        n_problems: Worked problems of each of the three procedures; the same problem may come again.
        n_questions: Questions with their answers; None: every fact once. More than there are facts repeats them.
        counts: Only facts stated in so many documents are asked: a model cannot know those stated in none.

    Returns:
        `(prompt, completion)` pairs in random order. Joined as they stand, they read like a query: the completion
        begins with a line break or a blank.
    """
    rng = Random(f"influence tuning {seed}")
    pairs = [
        (problem.question() + STEP_BY_STEP, "\n" + work(problem))
        for procedure in PROCEDURES
        for problem in (world.draw(procedure, rng) for _ in range(n_problems))
    ]
    facts = [fact for fact in world.facts() if fact.role == "tuning" and fact.count in counts]
    rng.shuffle(facts)
    wanted = len(facts) if n_questions is None or not facts else n_questions
    asked = (facts[index % len(facts)] for index in range(wanted))
    pairs += [(fact.ask(), " " + fact.state()) for fact in asked]
    rng.shuffle(pairs)
    return pairs
