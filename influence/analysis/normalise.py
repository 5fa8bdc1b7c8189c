"""A text as canonical tokens, so that spellings of one thing are one.

- words: without case, accents and compatibility forms; punctuation only parts them
- numbers by value: `6,264`, `6'264`, `6264.0` and `six thousand two hundred and sixty-four` are one; units after a
  number by their short name (`12 kilometres`, `12-km`)
- signs and operators: `−`, `–` and `minus`; `×`, `·`, `*`, `x` and `times`; `÷`, `/` and `divided by`; between two
  numbers, `is`, `equals` or `gives` are `=`. Brackets, bullets and emphasis are nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from influence.analysis.spelled import Token, join_spelled, key_at, last_words

_OPERATORS = {
    **dict.fromkeys("+", "+"),
    **dict.fromkeys("-−–—‐‑", "-"),
    **dict.fromkeys("*×·⋅∙•", "*"),
    **dict.fromkeys("/÷∕", "/"),
    **dict.fromkeys(("\\times", "\\cdot", "times", "x", "multiplied"), "*"),
    **dict.fromkeys(("\\div", "divided"), "/"),
    **dict.fromkeys(("plus", "added"), "+"),
    **dict.fromkeys(("minus", "negative"), "-"),
    **dict.fromkeys(("=", "==", "===", "→", "=>", "->"), "="),
    **dict.fromkeys(("is", "are", "equals", "equal", "gives", "makes", "leaves", "yields"), "="),
}
#: Words that complete an operator: divided *by*, is *equal to*.
_COMPLETIONS = {"/": ("by",), "*": ("by",), "+": ("to",), "=": ("equal", "to")}
_UNITS = {
    name: short
    for short, names in {
        "m": "m metre metres meter meters",
        "km": "km kilometre kilometres kilometer kilometers",
        "cm": "cm centimetre centimetres centimeter centimeters",
        "mm": "mm millimetre millimetres millimeter millimeters",
        "kg": "kg kilogram kilograms kilogramme kilogrammes",
        "g": "g gram grams gramme grammes",
        "l": "l litre litres liter liters",
        "ft": "ft foot feet",
        "mi": "mi mile miles",
        "c": "c celsius",
        "h": "h hour hours",
        "min": "min minute minutes",
        "%": "% percent",
    }.items()
    for name in names.split()
}
#: Letters of scripts that put no blanks between words: Thai, Lao, Burmese, Khmer, kana and Chinese characters. Each is
#: a token, so that an answer is found within a sentence.
UNSPACED = (
    "\u0e00-\u0e4f\u0e5a-\u0ecf\u0eda-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_RAW = re.compile(
    r"(?P<break>\n[^\S\n]*\n)"
    r"|(?P<bullet>(?:\A|(?<=\n))[^\S\n]*[-+*•–—][^\S\n]+)"
    rf"|(?P<letter>[{UNSPACED}][\u3099\u309a]?)"
    rf"|(?<![^\W{UNSPACED}])(?P<number>\d{{1,3}}(?:[,'’_\u00a0\u2009\u202f]\d{{3}})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)*|(?<!\.)\.\d+)"
    rf"(?P<tail>[^\W_{UNSPACED}][^\W{UNSPACED}]*)?"
    rf"|(?P<word>[^\W_{UNSPACED}](?:[^\W_{UNSPACED}]|[\u0300-\u036f\u00ad])*)"
    r"|(?P<operator>\\times|\\cdot|\\div|={1,3}>?|->|\*+|[+\-−–—‐‑×·⋅∙•/÷∕→%])"
)
#: Key of an empty line: no keyword reaches across one.
BREAK = "¶"
_ATOM = re.compile(rf"\d+|[{UNSPACED}]|[^\W\d_{UNSPACED}]+")
#: What parts an operator from a number before it: in `(5, -4)` nothing is subtracted.
_APART = re.compile(r"[,;:.!?]")
_MARKS = re.compile("[\u0300-\u036f\u00ad]")


def tokens(text: str) -> list[Token]:
    """The canonical tokens of a text, with their places in it."""
    return _operators(join_spelled(list(_raw(text)), text, _OPERATORS), text)


def _raw(text: str) -> Iterator[Token]:
    for match in _RAW.finditer(text):
        kind, start, end = match.lastgroup, match.start(), match.end()
        if kind in ("word", "letter"):
            yield Token(_fold(match[0]), start, end)
        elif kind == "operator":
            yield Token(match[0], start, end)
        elif kind == "break":
            yield Token(BREAK, start, end)
        elif kind != "bullet":
            yield from _number(match, text)


@lru_cache(maxsize=2**16)
def _fold(word: str) -> str:
    if word.isascii():
        return word.lower()
    folded = unicodedata.normalize("NFKD", _MARKS.sub("", word)).casefold()
    return _MARKS.sub("", folded) or word


def atoms(text: str) -> set[str]:
    """Runs of letters and of digits of a text, folded: a fast, coarse look at what tokens it can have.

    Letters of scripts without blanks stand alone.
    """
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return set(_ATOM.findall(text.casefold()))


def needed_atoms(key: str) -> list[frozenset[str]]:
    """What `atoms(text)` must hold if `tokens(text)` holds this key: one of each set."""
    if key[0] != "#":
        return [] if key in _UNITS.values() else [frozenset([atom]) for atom in _ATOM.findall(key)]
    digits = key.lstrip("#-")
    if not digits.isdecimal():
        return []
    spelled = last_words(int(digits))
    return [frozenset([digits, *([digits[-3:]] if len(digits) > 3 else []), *spelled])]


def _number(match: re.Match[str], text: str) -> Iterator[Token]:
    """A number and what is glued to it: `6264m` is a number and a unit, `3x7` a product, `4th` or `3x` a word."""
    digits, tail, start = match["number"], match["tail"], match.start()
    end = match.end("number")
    if "," in digits and text[start - 1 : start] == "(" and text[end : end + 1] == ")":  # (100,200) is a pair
        for part in re.finditer(r"\d+", digits):
            yield Token(_value(part[0]), start + part.start(), start + part.end())
        return
    if not tail:
        yield Token(_value(digits), start, end)
    elif tail.lower() in _UNITS:
        yield Token(_value(digits), start, end)
        yield Token(tail.lower(), end, match.end())
    elif tail[0] in "xX" and tail[1:].isdecimal():
        yield Token(_value(digits), start, end)
        yield Token("x", end, end + 1)
        yield Token(_value(tail[1:]), end + 1, match.end())
    else:
        yield Token(_fold(digits + tail), start, match.end())


def _value(digits: str) -> str:
    """`#` and the value; versions (1.2.3) and numbers with a leading zero (07) are words."""
    plain = unicodedata.normalize("NFKC", re.sub(r"[,'’_\u00a0\u2009\u202f]", "", digits))
    if plain.count(".") > 1 or re.match(r"0\d", plain):
        return plain
    if "." in plain:
        whole, rest = plain.split(".")
        plain = f"{whole or '0'}.{rest}".rstrip("0").rstrip(".")
    return "#" + plain


def _operators(items: list[Token], text: str) -> list[Token]:
    """Operators by one name each, signs joined to their numbers, units by their short name; the rest as it is.

    A sign that stands between no operands (a bullet, a dash, a star of emphasis) is dropped.
    """
    result: list[Token] = []
    place = 0
    while place < len(items):
        key, taken = _reading(items, place, result[-1] if result else None, text)
        if key:
            result.append(Token(key, items[place].start, items[place + taken - 1].end))
        place += taken
    return result


def _reading(items: list[Token], place: int, before: Token | None, text: str) -> tuple[str, int]:
    """What the token at a place is after `before`: its key, empty if it is nothing, and how many tokens it takes."""
    token = items[place]
    left = before
    if left is not None and (not _ends_operand(left) or _APART.search(text, left.end, token.start)):
        left = None
    if token.key == "**":  # a power, or bold
        glued = text[token.end : token.end + 1] in " 0123456789"
        return ("^" if left and _operand_at(items, place + 1) and glued else ""), 1
    operator = _OPERATORS.get(token.key)
    if operator is None:
        return (_UNITS.get(token.key, token.key) if before and before.is_number else token.key), 1
    after = items[place + 1] if place + 1 < len(items) else None
    if (
        left is None
        and operator == "-"
        and after
        and after.is_number
        and _is_sign(token, after, text, before)
    ):
        return "#-" + after.key[1:], 2
    return _between(items, place, operator, left)


def _between(items: list[Token], place: int, operator: str, left: Token | None) -> tuple[str, int]:
    """Key and width of an operator after the operand `left`, if there is one; a word stays one between no numbers."""
    key = items[place].key
    spelled = key[0].isalpha()
    taken = 1
    while key_at(items, place + taken) in _COMPLETIONS.get(operator, ()):  # divided by
        taken += 1
    if left is not None and _operand_at(items, place + taken):
        of_numbers = left.is_number and (_signed_at(items, place + taken) or items[place + taken].is_number)
        of_a_variable = operator == "=" and len(left.key) == 1
        if not spelled or of_numbers or of_a_variable:
            return operator, taken
    return (key if spelled else "=" if operator == "=" else ""), 1


def _signed_at(items: list[Token], place: int) -> bool:
    """Whether a minus and a number stand at a place."""
    return _OPERATORS.get(key_at(items, place)) == "-" and key_at(items, place + 1)[:1] == "#"


def _operand_at(items: list[Token], place: int) -> bool:
    return place < len(items) and (_is_operand(items[place]) or _signed_at(items, place))


def _ends_operand(token: Token) -> bool:
    return _is_operand(token) or token.key in _UNITS.values()


def _is_operand(token: Token) -> bool:
    return token.is_number or (len(token.key) == 1 and token.key.isalpha()) or token.key[0].isdecimal()


def _is_sign(token: Token, after: Token, text: str, before: Token | None) -> bool:
    """Whether a minus without a number before it is a sign: not a hyphen (`F-16`) and not a bullet."""
    if token.key[0].isalpha():
        return True
    if before is not None and before.end == token.start and before.key not in ("=", "*", "/", "+"):
        return False
    if before is not None and before.key in ("=", "*", "/", "+"):
        return True
    return token.end == after.start or (token.end + 1 == after.start and text[token.end] == "(")
