"""How many documents of each form a corpus holds, and how many facts they can state."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from influence.data.miniworld import distractor_forms, fact_forms, procedure_forms
from influence.data.miniworld.settings import Settings, whole_number
from influence.data.miniworld.world import COUNTS, Form, World, is_foreign
from influence.errors import InputError

_K = TypeVar("_K")

FORMS: tuple[Form, ...] = (*fact_forms.FORMS, *procedure_forms.FORMS, *distractor_forms.FORMS)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a corpus will hold.

    Attributes:
        counts: Documents of each form. Those of fact forms are the most that state a fact; a document of a fact form
            that has nothing left to state becomes a distractor of its source.
        world: What the documents are about.
    """

    counts: dict[Form, int]
    world: World

    def fact_documents(self, *, foreign: bool) -> int:
        """How many documents can state facts: those in other languages, or all others."""
        return sum(
            count
            for form, count in self.counts.items()
            if form.n_facts and (self.world.foreign_apart and form.source == "multilingual") == foreign
        )


def make_plan(n_documents: int, settings: Settings) -> Plan:
    """Share out the documents among the forms, and choose or check the number of facts.

    Raises:
        InputError: There are fewer documents than facts need, or a source has no room for its procedure documents.
    """
    whole_number("The number of documents", n_documents, at_least=1)
    counts = _form_counts(n_documents, settings)
    foreign_apart = any(form.n_facts and form.source == "multilingual" and counts[form] for form in FORMS)
    n_facts = settings.facts or 0
    world = World(n_facts, settings.ranges, settings.withheld_steps, foreign_apart, settings.asides)
    plan = Plan(counts, world)
    if settings.facts is None:
        return Plan(counts, replace(world, n_facts=_most_facts(plan)))
    for foreign in (False, True):
        needed = n_statements(plan.world, foreign=foreign)
        room = plan.fact_documents(foreign=foreign)
        if needed > room:
            where = "in other languages " if foreign else ""
            raise InputError(
                f"More facts than documents: {n_facts:,} facts are stated {needed:,} times {where}in all, and "
                f"{n_documents:,} documents hold {room:,} that can state one.",
                have=f"{n_facts:,} facts, stated in {', '.join(map(str, COUNTS))} documents each",
                fix=f"Ask for at most {_most_facts(plan):,} facts, or for more documents.",
            )
    return plan


def n_statements(world: World, *, foreign: bool) -> int:
    """In how many documents the facts of a world are stated, summed: those of other languages, or all others."""
    return sum(
        COUNTS[number % len(COUNTS)]
        for number in range(world.n_facts)
        if (world.foreign_apart and is_foreign(number)) == foreign
    )


def _most_facts(plan: Plan) -> int:
    """The most facts, in whole groups, that the documents can state."""
    room = {foreign: plan.fact_documents(foreign=foreign) for foreign in (False, True)}
    for number in itertools.count(0, len(COUNTS)):
        foreign = plan.world.foreign_apart and is_foreign(number)
        room[foreign] -= sum(COUNTS)
        if room[foreign] < 0:
            return number
    raise AssertionError


def _form_counts(n_documents: int, settings: Settings) -> dict[Form, int]:
    """Documents of each form: first of each source, then those that show a procedure, then the rest of each source."""
    of_source = _round(n_documents, settings.shares)
    as_by_nature = settings.procedures is None and settings.forms is None
    counts = {} if as_by_nature else _procedure_counts(n_documents, settings)
    for source, total in of_source.items():
        taken = sum(count for form, count in counts.items() if form.source == source)
        if taken > total:
            raise InputError(
                f"The source {source!r} has no room for its procedure documents: they would be {taken:,} of "
                f"{n_documents:,} documents, and the source has {total:,}.",
                fix="Ask for fewer procedure documents, give the source a larger share, or change the forms.",
            )
        others = {form: form.share for form in FORMS if form.source == source and form not in counts}
        counts |= _round(total - taken, others)
    return {form: counts.get(form, 0) for form in FORMS}


def _procedure_counts(n_documents: int, settings: Settings) -> dict[Form, int]:
    in_source: defaultdict[str, int] = defaultdict(int)
    for form in FORMS:
        in_source[form.source] += form.share
    natural = {
        form: settings.shares.get(form.source, 0) * form.share / in_source[form.source]
        for form in procedure_forms.FORMS
    }
    share = math.fsum(natural.values()) if settings.procedures is None else settings.procedures
    wanted: dict[str, int] = _round(round(n_documents * share), settings.forms or {"": 1.0})
    counts: dict[Form, int] = {}
    for name, total in wanted.items():
        members = {form: part for form, part in natural.items() if name in ("", form.procedure_form)}
        if total and not any(members.values()):
            raise InputError(
                f"No source of this corpus holds procedure documents{f' of the form {name!r}' * bool(name)}.",
                fix="Give such a source a share, or ask for none of them.",
            )
        counts |= _round(total, members)
    return counts


def _round(total: int, weights: Mapping[_K, float]) -> dict[_K, int]:
    """Whole numbers in these proportions that sum to `total`: the largest remainders are rounded up."""
    whole = math.fsum(weights.values()) or 1
    exact = {key: total * weight / whole for key, weight in weights.items()}
    counts = {key: math.floor(value + 1e-9) for key, value in exact.items()}
    by_remainder = sorted((key for key in exact if exact[key]), key=lambda key: counts[key] - exact[key])
    for key in by_remainder[: total - sum(counts.values())]:
        counts[key] += 1
    return counts
