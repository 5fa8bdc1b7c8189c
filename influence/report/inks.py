"""Colours that charts are drawn in, each to be replaced: by a CSS variable in a page, by its own on paper."""

from __future__ import annotations

#: Ink drawn by matplotlib -> what the page makes of it.
INK = "#010203"
LINE = "#040506"
MUTED = "#070809"
GROUP_INKS = {"reasoning": "#0a0b0c", "factual": "#0d0e0f", "control": "#101112"}
#: Lines that are no group of ours: Okabe–Ito blue, vermilion, green, purple.
SERIES_INKS = ("#131415", "#161718", "#191a1b", "#1c1d1e")

#: Ink -> colour on white paper; Okabe–Ito, darkened where thin lines need it.
PAPER = {
    INK: "#000000",
    LINE: "#cccccc",
    MUTED: "#555555",
    **dict(zip(GROUP_INKS.values(), ("#0072b2", "#d55e00", "#009e73"), strict=True)),
    **dict(zip(SERIES_INKS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True)),
}
