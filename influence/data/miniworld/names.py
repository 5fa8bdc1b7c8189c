"""Invented names and titles, each a function of its number: nothing is stored, and none comes twice."""

from __future__ import annotations

from influence.data.miniworld.grammar import texts

_PARTS = {key: words.split() for key, words in texts("names").items()}
#: A name has two, three or five parts; the short ones first, so that a small world has names of few tokens.
_PATTERNS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1_009, ("starts", "ends")),
    (10_007, ("starts", "middles", "ends")),
    (1_000_003, ("starts", "middles", "links", "middles", "ends")),
)
_TITLES = (
    ("The {} {}", "title_adjectives", "title_things"),
    ("The {}'s {}", "title_people", "title_things"),
    ("A {} for the {}", "title_things", "title_people"),
)


def word(number: int) -> str:
    """The invented name with this number: the first 1,700 have two parts; all are different up to five million."""
    pattern = 0
    while pattern < len(_PATTERNS) - 1 and number >= _size(*_PATTERNS[pattern][1]):
        number -= _size(*_PATTERNS[pattern][1])
        pattern += 1
    stride, parts = _PATTERNS[pattern]
    return "".join(_entries(number * stride % _size(*parts), *parts))


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
