"""The stream of documents: which form comes when, which facts it states, and the file it is written to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from influence.data.miniworld import distractor_forms, fact_forms, procedure_forms, world
from influence.data.miniworld.grammar import Form
from influence.data.miniworld.world import Fact
from influence.errors import InputError
from influence.types import Document

SOURCES = (
    "wiki",
    "math_and_trivia",
    "stackexchange",
    "arxiv_markdown",
    "code",
    "webdata",
    "general_knowledge",
    "multilingual",
)
FORMS: tuple[Form, ...] = (*fact_forms.FORMS, *procedure_forms.FORMS, *distractor_forms.FORMS)
FILE_NAME = "documents.jsonl"


def generate(n_documents: int, seed: int) -> Iterator[Document]:
    """Stream the first `n_documents` documents of the corpus with this seed.

    The same arguments give the same bytes on every run, and a longer corpus starts with the shorter one. Each block
    of 200 documents holds every form in its exact share, in random order. Facts take turns: in one round of 450
    statements each fact is stated as often as its weight says (1, 2, 4 or 8 times).

    Args:
        n_documents: How many documents, at least 1.
        seed: Chooses the documents; the facts are the same for every seed.

    Raises:
        InputError: `n_documents` or `seed` is not usable.
    """
    _check("The number of documents", n_documents, at_least=1)
    _check("The seed", seed, at_least=0)
    return _stream(n_documents, seed)


def _check(name: str, value: int, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise InputError(
            f"{name} must be a whole number, {at_least} or more.",
            have=repr(value),
            fix=f"Give {at_least} or more.",
        )


def _stream(n_documents: int, seed: int) -> Iterator[Document]:
    turns = _fact_turns(seed)
    for index, form in zip(range(n_documents), _form_order(seed), strict=False):
        stated = [next(turns) for _ in range(form.n_facts)]
        draft = form.write(Random(f"miniworld {seed} document {index}"), stated)
        metadata = {
            "facts": [fact.id for fact in draft.facts],
            "procedures": list(draft.procedures),
            "form": form.name,
            "problems": [problem.key for problem in draft.problems],
            "steps": list(draft.steps),
        }
        yield Document(f"mw{seed}-{index:06d}", draft.text.strip(), form.source, metadata)


def _form_order(seed: int) -> Iterator[Form]:
    block = [form for form in FORMS for _ in range(form.share)]
    rng = Random(f"miniworld {seed} forms")
    while True:
        rng.shuffle(block)
        yield from block


def _fact_turns(seed: int) -> Iterator[Fact]:
    """Facts for ever, each as often as its weight says, in ever new order; never one twice within a document."""
    rng = Random(f"miniworld {seed} facts")
    longest = max(form.n_facts for form in FORMS)
    last: list[Fact] = []
    while True:
        for turn in range(max(world.WEIGHTS)):
            told = [fact for fact in world.facts() if fact.weight > turn]
            rng.shuffle(told)
            told.sort(key=last.__contains__)  # a document may still be under way: its facts wait
            yield from told
            last = told[-longest:]


def write_corpus(documents: Iterable[Document], folder: str | Path) -> Path:
    """Write documents as `folder/documents.jsonl`, one flat record a line, and return its path.

    A record holds id, source, text and the keys of the metadata. The file appears whole or not at all.

    Raises:
        InputError: The folder cannot be made, or holds documents that would be read together with these.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(
            f"The folder {folder} cannot be made.", have=error.strerror, fix="Choose another folder."
        ) from error
    present = sorted(path.name for path in folder.glob("*.jsonl*") if path.suffix != ".part")
    if present:
        raise InputError(
            f"{folder} holds documents already.",
            have=", ".join(present),
            fix="Choose another folder, or delete those files first.",
        )
    path = folder / FILE_NAME
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for document in documents:
                record = {"id": document.id, "source": document.source, "text": document.text}
                file.write(json.dumps(record | document.metadata, ensure_ascii=False) + "\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
