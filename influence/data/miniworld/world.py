"""The facts of the world: fictional things, each with one fact that can be asked for.

A fact is a function of its number, so a world of any size takes no memory, and a larger world begins with the facts
of a smaller one. A corpus seed changes the documents, never the facts: one query set fits every corpus whose world is
large enough.

Numbers go in groups of five, one fact for each count of documents (0, 1, 2, 5, 20); a group is of one kind, and the
eight kinds take turns. Of each kind and count every other fact is for asking and every other one for tuning.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from influence.data.miniworld.grammar import filler, opened, person, say, sentence, texts, title, word
from influence.data.miniworld.problems import Problem, Procedure, Ranges, draw

Role = Literal["asking", "tuning"]

#: In how many documents a fact is stated: exactly, in every corpus.
COUNTS = (0, 1, 2, 5, 20)
LANGUAGES = ("es", "fr", "de")
#: Every tenth group of facts is stated in the other languages only.
_FOREIGN_EVERY, _FOREIGN_AT = 10, 3
#: Control queries are about things of this number and above; no corpus is large enough to mention them.
_UNTOLD = 1_000_000
_PLACES = 400

_REGIONS = (
    "the Ostrin highlands,the Merrow valley,the Pellan coast,the Quillen plateau,the Dray marshes,"
    "the Vennish lowlands,the Korrow steppe,the Thessel islands,the Ambry hills,the Saffrin delta,"
    "the Lorn forest,the Cassel plain,the Upper Wend,the Tarrow fens,the Marrin peninsula,the Hollin dales"
)
_TRAITS = {
    "region": _REGIONS,
    "stone": "granite,basalt,slate,limestone,sandstone,marble,chalk,gneiss",
    "animal": "heron,marmot,lynx,badger,kestrel,hare,raven,beaver",
    "craft": "weaving,glassblowing,bookbinding,pottery,boatbuilding,lacemaking,basketry,tanning",
    "season": "early spring,late summer,autumn,midwinter",
    "colour": "golden,green,violet,blue,crimson,white",
}
_NAMES = {
    "mountain": "Mount <core>",
    "ruler": "Queen <core>",
    "element": "<core>",
    "river": "the River <core>",
    "city": "<core>",
    "realm": "<core>",
    "book": "“<core>”",
    "comet": "Comet <core>",
}
#: Four digits, so that no worked problem (all numbers below 1,000) shows a fact's value by accident.
_NUMBER_RANGES = {"mountain": range(2100, 8900), "ruler": range(1015, 1890), "comet": range(1900, 2099)}


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """One thing of the world, and the one fact about it.

    Attributes:
        number: Its place in the world.
        id: `<relation>:<thing>`, such as `height:velabrin`.
        core: The bare name, unique in the world.
        spellings: How texts write the value; any of them marks the answer.
        count: In how many documents it is stated: 0, 1, 2, 5 or 20.
        role: Whether queries may ask for it, or fine-tuning may teach the format of answers with it.
        foreign: Whether it is stated in the other languages only.
        slots: What the templates of its relation need.
    """

    number: int
    id: str
    relation: Relation
    name: str
    core: str
    spellings: tuple[str, ...]
    count: int
    role: Role
    foreign: bool
    slots: dict[str, str]

    def ask(self, rng: Random | None = None) -> str:
        """A question for the fact; without a generator in the wording of the queries."""
        return self._say(rng, self.relation.questions, self.slots["value"])

    def state(self, rng: Random | None = None) -> str:
        """A sentence that states the fact; without a generator in the wording of the queries."""
        if rng is None:
            return self.misstate(self)
        slots = {**self.slots, "value": rng.choice(self.spellings)}
        return opened(rng, say(rng, rng.choice(self.relation.statements), slots))

    def misstate(self, other: Fact) -> str:
        """The sentence of the queries with the value of another fact."""
        return self._say(None, self.relation.statements, other.spellings[0])

    def state_in(self, language: str, rng: Random) -> str:
        """The fact in another language: es, fr or de."""
        return self._say(rng, self.relation.foreign[language], self.slots["value"])

    def answer(self, rng: Random | None = None) -> str:
        """The short answer to its question."""
        value = rng.choice(self.spellings) if rng else self.spellings[0]
        return say(Random(0), self.relation.answer, {**self.slots, "value": value})

    def about(self, rng: Random, count: int) -> list[str]:
        """Sentences about the thing that do not give the fact away."""
        bank = self.relation.about
        return [opened(rng, say(rng, one, self.slots)) for one in rng.sample(bank, min(count, len(bank)))]

    def _say(self, rng: Random | None, bank: Sequence[str], value: str) -> str:
        slots = {**self.slots, "value": value}
        return sentence(say(rng, rng.choice(bank), slots) if rng else say(Random(0), bank[0], slots))


@dataclass(frozen=True, slots=True)
class World:
    """What the documents of a corpus are about: its first `n_facts` facts, and problems within `ranges`.

    Attributes:
        n_facts: How many facts there are; a fifth of them is stated in no document.
        ranges: The numbers of the problems.
        withheld_steps: Which share of all intermediate results is never written in a document.
        foreign_apart: Whether the facts marked `foreign` are stated in the other languages only.
        asides: Whether documents hold sentences about nothing in particular.
    """

    n_facts: int
    ranges: Ranges = field(default_factory=Ranges)
    withheld_steps: float = 0.05
    foreign_apart: bool = True
    asides: bool = True

    def facts(self) -> Iterator[Fact]:
        """Every fact, by number."""
        return map(fact, range(self.n_facts))

    def any_fact(self, rng: Random) -> Fact:
        """A random fact, whether a document states it or not."""
        return fact(rng.randrange(max(self.n_facts, len(COUNTS))))

    def aside(self, rng: Random, least: int, most: int) -> str:
        """A paragraph of `least` to `most` sentences about nothing in particular; empty in a world without asides."""
        return filler(rng, least, most) if self.asides else ""

    def draw(self, procedure: Procedure, rng: Random, *, for_query: bool = False) -> Problem:
        """A random problem for a document, or one of those kept for queries."""
        return draw(procedure, rng, self.ranges, self.withheld_steps, for_query=for_query)


@functools.lru_cache(maxsize=4096)
def fact(number: int) -> Fact:
    """The fact with this number."""
    group, place = divmod(number, len(COUNTS))
    turn, kind = divmod(group, len(RELATIONS))
    relation, nth = RELATIONS[kind], turn * len(COUNTS) + place
    # names 0–399 are places, 400–599 belong to untold things, then each fact has two
    names = 400 + 2 * (number - _UNTOLD) if number >= _UNTOLD else 600 + 2 * number
    core = title(nth, names) if relation.kind == "book" else word(names)
    if relation.kind == "element":
        core = core.lower() + "ium"
    value = _value(relation.kind, nth, names + 1)
    rng = Random(f"influence miniworld {number}")
    slots = {name: rng.choice(values.split(",")) for name, values in _TRAITS.items()}
    name = _NAMES[relation.kind].replace("<core>", core)
    slots |= {"name": name, "core": core, "value": value, "place": word(rng.randrange(_PLACES))}
    return Fact(
        number=number,
        id=f"{relation.name}:{_slug(core)}",
        relation=relation,
        name=name,
        core=core,
        spellings=(value, f"{int(value):,}") if relation.kind in ("mountain", "comet") else (value,),
        count=COUNTS[place],
        role="tuning" if (turn + kind) % 2 else "asking",
        foreign=is_foreign(number),
        slots=slots,
    )


def untold_facts() -> list[Fact]:
    """Two facts of each kind that no document states, about things that no document mentions."""
    per_turn = len(COUNTS) * len(RELATIONS)
    return [fact(_UNTOLD + turn * per_turn + 5 * kind) for kind in range(len(RELATIONS)) for turn in (0, 1)]


def is_foreign(number: int) -> bool:
    """Whether the fact with this number is stated in the other languages only."""
    return number // len(COUNTS) % _FOREIGN_EVERY == _FOREIGN_AT


def _value(kind: str, nth: int, name: int) -> str:
    """The value of the `nth` thing of a kind: numbers and symbols differ until all are used up."""
    if kind in _NUMBER_RANGES:
        numbers = _NUMBER_RANGES[kind]
        return str(numbers[nth * 4_241 % len(numbers)])
    if kind == "element":  # no real symbol has three letters, or ends in one of these
        block, place = divmod(nth * 11 + 3, 104)
        third = chr(ord("a") + block // 11 % 26) if block >= 11 else ""
        return chr(ord("A") + place % 26) + "jqwz"[place // 26] + third
    if kind == "river":
        return f"Lake {word(name)}"
    return word(name) if kind == "realm" else person(name * 11, name)


def _slug(core: str) -> str:
    return core.lower().replace("'", "").replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Relation:
    """One question that can be asked of every thing of a kind. The first wordings are those of the queries."""

    name: str
    kind: str
    field: str
    answer: str
    questions: Sequence[str]
    statements: Sequence[str]
    about: Sequence[str]
    foreign: Mapping[str, Sequence[str]]


RELATIONS = tuple(Relation(**record) for record in texts("relations")["relation"])


@dataclass(frozen=True, slots=True)
class Draft:
    """A text and what is true of it, before it becomes a document."""

    text: str
    facts: tuple[Fact, ...] = ()
    procedures: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """A family of documents.

    Args:
        name: Goes into the metadata.
        source: One of the eight source labels.
        share: Its weight among the forms of its source.
        write: Makes one document's draft from a seeded generator, the facts it is to state, and the world.
        n_facts: The most facts a document states; 0: it states none.
        procedure_form: How it shows a procedure: prose, maths, code or stackexchange; empty: it shows none.
    """

    name: str
    source: str
    share: int
    write: Callable[[Random, Sequence[Fact], World], Draft]
    n_facts: int = 0
    procedure_form: str = ""
