"""Answers read out of what a model wrote; None rather than a guess, because a wrong reading costs more than none.

Thinking is passed over. A declared answer (`the answer is …`, `#### …`, `\\boxed{…}`, `Answer: …`) counts before
anything else: the first `####`, else the last declaration before a model goes on with a next question. Without one a
text gives an answer only if nothing else in it could be one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from influence.data.tasks.choices import read_option, read_verdict
from influence.data.tasks.declared import Declarations, declarations, final_text, first_sentence
from influence.data.tasks.numbers import declared_number, is_number, read_number

Kind = Literal["letters", "yes-no", "number", "option", "verdict", "text"]

_QUOTED = re.compile(
    r"[\"“”`]([^\"“”`\n]{1,40})[\"“”`]|(?<!\w)['‘]([^'’\n]{1,40})['’](?!\w)|\*\*([^*\n]{1,40})\*\*"
)
_SPELLED = re.compile(r"[A-Za-z](?:[\s,.+–—-]{1,8}(?:and\s{1,3})?[A-Za-z])+")
_DECORATION = " \t\r\n\"“”'‘’`*_.,!:;()[]{}$\\"
#: Of an answer without quotes to a question whose words are not known.
_MOST_LETTERS = 4
_YES_NO = re.compile(
    r"\byes\b|\bno\b(?=[\s\"”'’*)\]]{0,4}(?:$|[\n.,!;:—–-])|\s+(?:because|since|as)\b)", re.IGNORECASE
)
#: A last sentence that begins so says nothing of the answer.
_ASIDE = re.compile(
    r"\W{0,4}(?:let me know|would you|do you|if you|i can|feel free|please|note|hope)\b", re.IGNORECASE
)


def read_answer(text: str, kind: Kind, given: Sequence[str] = ()) -> str | None:
    """The answer a text gives, in a form that equal answers share, or None where it gives none or several.

    Args:
        text: What a model wrote; of a very long one the start and the end are read.
        kind: `letters`: letters in a row, in lower case. `yes-no`: `yes` or `no`. `number`: without thousands
            separators, units or trailing zeros. `option`: one of `given`, named by its letter (A, B, … in their order)
            or by its text. `verdict`: `A`, `B`, or `C` for a tie. `text`: all of it, blanks collapsed.
        given: The options of `option`; for `letters` the words of the question, which are no answer.
    """
    text = final_text(text)
    if not text:
        return None
    if kind == "text":
        return " ".join(text.split())
    said = declarations(text)
    match kind:
        case "letters":
            return _letters(text, said, given)
        case "yes-no":
            return _yes_no(text, said)
        case "number":
            return _number(text, said)
        case "option":
            return read_option(text, said, given)
        case "verdict":
            return read_verdict(text, said)


def _number(text: str, said: Declarations) -> str | None:
    for mark in said.marks:
        if is_number(mark):
            return declared_number(mark)
    if said.last is not None:
        number = declared_number(said.last)
        later = [line for line in said.rest.splitlines() if "=" in line]
        return number if not later or declared_number(later[-1]) in (number, None) else None
    if said.denied:
        return None
    last = text.splitlines()[-1].strip()
    if "=" in last:
        return declared_number(last)
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z])", last)[-1]
    return None if _ASIDE.match(sentence) or sentence.endswith("?") else read_number(sentence)


def _yes_no(text: str, said: Declarations) -> str | None:
    if said.denied and not said.lines:
        return None
    said_last = said.marks[0] if said.marks else said.last
    for part in (said_last, text) if said_last else (text,):
        part = re.sub(r"\byes (?:or|/) no\b|\byes/no\b", "", part, flags=re.IGNORECASE)
        found = {match.group().lower() for match in _YES_NO.finditer(part)}
        if len(found) == 1:
            opening = _YES_NO.match(text.lstrip(_DECORATION))
            answer = found.pop()
            return answer if opening is None or opening.group().lower() == answer else None
        if found:
            return None
    return None


def _letters(text: str, said: Declarations, words: Sequence[str]) -> str | None:
    whole = text.strip(_DECORATION)
    if _joined(whole) is not None:
        return _joined(whole) if whole not in words else None
    for part in said.marks[:1] or said.lines[-1:]:
        bare = _joined(first_sentence(part).strip(_DECORATION))
        if bare is not None:
            fits = len(bare) == len(words) if words else len(bare) <= _MOST_LETTERS
            return bare if fits else None
    for part in [*(said.marks[:1] or said.lines[-1:]), text]:
        marked = [next(filter(None, match.groups())).strip(_DECORATION) for match in _QUOTED.finditer(part)]
        marked = [quoted for quoted in marked if not set(re.findall(r"\w+", quoted)) <= set(words)]
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


def written(kind: Kind, answer: str | None) -> str | None:
    """Return an answer as a model is to write it."""
    return f"[[{answer}]]" if kind == "verdict" and answer is not None else answer
