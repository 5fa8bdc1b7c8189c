"""A task's own training examples, and the pairs of a distillation, as documents in the language of a model.

Each test input of a distillation is asked in two ways, with the answer that System 2 gave it, right or wrong:
*System 1*, the question as it stands, and *System 2*, what the model had read and written right before that answer.
Scored at the model and at the distilled one, the first way at the model is its System 1, the second its System 2, and
the first at the distilled model what became of them. The documents are the pairs it was tuned on, and the same with
System 2's text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from influence.data.tasks.document_kinds import Form, Piece
from influence.data.tasks.task import Task
from influence.data.tokens import tokenise
from influence.distill.lessons import before_answer, read_lessons
from influence.distill.prompt_texts import Prompts, direct_prompt
from influence.distill.sample import PROMPTS
from influence.distill.traces import Trace, read_traces
from influence.errors import InputError
from influence.store.artefact import open_complete
from influence.store.formats.distillation import DISTILLATION
from influence.subjects.questions import ENDINGS, Texts, query_id
from influence.train.stepwise.settings import Side
from influence.types import Document, Query


def task_documents(
    pieces: Sequence[Piece], task: Task, texts: Texts, side: Side, other: Task | None = None
) -> Iterator[Document]:
    """The documents of these pieces, each with its kind as source.

    Metadata: form (full, partial, answer), removed (tokens of the chain), answer, origin (the training example), and
    queries (ids of the two questions about the example it is about).

    Raises:
        InputError: a chain is too short to lose a part, or a word is not the tokenizer's.
        ModelError: the tokenizer cannot write an example as one text.
    """
    known = {piece.kind == "another task" for piece in pieces}
    for foreign in known:
        own = [piece.example for piece in pieces if (piece.kind == "another task") == foreign]
        texts.check(own, other if foreign and other is not None else task)
    for number, piece in enumerate(pieces):
        example = piece.example
        removed = _removed(piece, texts)
        metadata: dict[str, Any] = {
            "form": piece.form,
            "removed": removed,
            "answer": example.answer,
            "origin": piece.origin,
        }
        if piece.asked is not None:
            metadata["queries"] = [query_id(piece.asked, task_name) for task_name in ENDINGS]
        text = texts.prompt(example) + texts.target(example, removed, side)
        yield Document(f"{piece.kind.replace(' ', '-')}-{number}", text, piece.kind, metadata)


def _removed(piece: Piece, texts: Texts) -> int:
    if piece.form == "full":
        return 0
    (chain,) = tokenise(texts.tokenizer, [f" {piece.example.chain.strip()}"], ends=False)
    tokens = len(chain.ids)
    if piece.form == "answer":
        return tokens
    if tokens < 2:
        raise InputError(
            "A chain of one token has no part.",
            have=piece.example.line()[:100],
            fix="Leave partial chains out: --counts 'partial chain=0'.",
        )
    return 1 + int(piece.part * (tokens - 1))


SYSTEM_1, SYSTEM_2 = "System 1", "System 2"
#: Ends of the ids of the two queries about an input.
_SELF_ENDINGS = {SYSTEM_1: "system-1", SYSTEM_2: "system-2"}


def distillation_queries(run: Path, count: int) -> list[Query]:
    """Both queries about the first test inputs that System 2 answered in its last call.

    Raises:
        InputError: there are fewer such inputs.
        StoreError: the distillation is not finished.
    """
    open_complete(run, DISTILLATION)
    prompts = Prompts(run / "test" / PROMPTS)
    queries: list[Query] = []
    for trace in read_traces(run / "test"):
        if len(queries) == 2 * count:
            break
        answered = _answered(trace)
        if answered is not None:
            context, answer = answered
            for task, prompt in ((SYSTEM_1, direct_prompt(trace.item, prompts)), (SYSTEM_2, context)):
                name = f"{trace.item.id}-{_SELF_ENDINGS[task]}"
                queries.append(Query(name, task, "reasoning", prompt, answer, answer=answer))
    if len(queries) < 2 * count:
        raise InputError(
            f"System 2 answered {len(queries) // 2:,} test inputs of {run} in its last call.",
            have=f"{count:,} asked for",
            fix="Ask for fewer: --asked.",
        )
    return queries


def _answered(trace: Trace) -> tuple[str, str] | None:
    """What stood before the answer of the first sample that gave one, and the answer."""
    for run in trace.runs:
        answer, last = run.text.strip(), run.calls[-1]
        if answer and last.text.strip().endswith(answer):
            return last.prompt + before_answer(last.text, answer), answer
    return None


def distillation_documents(run: Path) -> list[Document]:
    """Every pair the model was tuned on in two forms, and a question with the answer of another.

    Kinds are those of a task's corpus: "answer only" is the pair itself, "full chain" what System 2 read and wrote.

    Raises:
        StoreError: the distillation is not finished, or damaged.
    """
    open_complete(run, DISTILLATION)
    lessons = read_lessons(run / "pairs", run / "samples")
    answers = [lesson.completion for lesson in lessons]
    documents = [
        _document("full chain", "full", lesson.id, lesson.context, lesson.completion)
        for lesson in lessons
        if lesson.context.strip()
    ]
    documents += [
        _document("answer only", "answer", lesson.id, lesson.prompt, lesson.completion) for lesson in lessons
    ]
    for place, lesson in enumerate(lessons):
        wrong = _another(answers, place)
        if wrong is not None:
            documents.append(_document("distractor", "answer", lesson.id, lesson.prompt, wrong))
    return documents


def _another(answers: Sequence[str], place: int) -> str | None:
    """The next answer that is another one."""
    later = [*answers[place + 1 :], *answers[:place]]
    return next((answer for answer in later if answer != answers[place]), None)


def _document(kind: str, form: Form, origin: str, before: str, answer: str) -> Document:
    metadata = {"form": form, "answer": answer, "origin": origin}
    return Document(f"{kind.replace(' ', '-')}-{origin}", before + answer, kind, metadata)
