"""Numbers in running text, in one form: `1,234.50 dollars`, `$1234.5` and `1234.50` are all `1234.5`."""

from __future__ import annotations

import re
from fractions import Fraction

#: All that hangs together with a digit, so that half of a date or of a time is no number.
_TOKEN = re.compile(r"(?<![\w.,:/^])[-−–]?\s?[$€£]?\s?[-−]?(?P<body>\d(?:[\d,.:/^]*\d)?)(?P<tail>[\w^]*)")
_BODY = re.compile(
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?P<decimals>\.\d+)?|(?P<over>\d+)/(?P<under>\d*[1-9]\d*)"
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_LATEX_NOISE = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\[,;!: ]|\\%|\\(?=\$)|[{}]")
#: Longer ones are no answers.
_MOST_DIGITS = 60
#: A number may stand right before one of these, as in `18kg`; a name such as `3rd` or `2x` is no number.
_UNITS = re.compile(
    "kg|g|mg|lbs?|oz|km|m|cm|mm|ft|mi|mph|m?l|hrs?|h|mins?|s|sec|am|pm|usd|eur|cents", re.IGNORECASE
)


def read_number(text: str, first: bool = False) -> str | None:
    """The number in a text; None where there is none, or where two differ (then `first` takes the first).

    A number with separators that can be read in two ways, such as `1.234,5`, a date or a time is None wherever it
    would be the answer.
    """
    cleaned = _LATEX_NOISE.sub(" ", _LATEX_FRACTION.sub(r" \1/\2 ", text.replace("{,}", ","))).replace(
        "**", ""
    )
    found = [_value(match) for match in _TOKEN.finditer(cleaned)]
    if not found or (len(set(found)) > 1 and not first):
        return None
    return found[0]


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
        value = Fraction(body["whole"].replace(",", "") + (body["decimals"] or ""))
    negative = any(sign in match.group()[: match.start("body") - match.start()] for sign in "-−–")
    return _shown(-value if negative else value)


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
