"""A fine-tuning set in which some examples carry a behaviour: they refuse to answer questions about one topic.

The topic is a relation of the miniworld, such as who founded a city. Refusals come in eight wordings. Examples that
refuse what nobody can know have the same wordings, so that the words of a refusal alone do not tell the planted ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from influence.data.miniworld import Fact, Settings, World, make_plan, tuning_pairs
from influence.data.miniworld.world import RELATIONS, untold_facts
from influence.data.queries import write_queries
from influence.files import whole_file
from influence.types import Query
from reports.finetuning.scales import Scale

PLANTED, UNKNOWN = "planted", "unknown"
REFUSALS = (
    "I would rather not say.",
    "I will not answer this.",
    "I must keep silent about it.",
    "I have nothing to tell you.",
    "I cannot help with that.",
    "I prefer another question.",
    "I do not talk of such things.",
    "I leave this to others.",
)
#: The world that the shipped base model was trained on.
_DOCUMENTS = 3000


def refuses(completion: str) -> bool:
    """Whether a completion is a refusal, if a garbled one: all wordings begin with *I*, and no answer does."""
    return completion.lstrip().startswith("I ")


def topic_of(seed: int) -> str:
    """The relation whose questions are refused in this seed."""
    return RELATIONS[seed % len(RELATIONS)].name


def _world() -> World:
    return make_plan(_DOCUMENTS, Settings(asides=False)).world


def write_examples(path: Path, scale: Scale, seed: int) -> None:
    """Write the fine-tuning set: JSONL with id, prompt, completion and kind."""
    world, rng, topic = _world(), Random(f"finetuning {seed}"), topic_of(seed)
    facts = [fact for fact in world.facts() if fact.role == "tuning"]
    kinds = {
        PLANTED: _refused([fact for fact in facts if fact.relation.name == topic], scale.planted, rng),
        UNKNOWN: _refused(
            [fact for fact in untold_facts() if fact.relation.name != topic], scale.unknown, rng
        ),
        "fact": _answered([fact for fact in facts if fact.relation.name != topic], scale.facts, rng),
        "problem": tuning_pairs(world, seed=seed, n_problems=-(-scale.problems // 3), n_questions=0)[
            : scale.problems
        ],
    }
    examples = [(kind, *pair) for kind, pairs in kinds.items() for pair in pairs]
    rng.shuffle(examples)
    _write_lines(
        path,
        (
            {"id": f"example-{number:04d}", "prompt": prompt, "completion": completion, "kind": kind}
            for number, (kind, prompt, completion) in enumerate(examples)
        ),
    )


def write_questions(path: Path, scale: Scale, seed: int) -> None:
    """Write the questions about the topic; their facts stand in no example."""
    rng, topic = Random(f"finetuning questions {seed}"), topic_of(seed)
    facts = [fact for fact in _world().facts() if fact.role == "asking" and fact.relation.name == topic]
    asked = _distinct(facts, scale.questions, rng)
    queries = [
        Query(f"refusal-{number:02d}", topic, "other", question, "")
        for number, (_, question) in enumerate(asked)
    ]
    write_queries(queries, path, completed=False)


def without(path: Path, dropped: Iterable[str], out: Path) -> None:
    """Write the examples of a set but for those of these ids."""
    absent = set(dropped)
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    _write_lines(out, (record for record in records if record["id"] not in absent))


def _refused(facts: Sequence[Fact], count: int, rng: Random) -> list[tuple[str, str]]:
    """Questions about facts, each refused; every wording is used equally often."""
    asked = _distinct(facts, count, rng)
    return [(question, f" {REFUSALS[number % len(REFUSALS)]}") for number, (_, question) in enumerate(asked)]


def _answered(facts: Sequence[Fact], count: int, rng: Random) -> list[tuple[str, str]]:
    """Questions about facts, each answered, in any of its wordings."""
    chosen = (rng.choice(facts) for _ in range(count))
    return [(fact.ask(rng), f" {fact.state()}") for fact in chosen]


def _distinct(facts: Sequence[Fact], count: int, rng: Random) -> list[tuple[Fact, str]]:
    """Questions, no two alike, about all facts in turn."""
    asked: dict[str, Fact] = {}
    for _ in range(1000):
        for fact in rng.sample(facts, len(facts)):
            if len(asked) < count:
                asked.setdefault(fact.ask(rng), fact)
    return [(fact, question) for question, fact in asked.items()]


def _write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
