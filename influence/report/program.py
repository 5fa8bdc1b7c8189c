"""The script and the style sheet of a page, put together from their files."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).parent
STYLES = ("templates/report.css", "assets/report.css")
#: In this order: a file uses what is defined in those before it when it is read, any other when it runs.
SCRIPTS = (
    "text.js",
    "state.js",
    "tables.js",
    "queries.js",
    "documents.js",
    "correlation.js",
    "figures.js",
    "stages.js",
    "frame.js",
)


def style() -> str:
    """The one style sheet."""
    return "".join((_HERE / name).read_text(encoding="utf-8") for name in STYLES)


def script() -> str:
    """The one script: a block, so that it defines nothing outside, without indentation and lines that are comments."""
    files = "".join((_HERE / "assets" / name).read_text(encoding="utf-8") for name in SCRIPTS)
    lines = re.sub(r"(?m)^[ \t]+|^[ \t]*//.*\n|^\n", "", files)
    return f'"use strict";\n{{\n{lines}}}\n'
