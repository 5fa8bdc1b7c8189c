"""The facts of the world: fictional things, each with one fact that can be asked for.

The world is the same for every corpus; a corpus seed changes the documents, never the facts. So one query set fits
every miniworld corpus.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from influence.data.miniworld.grammar import say, sentence, sentences
from influence.data.miniworld.relations import RELATIONS, Relation

THINGS_PER_KIND = 15
#: Things of each kind that no document ever mentions, for control queries.
UNTOLD_PER_KIND = 2
#: A fact of weight 8 is stated eight times as often as one of weight 1.
WEIGHTS = (1, 2, 4, 8)
LANGUAGES = ("es", "fr", "de")

_STARTS = (
    "Ash Bal Brin Cad Cor Daun Dren Ed Fen Fros Gal Gwin Har Hol Il Ist Jas Jor Kas Knol Lat Lum Mer Mos Nal Nor Ob Os "
    "Pel Prosk Quen Quill Rav Ros Sab Skor Tam Thes Ul Umb Val Vor Wed Whit Xan Yar Yul Zeb Zor"
)
_MIDDLES = "a e i o u ai ada eno ilo ima oru uve anti erva illa omba undi"
_ENDS = (
    "bek bridge by cott dan din dorf dra field gorn hal ket kis lan len lith mar mond nak ness phet quist ran rik "
    "sha sol stead tam thal ton vane ville wick yeth zan"
)
_FIRST_NAMES = (
    "Mira Oskan Tessaly Joren Livia Cato Anwen Rurik Sabine Teodor Ilka Marek Noor Petra Soren Vida Yannic"
)
_TITLES = (
    "The Copper Lantern,The Salt Meridian,A Winter of Wrens,The Cartographer's Daughter,Nine Doors of Rain,"
    "The Glass Orchard,Letters to the Ferryman,The Quiet Foundry,A House above the Tide,The Thirteenth Loom,"
    "Smoke over the Causeway,The Beekeeper's Debt,An Atlas of Lost Wells,The Paper Bridge,Under the Juniper Bell,"
    "The Miller's Eclipse,A Ladder for the Moon"
)
_REGIONS = (
    "the Ostrin highlands,the Merrow valley,the Pellan coast,the Quillen plateau,the Dray marshes,"
    "the Vennish lowlands,the Korrow steppe,the Thessel islands,the Ambry hills,the Saffrin delta"
)
_TRAITS = {
    "region": _REGIONS,
    "stone": "granite,basalt,slate,limestone,sandstone,marble",
    "animal": "heron,marmot,lynx,badger,kestrel,hare",
    "craft": "weaving,glassblowing,bookbinding,pottery,boatbuilding,lacemaking",
    "season": "early spring,late summer,autumn,midwinter",
    "colour": "golden,green,violet,blue,crimson",
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
        id: `<relation>:<thing>`, such as `height:velabrin`.
        core: The bare name, unique in the world.
        spellings: How texts write the value; any of them marks the answer.
        weight: How often it is stated, relative to other facts.
        slots: What the templates of its relation need.
    """

    id: str
    relation: Relation
    name: str
    core: str
    spellings: tuple[str, ...]
    weight: int
    slots: dict[str, str]

    def ask(self, rng: Random) -> str:
        """A question for the fact."""
        return sentence(say(rng, rng.choice(self.relation.questions), self.slots))

    def state(self, rng: Random) -> str:
        """A sentence that states the fact."""
        return sentence(say(rng, rng.choice(self.relation.statements), self._written(rng)))

    def state_in(self, language: str, rng: Random) -> str:
        """The fact in another language: es, fr or de."""
        return sentence(say(rng, self.relation.foreign[language], self.slots))

    def answer(self, rng: Random) -> str:
        """The short answer to its question."""
        return say(rng, self.relation.answer, self._written(rng))

    def about(self, rng: Random, count: int) -> list[str]:
        """Sentences about the thing that do not give the fact away."""
        return sentences(rng, self.relation.about, count, self.slots)

    def _written(self, rng: Random) -> dict[str, str]:
        return {**self.slots, "value": rng.choice(self.spellings)}


@functools.cache
def facts() -> tuple[Fact, ...]:
    """Every fact that documents state, ordered by kind."""
    return tuple(fact for kind in _world() for fact in kind[:THINGS_PER_KIND])


@functools.cache
def untold_facts() -> tuple[Fact, ...]:
    """Facts that no document states, about things that no document mentions."""
    return tuple(fact for kind in _world() for fact in kind[THINGS_PER_KIND:])


@functools.cache
def _world() -> tuple[tuple[Fact, ...], ...]:
    rng = Random("influence miniworld")
    words, used = _words(rng), set[str]()
    return tuple(_kind(rng, relation, row, words, used) for row, relation in enumerate(RELATIONS))


def _kind(
    rng: Random, relation: Relation, row: int, words: Iterator[str], used: set[str]
) -> tuple[Fact, ...]:
    count = THINGS_PER_KIND + UNTOLD_PER_KIND
    titles = rng.sample(_TITLES.split(","), count)
    made = []
    for column in range(count):
        core = titles[column] if relation.kind == "book" else next(words)
        if relation.kind == "element":
            core = core.lower() + "ium"
        value = _value(rng, relation.kind, core, words, used)
        used.add(value)
        slots = {name: rng.choice(values.split(",")) for name, values in _TRAITS.items()}
        name = _NAMES[relation.kind].replace("<core>", core)
        slots |= {"name": name, "core": core, "value": value, "place": next(words)}
        spellings = (value, f"{int(value):,}") if relation.kind in ("mountain", "comet") else (value,)
        weight = WEIGHTS[(row + column) % len(WEIGHTS)]
        made.append(Fact(f"{relation.name}:{_slug(core)}", relation, name, core, spellings, weight, slots))
    return tuple(made)


def _value(rng: Random, kind: str, core: str, words: Iterator[str], used: set[str]) -> str:
    if kind in _NUMBER_RANGES:
        return rng.choice([str(number) for number in _NUMBER_RANGES[kind] if str(number) not in used])
    if kind == "element":  # no real symbol ends in one of these letters
        return rng.choice(
            [core[0].upper() + letter for letter in "jqwz" if core[0].upper() + letter not in used]
        )
    if kind == "river":
        return f"Lake {next(words)}"
    if kind == "realm":
        return next(words)
    return f"{rng.choice(_FIRST_NAMES.split())} {next(words)}"


def _words(rng: Random) -> Iterator[str]:
    """Invented names, none of which is part of another."""
    names = [
        start + middle + end
        for start in _STARTS.split()
        for middle in _MIDDLES.split()
        for end in _ENDS.split()
    ]
    rng.shuffle(names)
    given: list[str] = []
    for name in names:
        if not any(name.lower() in other or other in name.lower() for other in given):
            given.append(name.lower())
            yield name


def _slug(core: str) -> str:
    return core.lower().replace("'", "").replace(" ", "-")
