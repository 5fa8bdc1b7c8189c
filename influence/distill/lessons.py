"""What one kept input teaches: the question as System 1 is asked it, the answer, and how System 2 came to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from influence.data.tasks.declared import without_thoughts
from influence.data.tasks.extract import Kind, written
from influence.data.tasks.task import Example, gold_of
from influence.distill.prompt_texts import Prompts, direct_prompt
from influence.distill.traces import Run, Trace, read_traces
from influence.errors import InputError, StoreError
from influence.files import sha256
from influence.store.artefact import open_complete
from influence.store.formats.distillation import AGAIN, PAIRS, PAIRS_FILE, TRACES_FILE, PairRecord
from influence.store.formats.records import read_records


@dataclass(frozen=True, slots=True)
class Lesson:
    """One input with the answer that System 2 and its filter gave it.

    Attributes:
        id: Of the input.
        prompt: What System 1 is asked.
        completion: The answer to learn.
        trace: What System 2 wrote before the answer, as one text; may be empty where only the answer is used.
        context: What the model read right before it wrote the answer: the prompt of System 2's last step, and what it
            had written of its reply by then.
    """

    id: str
    prompt: str
    completion: str
    trace: str = ""
    context: str = ""


def digest(lessons: Sequence[Lesson]) -> str:
    """SHA-256 of all that the lessons say."""
    sha = hashlib.sha256()
    for lesson in lessons:
        sha.update(json.dumps(asdict(lesson), sort_keys=True).encode())
    return sha.hexdigest()


def check(lessons: Sequence[Lesson], needs: Iterable[str]) -> None:
    """Refuse lessons without what an internaliser learns from.

    Raises:
        InputError: There is none, or one lacks a part; says which.
    """
    if not lessons:
        raise InputError("There is nothing to learn from.", fix="Look at what the filter dropped, and why.")
    for name in needs:
        without = [lesson.id for lesson in lessons if not getattr(lesson, name).strip()]
        if without:
            raise InputError(
                f"{len(without):,} of {len(lessons):,} lessons have no {name}.",
                have=", ".join(without[:5]),
                fix="Leave them out, or choose a way that does without: answer-only.",
            )


def read_lessons(pairs: Path, samples: Path) -> list[Lesson]:
    """A lesson for each pair of a filter's folder, with the trace of the sample it stands for.

    Raises:
        StoreError: A folder is unfinished, a line is damaged, or the pairs are of other samples.
    """
    made = open_complete(pairs, PAIRS)["config"]
    if made["samples"] != sha256(samples / TRACES_FILE):
        raise StoreError(
            f"The pairs in {pairs} are not of the samples in {samples}.",
            have="they were filtered from other traces",
            fix="Filter these samples again, into another folder.",
        )
    traces = {trace.item.id: trace for trace in read_traces(samples)}
    lessons = []
    for pair in read_records(pairs / PAIRS_FILE, PairRecord, fix=AGAIN):
        trace = traces.get(pair.id)
        if trace is None or not 0 <= pair.sample < len(trace.runs):
            raise StoreError(
                f"{pairs / PAIRS_FILE} has a pair {pair.id!r} that is not of the samples in {samples}.",
                fix="Filter these samples again, into another folder.",
            )
        lessons.append(_lesson(pair.prompt, pair.completion, trace, trace.runs[pair.sample]))
    return lessons


def gold_lessons(items: Sequence[Example], kind: Kind, prompts: Prompts) -> list[Lesson]:
    """The right answers themselves, for the control; items without one are left out."""
    lessons = []
    for item in items:
        answer = written(kind, gold_of(kind, item))
        if answer is not None:
            lessons.append(Lesson(item.id, direct_prompt(item, prompts), answer))
    return lessons


def _lesson(prompt: str, completion: str, trace: Trace, run: Run) -> Lesson:
    """All that was written before the answer is the trace; the last prompt, with what stood before it, the context.

    Where the answer was made from several replies and written in none, the context is the trace and the question.
    """
    texts = [call.text.strip() for call in run.calls]
    last = run.calls[-1]
    if run.text.strip() != without_thoughts(texts[-1]):
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
