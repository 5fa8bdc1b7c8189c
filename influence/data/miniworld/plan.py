"""How many documents of each form a corpus holds, and how many facts they can state."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass

from influence.data.miniworld import distractor_forms, fact_forms, procedure_forms
from influence.data.miniworld.grammar import Form
from influence.data.miniworld.settings import Settings, whole_number
from influence.data.miniworld.world import COUNTS, World, is_foreign
from influence.errors import InputError

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
    counts = _round(n_documents, _form_shares(settings))
    foreign_apart = any(form.n_facts and form.source == "multilingual" and counts[form] for form in FORMS)
    n_facts = settings.facts or 0
    plan = Plan(counts, World(n_facts, settings.ranges, settings.withheld_steps, foreign_apart))
    if settings.facts is None:
        n_facts = _most_facts(plan)
        return Plan(counts, World(n_facts, settings.ranges, settings.withheld_steps, foreign_apart))
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


def _form_shares(settings: Settings) -> dict[Form, float]:
    """The share of all documents that each form has."""
    total: defaultdict[str, float] = defaultdict(float)
    for form in FORMS:
        total[form.source] += form.share
    natural = {form: settings.shares.get(form.source, 0) * form.share / total[form.source] for form in FORMS}
    shares = _procedure_shares(settings, natural)
    for source, share in settings.shares.items():
        taken = math.fsum(part for form, part in shares.items() if form.source == source)
        if taken > share + 1e-9:
            raise InputError(
                f"The source {source!r} has no room for its procedure documents: they would be {taken:.1%} of the "
                f"corpus, and the source is {share:.1%}.",
                fix="Ask for fewer procedure documents, give the source a larger share, or change the forms.",
            )
        others = {
            form: part for form, part in natural.items() if form.source == source and form not in shares
        }
        scale = max(share - taken, 0) / (math.fsum(others.values()) or 1)
        shares |= {form: part * scale for form, part in others.items()}
    return {form: shares.get(form, 0.0) for form in FORMS}


def _procedure_shares(settings: Settings, natural: dict[Form, float]) -> dict[Form, float]:
    by_form: defaultdict[str, dict[Form, float]] = defaultdict(dict)
    for form in procedure_forms.FORMS:
        by_form[form.procedure_form if settings.forms else ""][form] = natural[form]
    whole = math.fsum(natural[form] for form in procedure_forms.FORMS)
    wanted = whole if settings.procedures is None else settings.procedures
    shares: dict[Form, float] = {}
    for name, members in by_form.items():
        target = wanted * (settings.forms.get(name, 0) if settings.forms else 1)
        held = math.fsum(members.values())
        if target and not held:
            raise InputError(
                f"No source of this corpus holds procedure documents{f' of the form {name!r}' * bool(name)}.",
                fix="Give such a source a share, or ask for none of them.",
            )
        shares |= {form: part * target / (held or 1) for form, part in members.items()}
    return shares


def _round(total: int, shares: dict[Form, float]) -> dict[Form, int]:
    """Whole numbers in these proportions that sum to `total`: the largest remainders are rounded up."""
    counts = {form: math.floor(total * share + 1e-9) for form, share in shares.items()}
    by_remainder = sorted(shares, key=lambda form: counts[form] - total * shares[form])
    for form in by_remainder[: total - sum(counts.values())]:
        counts[form] += 1
    return counts
