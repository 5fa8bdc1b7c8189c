"""Lessons for the internalisers: the pairs that a filter kept, joined with the traces they come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from influence.data.tasks.extract import Kind
from influence.data.tasks.item import Item
from influence.data.tasks.task import answer_of
from influence.distill.filter import KIND, PAIRS, written
from influence.distill.internalisers.lesson import Lesson
from influence.distill.prompt_files import Prompts
from influence.distill.systems.direct import direct_prompt
from influence.distill.traces import Run, Trace, read_traces
from influence.errors import StoreError
from influence.store.artefact import open_complete


def read_lessons(pairs: Path, samples: Path) -> list[Lesson]:
    """A lesson for each pair of a filter's folder, with the trace of the sample it stands for.

    Raises:
        StoreError: A folder is unfinished, a line is damaged, or a pair's input is not among the samples.
    """
    open_complete(pairs, KIND)
    traces = {trace.item.id: trace for trace in read_traces(samples)}
    lessons = []
    with (pairs / PAIRS).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                pair = json.loads(line)
                trace = traces[pair["id"]]
                run = trace.runs[pair["sample"]]
                lessons.append(_lesson(pair["prompt"], pair["completion"], trace, run))
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise StoreError(
                    f"{pairs / PAIRS}:{number} is no pair of the samples in {samples}.",
                    have=f"{type(error).__name__}: {error}",
                    fix="Filter these samples again, into another folder.",
                ) from error
    return lessons


def gold_lessons(items: Sequence[Item], kind: Kind, prompts: Prompts) -> list[Lesson]:
    """The right answers themselves, for the control; items without one are left out."""
    lessons = []
    for item in items:
        answer = None if item.answer is None else written(kind, answer_of(kind, item, item.answer))
        if answer is not None:
            lessons.append(Lesson(item.id, direct_prompt(item, prompts), answer))
    return lessons


def _lesson(prompt: str, completion: str, trace: Trace, run: Run) -> Lesson:
    """All that was written before the answer is the trace; the last prompt, with what stood before it, the context.

    Where the answer was made from several replies and written in none, the context is the trace and the question.
    """
    texts = [call.text.strip() for call in run.calls]
    last = run.calls[-1]
    if run.text.strip() != texts[-1]:
        whole = "\n\n".join(texts)
        return Lesson(trace.item.id, prompt, completion, whole, f"{whole}\n\n{prompt}")
    opening = before_answer(last.text, completion)
    written_before = [*texts[:-1], opening.strip()]
    return Lesson(
        trace.item.id,
        prompt,
        completion,
        "\n\n".join(filter(None, written_before)),
        last.prompt + opening,
    )


def before_answer(reply: str, answer: str) -> str:
    """What a reply says before its answer, which stands there last; nothing where it is not there word by word."""
    return reply[: max(0, reply.lower().rfind(answer.lower()))]
