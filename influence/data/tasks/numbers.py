"""Numbers in running text, in one form: `1,234.50 dollars`, `$1234.5` and `1234.50` are all `1234.5`.

Readers here would rather say nothing than guess: a range, a list, a date, a time or a bound is no number.
"""

from __future__ import annotations

import re
from fractions import Fraction

#: Longer numbers are no answers.
_MOST_DIGITS = 60
#: A number may stand right before one of these, as in `18kg`; a name such as `3rd` or `2x` is no number.
_UNITS = re.compile(
    "kg|g|mg|lbs?|oz|km|m|cm|mm|ft|mi|mph|m?l|hrs?|h|mins?|s|sec|am|pm|usd|eur|cents", re.IGNORECASE
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}

# -- one spelling for what is written in several ways

_MARKED_EQUATION = re.compile(r"<<[^<>\n]{0,200}>>(?=\s{0,3}[\d$.])")
_LATEX_FRACTION = re.compile(
    r"\\[dtc]?frac ?(?:\{ ?(?P<over>\d{1,20}) ?\}|(?P<top>\d)) ?(?:\{ ?(?P<under>\d{1,20}) ?\}|(?P<bottom>\d))"
)
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname) ?\{([^{}]{0,200})\}")
_NARROW_BLANK = re.compile(r"(?<=\d)(?:\\[,;:! ]|\{,\}|[\u00a0\u2009\u202f'’])(?=\d{3}(?!\d))")
_SIGN_BEFORE_CURRENCY = re.compile(r"([-−–]) ?(?:\\?\$|[€£])")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_VULGAR = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
_POWER = re.compile(
    r"(?<![\w.,/^])(?:(?P<factor>\d{1,20}(?:\.\d{1,20})?) ?[×x*] ?)?10 ?\^ ?(?P<power>[-−]?\d{1,2})(?![\w^]|\.\d)"
)
_EXPONENT = re.compile(r"(?<![\w.,])(?P<factor>\d{1,20}(?:\.\d{1,20})?)[eE](?P<power>[-+]?\d{1,2})(?!\w)")
_SCALED = re.compile(
    rf"(?<![\w.,])(?P<factor>\d{{1,20}}(?:,\d{{3}}){{0,6}}(?:\.\d{{1,20}})?) (?P<scale>{'|'.join(_SCALES)})\b",
    re.IGNORECASE,
)
_MIXED = re.compile(
    r"(?<![\w.,/])(?P<whole>\d{1,20}) ?(?: |\band ) ?(?P<over>\d{1,4})/(?P<under>[1-9]\d{0,3})(?![\w/])"
)

# -- numbers

#: All that hangs together with a digit, so that half of a date or of a time is no number.
_TOKEN = re.compile(
    r"(?<![\w.,:/^])(?P<sign>[-−–] ?)?(?P<body>\.?\d(?:[\d,.:/^]{0,100}\d)?)(?P<tail>[\w^]{0,20})"
)
_BODY = re.compile(
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d+)?(?P<decimals>\.\d+)?|(?P<over>\d+)/(?P<under>\d*[1-9]\d*)"
)
_GROUPED = re.compile(r"[-−–]? ?\d{1,3}(?: \d{3})+(?![\d/]|[.,]\d|-\w)")
#: What may stand between the number that is meant and another one, which then only explains it.
_EXPLAINS = re.compile(
    r"\s*%?(?:\s*[A-Za-z][A-Za-z'-]{0,20}){0,3}?\s*"
    r"(?:\(|[,;:—–]\s+(?:and\s+|or\s+)?[A-Za-z]|\b(?:because|since|as|for|in|per|after|given|if|when|where|from|at|each|every|on|by|with|which|not|than)\b)",
    re.IGNORECASE,
)
#: Before a number these say that it is a bound, part of a range, or the name of something.
_NO_VALUE = re.compile(
    r"\b(?:not|between|from|least|most|more than|less than|fewer than|over|under|above|below|up to|steps?|question|"
    r"part|problem|line|equation|example|option|page|chapter|n't|either|neither)\b[^.]{0,15}$",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(r"(?:^|[\s,;])([A-Za-z]\w?)\s?=")
#: Between the result of an equation and another number these say that it is no result, or not the last.
_GOES_ON = re.compile(
    r"\s*(?:(?:[A-Za-z%]{1,20}\s+){0,2}?(?:[-–−+*/×÷x,]|to|or|and|times|plus|minus)\s*)?"
    r"|.*\b(?:round\w*|about|which is)\b.*",
    re.IGNORECASE,
)


def read_number(text: str) -> str | None:
    """The one number in a text; None where there is none, or where two differ.

    A number with separators that can be read in two ways, such as `1.234,5`, a date or a time is None.
    """
    plain = _plain(text).strip().rstrip(". ")
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(" ", "")
    numbers = list(_TOKEN.finditer(plain))
    values = {_value(match) for match in numbers}
    if len(values) != 1 or _NO_VALUE.search(plain[: numbers[0].start()]):
        return None
    return values.pop()


def declared_number(text: str) -> str | None:
    """The number that a declaration gives in the text behind it: `18 dollars`, `9*2=18`, `18, as 9*2 is 18`.

    Of an equation it is what stands after the last equals sign. None for a range, a list or a sum that is not computed.
    """
    plain = _plain(text).strip()
    _, equals, right = plain.rpartition("=")
    if equals:
        if len(set(_ASSIGNED.findall(plain))) > 1 or re.search(r"\bor [A-Za-z]\w? ?=", plain):
            return None  # x = 3 and y = 4
        plain = right.strip()
        if not _TOKEN.search(plain):
            return None
    if grouped := _GROUPED.match(plain):
        plain = grouped[0].replace(" ", "") + plain[grouped.end() :]
    numbers = list(_TOKEN.finditer(plain))
    if not numbers or _NO_VALUE.search(plain[: numbers[0].start()]):
        return None
    value = _value(numbers[0])
    if all(_value(match) == value for match in numbers[1:]):
        return value
    between = plain[numbers[0].end() : numbers[1].start()]
    is_meant = not _GOES_ON.fullmatch(between) if equals else _EXPLAINS.match(between)
    return value if is_meant and numbers[0].start() < 30 else None


def is_number(text: str) -> bool:
    """Whether a text is nothing but a number with its currency or unit: `$18`, `18 dollars`, not `Step 1: 18`."""
    plain = _plain(text).strip(" .*\t")
    return (
        re.fullmatch(r"[-−–]? ?\.?\d[\d,./ ]{0,80}(?: ?%| ?[A-Za-z]{1,20}(?: [A-Za-z]{1,20})?)?", plain)
        is not None
    )


def _plain(text: str) -> str:
    """The text with powers, fractions, scales and LaTeX written as plain numbers; currency signs left out."""
    text = _MARKED_EQUATION.sub("", text)
    for sign, fraction in _VULGAR.items():
        text = text.replace(sign, f" {fraction}")
    text = re.sub(r"10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]{1,3})", lambda match: "10^" + match[1].translate(_SUPERSCRIPTS), text)
    text = _LATEX_FRACTION.sub(
        lambda match: f" {match['over'] or match['top']}/{match['under'] or match['bottom']} ", text
    )
    for _ in range(2):
        text = _LATEX_TEXT.sub(r" \1 ", text)
    text = _NARROW_BLANK.sub("", text)
    text = _SIGN_BEFORE_CURRENCY.sub(r"\1", text)
    text = re.sub(r"\\(?:times|cdot)\b", "×", text)
    text = re.sub(r"\\[()\[\]]|\\(?:left|right)\b|\\[,;:! ]|\\(?=[$%])|\*\*|__|`", " ", text)
    text = re.sub(r"\^ ?\{ ?([-−]?\d{1,2}) ?\}", r"^\1", text)
    text = re.sub(r"[{}$€£]", " ", text)
    text = re.sub(r"[ \t]+", " ", text)
    text = _POWER.sub(lambda match: _scaled(match["factor"] or "1", match["power"]), text)
    text = _EXPONENT.sub(lambda match: _scaled(match["factor"], match["power"]), text)
    text = _SCALED.sub(lambda match: _scaled(match["factor"], str(_SCALES[match["scale"].lower()])), text)
    return _MIXED.sub(
        lambda match: f"{int(match['whole']) * int(match['under']) + int(match['over'])}/{match['under']}",
        text,
    )


def _scaled(factor: str, power: str) -> str:
    return _shown(Fraction(factor.replace(",", "")) * Fraction(10) ** int(power.replace("−", "-")))


def _value(match: re.Match[str]) -> str | None:
    body = _BODY.fullmatch(match["body"])
    if (
        body is None
        or len(match["body"]) > _MOST_DIGITS
        or (match["tail"] and not _UNITS.fullmatch(match["tail"]))
    ):
        return None
    if body["over"] is not None:
        value = Fraction(int(body["over"]), int(body["under"]))
    else:
        value = Fraction((body["whole"] or "0").replace(",", "") + (body["decimals"] or ""))
    return _shown(-value if match["sign"] else value)


def _shown(value: Fraction) -> str:
    """An integer or a decimal number where it is one, else a fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1:
        return f"{value.numerator}/{value.denominator}"
    places = next(n for n in range(1, 4 * _MOST_DIGITS) if (value * 10**n).denominator == 1)
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
