"""Untrusted text and numbers, made fit to show: nothing invisible, nothing that reorders, minus signs that align."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

#: Invisible or reordering characters that Unicode does not class as control or format.
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")


@lru_cache(maxsize=4096)
def _is_hidden(character: str) -> bool:
    code = ord(character)
    return (
        unicodedata.category(character) in _HIDDEN_CATEGORIES
        or character in _FILLERS
        or 0xE0100 <= code <= 0xE01EF  # variation selectors supplement: they can smuggle text
        or 0xFDD0 <= code <= 0xFDEF
        or code & 0xFFFE == 0xFFFE  # noncharacters
    )


def pieces(text: str, lines: bool = False) -> Iterator[tuple[bool, str]]:
    """Split text into `(hidden, piece)`: a hidden piece is the name (`U+202E`) of one character that shows nothing.

    Hidden are controls, bidirectional and zero-width characters, line separators, lone surrogates, fillers and
    noncharacters: what could make a text look like another, or break the page.

    Args:
        lines: Keep line feeds and tabs, and read CR LF as a line feed.
    """
    if lines:
        text = text.replace("\r\n", "\n")
    start = 0
    for position, character in enumerate(text):
        if _is_hidden(character) and not (lines and character in "\n\t"):
            if start < position:
                yield False, text[start:position]
            yield True, f"U+{ord(character):04X}"
            start = position + 1
    if start < len(text):
        yield False, text[start:]


def plain(text: str, limit: int = 200) -> str:
    """`text` for places that hold no elements (attributes, titles, figures): hidden characters as `⟨U+202E⟩`."""
    return "".join(f"⟨{piece}⟩" if hidden else piece for hidden, piece in pieces(clip(text, limit)))


def breaks(text: str) -> list[str]:
    """Cut a name after its separators, where a line may break (after a hyphen it may anyway)."""
    return re.findall(r"[^_/.:#?&=]*[_/.:#?&=]+|[^_/.:#?&=]+", text)


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, the last an ellipsis if some are left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str, limit: int) -> str:
    """The beginning of a text, white space collapsed."""
    return clip(" ".join(text[: 4 * limit].split()), limit)


def count(number: int) -> str:
    """A whole number with thousands separators."""
    return f"{number:,}".replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """A number between −1 and 1, such as R, with its sign; `not defined` where it is not."""
    if not math.isfinite(value):
        return "not defined"
    text = f"{value:+.{digits}f}"
    return _minus(text) if float(text) else text[1:]


def percent(share: float, decimals: int = 0) -> str:
    """A share as `12 %`, one too small for these decimals with one digit; `not defined` where it is not."""
    if not math.isfinite(share):
        return "not defined"
    small = 0 < abs(100 * share) < 0.5 * 10**-decimals
    return _minus(f"{100 * share:.1g} %" if small else f"{100 * share:.{decimals}f} %")


def fixed(value: float | None, decimals: int, sign: str = "") -> str:
    """A number with these decimals, with its sign where `sign` is `+`; – where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return _minus(f"{value:{sign},.{decimals}f}")


def interval(low: float, high: float, decimals: int, sign: str = "") -> str:
    """`0.12 to 0.34`; `not defined` where an end is not finite."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "not defined"
    return f"{fixed(low, decimals, sign)} to {fixed(high, decimals, sign)}"


def interval_of(row: Any, name: str, decimals: int) -> str:
    """The interval that a row of a table has for one of its columns, as `name_low` and `name_high`."""
    return interval(float(row[f"{name}_low"]), float(row[f"{name}_high"]), decimals)


def times(multiplier: float) -> str:
    """A multiplier as `0.25×`, `12×`."""
    if multiplier == 0:
        return "0×"
    return f"{multiplier:.1g}×" if multiplier < 0.005 else f"{multiplier:,.{2 if multiplier < 10 else 0}f}×"


def shade(value: float) -> str:
    """Class of a shaded cell of a value between −1 and 1: sign and tenth; empty near 0, `nil` where not defined."""
    if math.isnan(value):
        return "nil"
    level = min(10, round(10 * abs(value)))
    return f"{'p' if value > 0 else 'n'}{level}" if level else ""


def share_cell(value: float | None) -> tuple[str, str]:
    """A share as a shaded cell: its text and its class; – where there is none."""
    if value is None or math.isnan(value):
        return "–", ""
    return f"{value:.2f}", shade(value)


def duration(seconds: float) -> str:
    """`1 h 5 min`, `2 min 5 s` or `3.1 s`."""
    minutes = int(seconds // 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60:.0f} s" if minutes else f"{seconds:.1f} s"


def size(number: int) -> str:
    """A number of bytes as `1.2 MB` or `340 kB`."""
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.0f} kB"


def power(exponent: int) -> str:
    """A power of ten for an axis: `0.01`, `10`, `10⁻⁵`."""
    if -3 <= exponent <= 4:
        return f"{10.0**exponent:,.{max(0, -exponent)}f}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def number(value: float) -> str:
    """Four significant digits, on its own."""
    return column([value])[0]


def column(values: Sequence[float]) -> list[str]:
    """Numbers of one column, so that their decimal points align: four significant digits of the largest.

    A value too small for that many decimals is given in scientific notation, never as zero; one that is not
    finite as `not defined`.
    """
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    exponent = math.floor(math.log10(largest)) if largest else 0
    scientific = not -4 <= exponent <= 6
    decimals = max(0, 3 - exponent)
    return [_format(value, decimals, scientific) for value in values]


def _format(value: float, decimals: int, scientific: bool) -> str:
    if not math.isfinite(value):
        return "not defined"
    if value == 0:
        return "0"
    if scientific or abs(value) < 0.5 * 10**-decimals:
        return _minus(re.sub(r"e([+-])0*(\d)", r"e\1\2", f"{value:.3e}").replace("e+", "e"))
    return _minus(f"{value:,.{decimals}f}")


def _minus(text: str) -> str:
    return text.replace("-", "−")
