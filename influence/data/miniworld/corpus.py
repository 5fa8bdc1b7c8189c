"""The stream of documents: which form comes when, which facts it states, and the file it is written to."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from influence.data.miniworld import distractor_forms
from influence.data.miniworld.plan import Plan, make_plan, n_statements
from influence.data.miniworld.settings import Settings, whole_number
from influence.data.miniworld.world import COUNTS, Draft, Fact, Form, World, fact, is_foreign
from influence.errors import InputError
from influence.files import whole_file
from influence.types import Document

FILE_NAME = "documents.jsonl"
#: Words of a document. A draft that is shorter or longer is written anew.
SHORTEST, LONGEST = 30, 150
_MOST_DRAFTS = 50
_MOST_PUT_BACK = 20


def generate(n_documents: int, seed: int, settings: Settings | None = None) -> Iterator[Document]:
    """Stream a corpus.

    The same arguments give the same bytes on every run. Every form comes exactly as often as the settings say, and
    every fact is stated in exactly as many documents as its count says (0, 1, 2, 5 or 20), all in random order.

    Args:
        n_documents: How many documents, at least 1.
        seed: Chooses the documents; the facts are the same for every seed.
        settings: What else can be chosen.

    Raises:
        InputError: An argument is not usable, or there are more facts than the documents can state.
    """
    plan = make_plan(n_documents, settings or Settings())
    whole_number("The seed", seed, at_least=0)
    return _stream(plan, seed)


def _stream(plan: Plan, seed: int) -> Iterator[Document]:
    tellers = {foreign: _Teller(plan, foreign=foreign, seed=seed) for foreign in (False, True)}
    for index, form in enumerate(_form_order(plan, seed)):
        rng = Random(f"miniworld {seed} document {index}")
        stated: list[Fact] = []
        if form.n_facts:
            foreign = plan.world.foreign_apart and form.source == "multilingual"
            stated = tellers[foreign].take(form)
            if not stated:
                form = distractor_forms.choose(form.source, rng)
        draft = _fitting_draft(form, rng, stated, plan.world)
        metadata = {
            "facts": [fact.id for fact in draft.facts],
            "procedures": list(draft.procedures),
            "procedure_form": form.procedure_form,
            "form": form.name,
            "problems": [problem.key for problem in draft.problems],
            "steps": list(draft.steps),
        }
        yield Document(f"mw{seed}-{index:06d}", draft.text.strip(), form.source, metadata)


def _fitting_draft(form: Form, rng: Random, stated: list[Fact], world: World) -> Draft:
    for _ in range(_MOST_DRAFTS):
        draft = form.write(rng, stated, world)
        if SHORTEST <= len(draft.text.split()) <= LONGEST:
            return draft
    raise AssertionError(f"the form {form.name} cannot be written in {SHORTEST} to {LONGEST} words")


def _form_order(plan: Plan, seed: int) -> Iterator[Form]:
    """Each form as often as planned, in random order: drawn in proportion to what is left of it."""
    rng = Random(f"miniworld {seed} forms")
    forms, left = list(plan.counts), list(plan.counts.values())
    for _ in range(sum(left)):
        (chosen,) = rng.choices(range(len(forms)), left)
        left[chosen] -= 1
        yield forms[chosen]


class _Teller:
    """Hands out the facts so that each is stated in exactly as many documents as its count says.

    A document takes several facts when its form allows. The documents that follow then take none, until as large a
    share of the documents has passed as of the statements: so the facts are spread evenly over the corpus. A fact that
    is stated a few times waits for a form that has not stated it yet, if one comes soon.
    """

    def __init__(self, plan: Plan, *, foreign: bool, seed: int) -> None:
        self._turns = _turns(plan.world, foreign=foreign, seed=seed)
        self._n_statements = n_statements(plan.world, foreign=foreign)
        self._n_documents = plan.fact_documents(foreign=foreign)
        self._stated = self._passed = 0
        self._waiting: deque[int] = deque()
        self._forms: dict[int, tuple[str, ...]] = {}

    def take(self, form: Form) -> list[Fact]:
        """Different facts for the next document, at most as many as its form states; none when none is due."""
        self._passed += 1
        if self._stated * self._n_documents >= self._n_statements * self._passed:
            return []
        taken: list[int] = []
        put_back: list[int] = []
        while len(taken) < form.n_facts:
            number = self._waiting.popleft() if self._waiting else next(self._turns, None)
            if number is None:
                break
            if number in taken:
                put_back.append(number)
                break
            if form.name in self._forms.get(number, ()) and len(put_back) < _MOST_PUT_BACK:
                put_back.append(number)
            else:
                taken.append(number)
        if not taken:  # the last ones are taken as they come
            taken.append(put_back.pop(0))
        self._waiting.extendleft(reversed(put_back))
        self._stated += len(taken)
        for number in taken:
            self._remember(number, form)
        return [fact(number) for number in taken]

    def _remember(self, number: int, form: Form) -> None:
        """Which forms have stated a fact, until it is stated in full; one stated in twenty documents uses them all."""
        count = COUNTS[number % len(COUNTS)]
        forms = (*self._forms.pop(number, ()), form.name)
        if count < max(COUNTS) and len(forms) < count:
            self._forms[number] = forms


def _turns(world: World, *, foreign: bool, seed: int) -> Iterator[int]:
    """Numbers of facts, each as often as its count, in twenty rounds: a round names a fact at most once."""
    rng = Random(f"miniworld {seed} facts {foreign}")
    rounds = max(COUNTS)
    for turn in range(rounds):
        told = []
        for number in range(world.n_facts):
            group, place = divmod(number, len(COUNTS))
            apart = world.foreign_apart and is_foreign(number)
            if (
                apart == foreign
                and COUNTS[place]
                and not (turn + group + group // 10) % (rounds // COUNTS[place])
            ):
                told.append(number)
        rng.shuffle(told)
        yield from told


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
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            record = {"id": document.id, "source": document.source, "text": document.text}
            file.write(json.dumps(record | document.metadata, ensure_ascii=False) + "\n")
    return path
