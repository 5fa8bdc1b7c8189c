"""Invented names and titles, each a function of its number: nothing is stored, and none comes twice."""

from __future__ import annotations

from influence.data.miniworld.grammar import texts

_PARTS = {key: words.split() for key, words in texts("names").items()}
_NAME = ("starts", "middles", "ends")
_LONG_NAME = ("starts", "middles", "links", "middles", "ends")
_TITLES = (
    ("The {} {}", "title_adjectives", "title_things"),
    ("The {}'s {}", "title_people", "title_things"),
    ("A {} for the {}", "title_things", "title_people"),
)


def word(number: int) -> str:
    """The invented name with this number: the first 29,000 are short; all are different up to five million."""
    short = _size(*_NAME)
    if number < short:
        return "".join(_entries(number * 10_007 % short, *_NAME))
    return "".join(_entries((number - short) * 1_000_003 % _size(*_LONG_NAME), *_LONG_NAME))


def person(first: int, last: int) -> str:
    """A first name, and the invented name `last` for a surname."""
    first_names = _PARTS["first_names"]
    return f"{first_names[first % len(first_names)]} {word(last)}"


def title(number: int, unused: int) -> str:
    """The book title with this number; when all titles are given away, one that holds the name `unused`."""
    number, turn = divmod(number, len(_TITLES))
    pattern, first, second = _TITLES[turn]
    size = _size(first, second)
    one, other = _entries(number * 7_919 % size, first, second)
    if number >= size:
        return f"The {other} of {word(unused)}"
    return pattern.format(one, other).replace("A A", "An A").replace("A E", "An E").replace("A O", "An O")


def _size(*parts: str) -> int:
    size = 1
    for part in parts:
        size *= len(_PARTS[part])
    return size


def _entries(number: int, *parts: str) -> list[str]:
    """One entry of each list: the number in mixed base."""
    chosen = []
    for part in parts:
        number, digit = divmod(number, len(_PARTS[part]))
        chosen.append(_PARTS[part][digit])
    return chosen
