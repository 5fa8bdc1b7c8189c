"""Examples for readers: right and wrong generations of stages, and what System 2 wrote on inputs of a distillation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence.analysis.internalization import StageEvaluation
from influence.errors import StoreError
from influence.report.format import clip
from influence.store.formats.evaluation import Sample

#: Stages whose generations are shown; right and wrong ones of each, and inputs of each fate.
MOST_STAGES, OF_EACH = 12, 3

_CHARACTERS = 2_000


@dataclass(frozen=True)
class Generation:
    """One generation as texts.

    Attributes:
        said: Pieces of the answer given, and whether each is wrong.
        generated: All that was written.
    """

    right: bool
    input: str
    answer: str
    said: list[tuple[bool, str]]
    generated: str


@dataclass(frozen=True)
class OfStage:
    """The generations shown of a stage."""

    name: str
    removed: int
    right: int
    examples: int
    generations: list[Generation]


def generations(stages: Sequence[StageEvaluation]) -> list[OfStage]:
    """Of the first, the last and some stages between: three right and three wrong generations."""
    return [
        OfStage(
            stage.name,
            stage.removed,
            int(stage.right_N.sum()),
            len(stage.right_N),
            [
                _generation(sample)
                for right in (True, False)
                for sample in [one for one in stage.samples if one.right == right][:OF_EACH]
            ],
        )
        for stage in spread(stages, MOST_STAGES)
    ]


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread, first and last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _generation(sample: Sample) -> Generation:
    texts = (sample.input, sample.answer, sample.said, sample.generated)
    asked, answer, said, generated = (clip(text, _CHARACTERS) for text in texts)
    return Generation(sample.right, asked, answer, marked(said, answer), generated)


def marked(said: str, answer: str) -> list[tuple[bool, str]]:
    """The words said, each with whether another word, or none, stands in its place in the answer.

    >>> marked("7 8 1", "7 9 1")
    [(False, '7'), (True, '8'), (False, '1')]
    """
    expected = answer.split()
    return [
        (place >= len(expected) or word != expected[place], word) for place, word in enumerate(said.split())
    ]


#: Samples shown of an input; texts are cut.
MOST_SAMPLES = 4
CHARACTERS = 1_500


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample: its calls as (step, text), and the answer that was read, None where there is none."""

    sample: int
    calls: tuple[tuple[str, str], ...]
    answer: str | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Example:
    """An input and what became of it.

    Attributes:
        fate: `kept, right`, `kept, wrong`, `kept` or `dropped: reason`.
        votes: How often each answer was given, most first.
        left_out: Samples that are not shown.
    """

    fate: str
    id: str
    input: str
    target: str | None
    gold: str | None
    votes: tuple[tuple[str, int], ...]
    samples: tuple[Shown, ...]
    left_out: int


def examples(folder: Path) -> list[tuple[str, int, list[Example]]]:
    """(fate, how many inputs met it, the first few of them) of a distillation, kept first, then the commonest."""
    outcomes = list(lines(folder / "pairs" / "outcomes.jsonl"))
    counts = Counter(_fate(outcome) for outcome in outcomes)
    chosen: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        some = chosen.setdefault(_fate(outcome), [])
        if len(some) < OF_EACH:
            some.append(outcome)
    wanted = {outcome["id"] for some in chosen.values() for outcome in some}
    traces = {
        record["id"]: record
        for record in lines(folder / "samples" / "traces.jsonl")
        if record["id"] in wanted
    }
    fates = sorted(counts, key=lambda fate: (not fate.startswith("kept"), -counts[fate], fate))
    return [
        (fate, counts[fate], [_example(fate, one, traces[one["id"]]) for one in chosen[fate]])
        for fate in fates
    ]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file that `influence distill` wrote; StoreError where it is missing or damaged."""
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read.", have=str(error), fix="Run influence distill again."
        ) from error


def _fate(outcome: Mapping[str, Any]) -> str:
    if not outcome["kept"]:
        return f"dropped: {outcome['reason']}"
    return "kept" if outcome["correct"] is None else f"kept, {'right' if outcome['correct'] else 'wrong'}"


def _example(fate: str, outcome: Mapping[str, Any], trace: Mapping[str, Any]) -> Example:
    answers, place = outcome["answers"], outcome["sample"]
    order = sorted(range(len(trace["runs"])), key=lambda number: number != place)  # the chosen one first
    item = trace["item"]
    return Example(
        fate,
        outcome["id"],
        clip(item["input"], CHARACTERS),
        None if outcome["target"] is None else clip(outcome["target"], CHARACTERS),
        item["answer"],
        tuple(Counter("no answer" if one is None else one for one in answers).most_common(8)),
        tuple(
            _sample(trace["runs"][number], answers[number], number == place)
            for number in order[:MOST_SAMPLES]
        ),
        max(0, len(order) - MOST_SAMPLES),
    )


def _sample(run: Mapping[str, Any], answer: str | None, chosen: bool) -> Shown:
    calls = tuple((call["step"], clip(call["text"].strip(), CHARACTERS)) for call in run["calls"])
    return Shown(run["sample"], calls, answer, chosen)
