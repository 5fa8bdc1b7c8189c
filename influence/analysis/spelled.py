"""Spelled-out English integers among the tokens of a text: `one hundred and five`, `sixty-four`, `3 million`."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
_TEENS = "sixteen seventeen eighteen nineteen"
_SMALL = {word: value for value, word in enumerate(f"{_ONES} {_TEENS}".split())}
_DECADES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {word: 10 * value for value, word in enumerate(_DECADES, start=2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_NUMBER_WORDS = _SMALL | _TENS | _SCALES


@dataclass(slots=True)
class Token:
    """A canonical token: a word in lower case, a number as `#value`, an operator, or a break between paragraphs."""

    key: str
    start: int
    end: int

    @property
    def is_number(self) -> bool:
        """Whether it is a number, signed or not."""
        return self.key[0] == "#"


def key_at(items: Sequence[Token], place: int) -> str:
    """Key of the token at a place, empty outside."""
    return items[place].key if 0 <= place < len(items) else ""


def join_spelled(raw: list[Token], text: str, operators: Container[str]) -> list[Token]:
    """Spelled-out integers become numbers: `one hundred and five`, `sixty-four`, `3 million`, `sixteen sixty-nine`."""
    result: list[Token] = []
    place = 0
    while place < len(raw):
        token = raw[place]
        if token.key in _NUMBER_WORDS or (token.is_number and key_at(raw, place + 1) in _SCALES):
            value, after = _spelled(raw, place, text)
            alone = after == place + 1 and token.key == "one"
            if not (alone and not _beside_operator(raw, place, operators)):
                result.append(Token(f"#{value}", token.start, raw[after - 1].end))
                place = after
                continue
        result.append(token)
        place += 1
    return result


def _beside_operator(raw: list[Token], place: int, operators: Container[str]) -> bool:
    """`one` is a number in `two minus one is one`, a pronoun in `no one`."""
    before, after, number = key_at(raw, place - 1), key_at(raw, place + 1), key_at(raw, place - 2)
    near = {before, after} - {"is", "are", "x", "-"}
    told = before == "is" and (number in _NUMBER_WORDS or number[:1] == "#")
    return told or any(key in operators for key in near)


def _spelled(raw: list[Token], place: int, text: str) -> tuple[str, int]:
    """Value of the spelled-out integer that starts at `place`, and the place after it."""
    total, current, last, start = 0, 0, "", place
    if raw[place].is_number:
        if not raw[place].key[1:].isdecimal():
            return _scaled(raw, place)
        current, last, place = int(raw[place].key[1:]), raw[place].key, place + 1
    while place < len(raw) and (place == start or _joined(raw, place, text)):
        if not _is_connective(raw, place, last):
            sums = _extended(total, current, last, raw[place].key)
            if sums is None:
                break
            total, current = sums
            last = raw[place].key
        place += 1
    return str(total + current), place


def _is_connective(raw: list[Token], place: int, last: str) -> bool:
    """Whether a token only joins two words of a number: `hundred and five`, `sixty-four`."""
    key, after = raw[place].key, key_at(raw, place + 1)
    if key == "and":
        return last in ("hundred", "thousand") and (after in _SMALL or after in _TENS)
    return key == "-" and last in _TENS and 0 < _SMALL.get(after, 0) < 10


def _extended(total: int, current: int, last: str, key: str) -> tuple[int, int] | None:
    """The sums of a number with one more word: whole scales, and what stands below the next. None: it ends before."""
    begins = not last or last in _SCALES
    if key in _SMALL:
        after_tens = last in _TENS and 0 < _SMALL[key] < 10
        return (total, current + _SMALL[key]) if begins or after_tens else None
    if key in _TENS:
        if _SMALL.get(last, 0) >= 10 and current < 20:  # sixteen sixty-nine
            return total, 100 * current + _TENS[key]
        return (total, current + _TENS[key]) if begins else None
    if key == "hundred":
        return (total, 100 * (current or 1)) if current < 100 else None
    return (total + (current or 1) * _SCALES[key], 0) if key in _SCALES else None


def _scaled(raw: list[Token], place: int) -> tuple[str, int]:
    """`2.5 million`."""
    value = round(float(raw[place].key[1:]) * _SCALES[raw[place + 1].key], 6)
    return (str(int(value)) if value == int(value) else str(value)), place + 2


def _joined(raw: list[Token], place: int, text: str) -> bool:
    """Only white space or a hyphen parts the words of one number."""
    return not text[raw[place - 1].end : raw[place].start].strip()


def last_words(value: int) -> list[str]:
    """The words of which one ends the spelled-out form of an integer."""
    last = value % 100 if value % 100 < 20 else value % 10
    if last or value == 0:
        return [word for word, small in _SMALL.items() if small == last]
    return [word for word, tens in _TENS.items() if tens == value % 100] or list(_SCALES)
