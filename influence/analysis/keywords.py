"""Find answers and steps in texts by their spellings: no model, only canonical tokens.

A keyword is found where its tokens (`influence.analysis.normalise`) follow one another in the text. So `4` is in
neither `14` nor `4.5`, `cat` not in `cats`, and `7 - 4 = 3` in `seven minus four is three`. Beyond that:

- an equation is found with its sides, or the two operands of its + or ×, swapped; never as part of a longer expression
- a lone number of up to three digits is not found inside `3/4`, `12:04`, `10-20` or `(26,43)`
- a keyword of one or two letters, or of up to four capitals, keeps its case: `Gj` is not `GJ`

It does not know what a number or a name is said about: docs/keyword-judge.md has its measured precision and recall.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from influence.analysis.normalise import atoms, needed_atoms, tokens
from influence.analysis.spelled import Token
from influence.errors import InputError

_ARITHMETIC = frozenset("+-*/^")
_BESIDE = re.compile(r"\d[/:,\-–−]$"), re.compile(r"^[/:,\-–−]\d")


@dataclass(frozen=True, slots=True)
class Span:
    """Where a keyword stands in a text: characters `start` to `end`, and the keyword as it was given."""

    start: int
    end: int
    keyword: str


@dataclass(frozen=True, slots=True)
class _Form:
    """One token sequence that marks a needle."""

    keys: tuple[str, ...]
    needle: int
    keyword: str


class KeywordIndex:
    """Looks for many needles in one pass over a text.

    Args:
        needles: For each thing looked for, the spellings that mark it; any one of them will do.

    Raises:
        InputError: a needle has no spelling, or a spelling has no letter, digit or sign.
    """

    def __init__(self, needles: Sequence[Iterable[str]]) -> None:
        self.needles = len(needles)
        self._forms: dict[str, list[_Form]] = {}
        self._needs: dict[str, list[list[frozenset[str]]]] = {}  # by one atom that a form cannot do without
        self._any_text = False
        for needle, keywords in enumerate(needles):
            spellings = list(keywords)
            if not spellings:
                raise InputError(
                    f"Keyword list {needle} is empty.", fix="Give the query an answer or keywords."
                )
            seen = set()
            for keyword in spellings:
                for keys in _forms(keyword):
                    if keys not in seen:
                        seen.add(keys)
                        self._forms.setdefault(keys[0], []).append(_Form(keys, needle, keyword))
                        self._need(keys)

    def _need(self, keys: tuple[str, ...]) -> None:
        needs = [need for key in keys for need in needed_atoms(key)]
        if not needs:
            self._any_text = True
            return
        for atom in max(needs, key=lambda need: max(map(len, need))):
            self._needs.setdefault(atom, []).append(needs)

    def may_hold(self, text: str) -> bool:
        """A fast first look: False only where `find` would find nothing."""
        have = atoms(text)
        return self._any_text or any(
            all(not need.isdisjoint(have) for need in needs)
            for atom in have & self._needs.keys()
            for needs in self._needs[atom]
        )

    def find(self, text: str) -> dict[int, Span]:
        """The first place of each needle that is in the text."""
        spans: dict[int, Span] = {}
        if not self.may_hold(text):
            return spans
        items = tokens(text)
        for place, token in enumerate(items):
            for form in self._forms.get(token.key, ()):
                if form.needle in spans or not _stands_at(form, items, place, text):
                    continue
                end = items[place + len(form.keys) - 1].end
                spans[form.needle] = Span(token.start, end, form.keyword)
                if len(spans) == self.needles:
                    return spans
        return spans


def find(text: str, keywords: Iterable[str]) -> Span | None:
    """The first place in the text where any of the keywords stands, or None."""
    return KeywordIndex([list(keywords)]).find(text).get(0)


def _forms(keyword: str) -> list[tuple[str, ...]]:
    """The token sequences of a keyword: itself, and for an equation also swapped sides and operands."""
    keys = tuple(token.key for token in tokens(keyword))
    if not keys:
        raise InputError(f"The keyword {keyword!r} has no letter, digit or sign to look for.")
    forms = [keys]
    if keys.count("=") == 1 and all(key[0] == "#" or key in _ARITHMETIC for key in keys if key != "="):
        at = keys.index("=")
        left, right = keys[:at], keys[at + 1 :]
        if left and right:
            sides = {left, left[::-1]} if len(left) == 3 and left[1] in "+*" else {left}
            forms = [(*side, "=", *right) for side in sorted(sides, key=lambda side: side != left)]
            forms += [(*right, "=", *side) for side in sorted(sides)]
    return forms


def _stands_at(form: _Form, items: list[Token], place: int, text: str) -> bool:
    keys, n = form.keys, len(form.keys)
    if n > 1 and (place + n > len(items) or any(items[place + i].key != keys[i] for i in range(1, n))):
        return False
    start, end = items[place].start, items[place + n - 1].end
    if n == 1:
        if keys[0][0] == "#":
            return len(keys[0].lstrip("#-")) > 3 or not _inside_a_number(text, start, end)
        return not _keeps_case(form.keyword) or text[start:end] == form.keyword
    return "=" not in keys or not _inside_an_expression(items, place, n)


def _inside_a_number(text: str, start: int, end: int) -> bool:
    return bool(_BESIDE[0].search(text[max(0, start - 2) : start]) or _BESIDE[1].search(text[end : end + 2]))


def _keeps_case(keyword: str) -> bool:
    return len(keyword) <= 2 or (len(keyword) <= 4 and keyword.isupper())


def _inside_an_expression(items: list[Token], place: int, n: int) -> bool:
    before = items[place - 1].key if place else ""
    after = items[place + n].key if place + n < len(items) else ""
    return before in _ARITHMETIC or after in _ARITHMETIC
