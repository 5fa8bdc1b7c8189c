"""Sentences about nothing in particular: the wide grammar of `texts/filler.toml`."""

from __future__ import annotations

from random import Random

from influence.data.miniworld.grammar import paragraph, say, sentence, texts

_GRAMMAR = texts("filler")
_OPENED_SHARE = 0.25


def filler(rng: Random, least: int, most: int) -> str:
    """A paragraph of `least` to `most` sentences; empty if that is none."""
    count = rng.randint(least, most)
    slots = _Drawn(rng)
    return paragraph(*(sentence(say(rng, one, slots)) for one in rng.sample(_GRAMMAR["sentences"], count)))


def opened(rng: Random, text: str) -> str:
    """The sentence, now and then behind an opener such as "As it happens,"."""
    if rng.random() > _OPENED_SHARE:
        return sentence(text)
    return sentence(say(rng, rng.choice(_GRAMMAR["openers"]), _Drawn(rng))) + " " + text


class _Drawn(dict[str, object]):
    """Slots that are drawn from the list of their name when they are first asked for, `<person>` once for all."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng

    def __missing__(self, slot: str) -> str:
        text = say(self._rng, self._rng.choice(_GRAMMAR[slot]), self)
        if slot == "person":
            self[slot] = text
        return text
