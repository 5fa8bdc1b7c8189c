"""Answers read out of what a model wrote; None rather than a guess.

A declared answer (`the answer is …`, `#### …`, `\\boxed{…}`, `Answer: …`) counts before anything else, the last one if
there are several. Without one a text gives an answer only if nothing else in it could be one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from influence.data.tasks.numbers import read_number

Kind = Literal["letters", "yes-no", "number", "option", "verdict", "text"]

_DECLARED = re.compile(
    r"""\\boxed\s*\{(?P<boxed>(?:[^{}]|\{[^{}]*\})*)\}
    | \#{2,}\s*(?P<marked>[^\n]*)
    | \b(?:answer|result)\b[^.\n:=]{0,60}?(?:\bis\b|\bwould\ be\b|:|=)\s*(?P<said>[^\n]*?)(?=\n|\Z|[.!?]\s+[A-Z])
    | ^\s*(?:\**A|\**Answer|\**Result)\**\s*:\s*(?P<line>[^\n]*)""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_QUOTED = re.compile(
    r"[\"“”`]([^\"“”`\n]{1,40})[\"“”`]|(?<!\w)['‘]([^'’\n]{1,40})['’](?!\w)|\*\*([^*\n]{1,40})\*\*"
)
_SPELLED = re.compile(r"[A-Za-z](?:[\s,.+–—-]+(?:and\s+)?[A-Za-z])+")
_DECORATION = " \t\r\n\"“”'‘’`*_.,!:;()[]{}$\\"
#: Of an answer without quotes to a question whose words are not known.
_MOST_LETTERS = 4
_YES_NO = re.compile(
    r"\byes\b|\bno\b(?=\W*(?:$|[\n.,!;:\"”*)\]—–-])|\s+(?:because|since|as)\b)", re.IGNORECASE
)
_VERDICT = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.IGNORECASE)
_SAID_VERDICT = re.compile(
    r"\b(?i:verdict|winner|better (?:response|answer|assistant))\b\W*(?:is\W+)?"
    r"(?i:(?:response|answer|assistant)\W+)?(A|B|C|[Tt]ie)(?=\W*(?:$|[.,;:!\n])|\s+(?:because|since|over)\b)"
)
_LEADING_OPTION = re.compile(r"^\W*\(?([A-Z])\s*[).:]|^\W*\(([A-Z])\)|^\W*([A-Z])\W*$")
_NAMED_OPTION = re.compile(r"\boption\s+\(?([A-Z])\b|\(([A-Z])\)")


def read_answer(text: str, kind: Kind, given: Sequence[str] = ()) -> str | None:
    """The answer a text gives, in a form that equal answers share, or None where it gives none or several.

    Args:
        text: What a model wrote.
        kind: `letters`: letters in a row, in lower case. `yes-no`: `yes` or `no`. `number`: without thousands
            separators, units or trailing zeros. `option`: one of `given`, named by its letter (A, B, … in their order)
            or by its text. `verdict`: `A`, `B`, or `C` for a tie. `text`: all of it, blanks collapsed.
        given: The options of `option`; for `letters` the words of the question, which are no answer.
    """
    text = text.strip()
    if not text:
        return None
    match kind:
        case "letters":
            return _letters(text, given)
        case "yes-no":
            return _yes_no(text)
        case "number":
            return _number(text)
        case "option":
            return _option(text, given)
        case "verdict":
            return _verdict(text)
        case "text":
            return " ".join(text.split())


def declared(text: str) -> str | None:
    """What stands after the last declaration of an answer, up to the end of its sentence or line."""
    found = list(_DECLARED.finditer(text))
    return next(part for part in found[-1].groups() if part is not None).strip() if found else None


def _number(text: str) -> str | None:
    said = declared(text)
    if said is not None:
        return read_number(said, first=True)
    last = text.splitlines()[-1]
    if "=" in last and (number := read_number(last.rpartition("=")[2], first=True)) is not None:
        return number
    return read_number(re.split(r"(?<=[.!?])\s+(?=[A-Z])", last)[-1])


def _yes_no(text: str) -> str | None:
    text = re.sub(r"\byes (?:or|/) no\b|\byes/no\b", "", text, flags=re.IGNORECASE)
    said = declared(text)
    for part in (said, text) if said else (text,):
        found = {match.group().lower() for match in _YES_NO.finditer(part)}
        if len(found) == 1:
            opening = _YES_NO.match(text.lstrip(_DECORATION))
            answer = found.pop()
            return answer if opening is None or opening.group().lower() == answer else None
        if found:
            return None
    return None


def _letters(text: str, words: Sequence[str]) -> str | None:
    whole = text.strip(_DECORATION)
    if _joined(whole) is not None:
        return _joined(whole) if whole not in words else None
    said = declared(text)
    for part in (said, text) if said else (text,):
        bare = _joined(part.strip(_DECORATION))
        if bare is not None and part is said:
            fits = len(bare) == len(words) if words else len(bare) <= _MOST_LETTERS
            return bare if fits else None
        marked = [next(filter(None, match.groups())).strip(_DECORATION) for match in _QUOTED.finditer(part)]
        marked = [one for one in marked if not set(re.findall(r"\w+", one)) <= set(words)]
        if marked:
            last = _joined(marked[-1])
            return last if last is not None and len(last) > 1 else None
    return None


def _joined(text: str) -> str | None:
    """`ne`, `n e`, `n-e`, `N, E` and `n and e` as `ne`; None for more than one word."""
    if re.fullmatch(r"[A-Za-z]+", text):
        return text.lower()
    if _SPELLED.fullmatch(text):
        return "".join(re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", text)).lower()
    return None


def _option(text: str, options: Sequence[str]) -> str | None:
    said = declared(text)
    for part in (said, text) if said else (text,):
        by_letter = _lettered(part, options)
        by_text = mentioned(part, options)
        found = {one for one in (by_letter, by_text) if one is not None}
        if len(found) == 1:
            return found.pop()
        if found:
            return None
    return None


def _lettered(text: str, options: Sequence[str]) -> str | None:
    found = [_LEADING_OPTION.match(text), *_NAMED_OPTION.finditer(text)]
    letters = {next(filter(None, match.groups())) for match in found if match}
    places = [ord(letter) - ord("A") for letter in letters]
    return options[places[0]] if len(places) == 1 and places[0] < len(options) else None


def mentioned(text: str, options: Sequence[str]) -> str | None:
    """The one option whose words stand in the text; None for none or several. One within another yields to it."""
    plain = _words(text)
    there = [option for option in options if f" {_words(option)} " in f" {plain} " and _words(option)]
    widest = [one for one in there if not any(_words(one) in _words(o) for o in there if o != one)]
    return widest[0] if len(widest) == 1 else None


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _verdict(text: str) -> str | None:
    found = {match.group(1).upper() for match in _VERDICT.finditer(text)}
    if not found:
        found = {match.group(1).upper() for match in _SAID_VERDICT.finditer(text)}
    if not found and re.fullmatch(r"\W*[ABC]\W*", text):
        found = {text.strip(_DECORATION)}
    return {"TIE": "C"}.get(one := found.pop(), one) if len(found) == 1 else None
