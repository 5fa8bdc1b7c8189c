"""A trace as text for people: what a model was asked about one input, what it wrote, and what was read from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from influence.data.tasks.extract import Kind
from influence.distill.traces import Made, Run, Trace, read_in_order, read_traces
from influence.errors import InputError, plain
from influence.store.artefact import open_complete
from influence.store.formats.distillation import SAMPLES


def trace_text(samples: Path, id_: str) -> str:
    """The trace of an input.

    Args:
        samples: Folder of `influence distill sample`, or `samples/` of a whole distillation.
        id_: Of the input.

    Raises:
        StoreError: The folder is unfinished or holds no samples.
        InputError: It has no such input.
    """
    kind: Kind = open_complete(samples, SAMPLES)["config"]["kind"]
    ids = []
    for trace in read_traces(samples):
        if trace.item.id == id_:
            return plain("\n".join(_lines(trace, kind)))
        ids.append(trace.item.id)
    raise InputError(
        f"{samples} has no input {id_!r}.",
        have=f"{len(ids):,} inputs: {', '.join(ids[:5])}{' …' if len(ids) > 5 else ''}",
        fix="Name one of them.",
    )


def _lines(trace: Trace, kind: Kind) -> Iterator[str]:
    item = trace.item
    yield f"Input {item.id}: {item.input}"
    yield f"Right answer: {item.answer if item.answer is not None else 'not known'}"
    for number, run in enumerate(trace.runs, 1):
        order = (
            "" if run.order is None else f", in the order {', '.join(str(place + 1) for place in run.order)}"
        )
        yield f"\n== Sample {number} of {len(trace.runs)}{order}"
        for call in run.calls:
            yield from _call(call)
        yield f"-> answer: {_answer(trace, run, kind)}"
    if trace.pick is not None:
        yield "\n== The model picks a response"
        yield from _call(trace.pick)


def _answer(trace: Trace, run: Run, kind: Kind) -> str:
    answer = read_in_order(kind, trace.item, run.order, run.text)
    return "none could be read" if answer is None else answer


def _call(call: Made) -> Iterator[str]:
    state = call.failure or ("" if call.finished else "cut off")
    yield f"-- {call.step}: asked, {call.prompt_tokens:,} tokens"
    yield call.prompt
    yield f"-- {call.step}: written, {call.tokens:,} tokens{f' ({state})' if state else ''}"
    yield call.text
