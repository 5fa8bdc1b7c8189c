"""A task's own training examples as a corpus in the language of a model that was trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from influence.data.tasks.document_kinds import Piece
from influence.data.tasks.task import Task
from influence.data.tokens import tokenise
from influence.errors import InputError
from influence.subjects.questions import ENDINGS, query_id
from influence.subjects.texts import Texts
from influence.train.stepwise.settings import Side
from influence.types import Document


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
