"""The world of one seed: its corpus, what the model is tuned on, and what it is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from influence.data.corpus import read_corpus
from influence.data.examples import PromptCompletion, write_examples
from influence.data.miniworld import (
    Fact,
    World,
    all_questions,
    generate,
    make_plan,
    problem_set,
    query_sets,
    question_sets,
    tuning_pairs,
    write_corpus,
)
from influence.data.miniworld.problems import PROCEDURES
from influence.data.miniworld.world import fact
from influence.data.queries import read_queries, write_queries
from influence.types import Query
from reports.miniworld.query_selection import in_turn
from reports.miniworld.scales import Scale

CORPUS, TUNING, QUESTIONS, TOLD = "corpus", "tuning.jsonl", "questions.jsonl", "told.jsonl"
#: A word of each procedure's control prompts, by which they are told apart.
_CONTROL_WORDS = {"slopes": "slope", "arithmetic": "calculation", "linear": "equation"}


def write_world(folder: Path, scale: Scale, seed: int) -> None:
    """Write the documents of this seed. The facts are the same for every seed."""
    write_corpus(generate(scale.documents, seed, scale.world), folder / CORPUS)


def write_tuning(folder: Path, scale: Scale, seed: int) -> None:
    """Write the pairs to fine-tune on: other facts and other numbers than any question."""
    pairs = tuning_pairs(
        world_of(scale),
        seed=seed,
        n_problems=scale.tuning_problems,
        n_questions=scale.tuning_questions,
    )
    write_examples((PromptCompletion(prompt, completion) for prompt, completion in pairs), folder / TUNING)


def write_questions(folder: Path, scale: Scale) -> None:
    """Write every question the tuned model is asked, those for facts with the documents that state them as gold."""
    documents = read_corpus(folder / CORPUS)
    world = world_of(scale)
    problems = [query for procedure in PROCEDURES for query in problem_set(world, procedure, scale.problems)]
    with_gold = {query.id: query for query in all_questions(world, documents)}
    facts = [
        with_gold[query.id]
        for queries in question_sets(world).values()
        for query in queries[: scale.questions_per_count]
    ]
    controls = [named_control(query) for query in query_sets(world, ())["controls"]]
    asked = [*problems, *facts, *controls]
    write_queries([replace(query, completion="") for query in asked], folder / QUESTIONS, completed=False)


def write_told(folder: Path, scale: Scale) -> None:
    """Write facts with their true statement as completion, whatever the model would say, seldom and often stated ones.

    They show where the documents that state a fact stand even if the model cannot be made to say it.
    """
    asked = read_queries(folder / QUESTIONS, completed=False)
    stated = in_turn([query for query in asked if query.task == "factual" and query.gold])[: scale.factual]
    told = [
        replace(
            query,
            id=query.id.replace("question", "told"),
            task="told",
            completion=f" {fact_of(query).state()}",
        )
        for query in stated
    ]
    write_queries(told, folder / TOLD)


def world_of(scale: Scale) -> World:
    """The facts and problems of a scale; no seed changes them."""
    return make_plan(scale.documents, scale.world).world


def fact_of(question: Query) -> Fact:
    """The fact that a question asks for."""
    return fact(int(question.id.rpartition("-")[2]))


def named_control(query: Query) -> Query:
    """A control whose id says which procedure it belongs to, if any: `controls-11-slopes`."""
    if query.task != "reasoning-control":
        return query
    (procedure,) = (name for name, word in _CONTROL_WORDS.items() if word in query.prompt)
    return replace(query, id=f"{query.id}-{procedure}")
