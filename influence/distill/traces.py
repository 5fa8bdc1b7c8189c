"""Traces: for each input all calls of all its samples, one JSON line an input; and inputs shown in another order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from influence.data.tasks.extract import Kind
from influence.data.tasks.makers.judging import swapped, turned_back
from influence.data.tasks.task import Example, answer_of
from influence.errors import InputError
from influence.filters import Order, orders, reordered
from influence.generate.request import Failure
from influence.store.formats.distillation import AGAIN, TRACES_FILE
from influence.store.formats.records import read_records, write_records

#: The order of two responses that is not the item's own.
SWAP: Order = (1, 0)


@dataclass(frozen=True, slots=True)
class Made:
    """One call of a model: `step` of the system, prompt, the text it wrote, and how many tokens each has.

    `failure` says why there is no text, where the request failed.
    """

    step: str
    prompt: str
    text: str
    tokens: int
    prompt_tokens: int
    finished: bool
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One sample of an input.

    Attributes:
        sample: Its number, from 0.
        text: The text with the answer; empty is no answer.
        calls: In the order they were made.
        order: In which order the options or responses stood, as places in the item's own order; None for that one.
    """

    sample: int
    text: str
    calls: tuple[Made, ...]
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """An input with its samples, and the call that picked the most consistent of them, where there was one."""

    item: Example
    runs: tuple[Run, ...]
    pick: Made | None = None

    @property
    def calls(self) -> list[Made]:
        """All of them."""
        return [call for run in self.runs for call in run.calls] + ([self.pick] if self.pick else [])

    @property
    def tokens(self) -> int:
        """Generated for this input: intermediate texts, all samples and the pick included."""
        return sum(call.tokens for call in self.calls)


@dataclass(frozen=True, slots=True)
class _Record:
    """A trace as its line: the sum of its tokens first, for readers."""

    id: str
    tokens: int
    item: Example
    runs: tuple[Run, ...] = field(default=())
    pick: Made | None = None


def write_traces(traces: Iterable[Trace], folder: Path) -> None:
    """Write `traces.jsonl`, whole."""
    write_records(
        folder / TRACES_FILE,
        (_Record(trace.item.id, trace.tokens, trace.item, trace.runs, trace.pick) for trace in traces),
    )


def read_traces(folder: Path) -> Iterator[Trace]:
    """The traces in the folder of `sample`.

    Raises:
        StoreError: There are none, or a line is damaged.
    """
    for record in read_records(folder / TRACES_FILE, _Record, fix=AGAIN):
        yield Trace(record.item, record.runs, record.pick)


def orders_of(item: Example, how_many: int) -> list[Order]:
    """Orders of the item's two responses or of its options, the one as given first; as many as there are.

    Raises:
        InputError: It has neither.
    """
    count = 2 if "response_a" in item.fields else len(item.choices)
    if count < 2:
        raise InputError(
            f"The item {item.id!r} has nothing to reorder.",
            have="no options and no pair of responses",
            fix="Use another filter.",
        )
    return orders(count, min(how_many, math.factorial(count)))


def in_order(item: Example, order: Order | None) -> Example:
    """The item as it is shown in an order.

    Raises:
        InputError: Its input does not show its options in their order.
    """
    if order is None or list(order) == sorted(order):
        return item
    if "response_a" in item.fields:
        return swapped(item)
    choices = tuple(reordered(item.choices, order))
    parts, at = [], 0
    for old, new in zip(item.choices, choices, strict=True):
        place = item.input.find(old, at)
        if place < 0:
            raise InputError(
                f"The input of the item {item.id!r} does not show its options in their order.",
                have=f"no {old!r} at its place",
                fix="Use another filter, or write the options into the input.",
            )
        parts += [item.input[at:place], new]
        at = place + len(old)
    return dataclasses.replace(item, input="".join(parts) + item.input[at:], choices=choices)


def read_in_order(kind: Kind, item: Example, order: Order | None, text: str) -> str | None:
    """The answer a text gives, in terms of the item's own order."""
    answer = answer_of(kind, in_order(item, order), text)
    return turned_back(answer) if order == SWAP and "response_a" in item.fields else answer
