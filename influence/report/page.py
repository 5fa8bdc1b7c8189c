"""What every page is made of: template engine, one security policy, style sheet, script, data, figures and sections."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from influence import __version__
from influence.files import whole_file
from influence.report.format import breaks, clip, count, percent, pieces, plain
from influence.types import Query

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
_HERE = Path(__file__).parent
STYLES = ("templates/report.css", "assets/report.css")
#: In this order: a module uses what is defined in those before it when it is read, any other when it runs.
SCRIPTS = (
    "browser.js",
    "words.js",
    "rows.js",
    "address.js",
    "labels.js",
    "elements.js",
    "state.js",
    "tables.js",
    "queries.js",
    "documents.js",
    "correlation.js",
    "marking.js",
    "figures.js",
    "stages.js",
    "frame.js",
)
#: What a page may load and run: the style sheet and the script that it holds, and nothing else.
POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
PROVENANCE_CHARACTERS = 200_000


def render(template: str, manifest: Any, **values: Any) -> str:
    """A page from its template, which extends `base.html`: one head, one policy, one block of provenance.

    Args:
        manifest: What made what the page shows, printed as JSON at its end.
        values: `title`, `kind`, `sections`, `left_out` for the frame, `script` where the page has one, and what the
            template itself names.
    """
    from markupsafe import Markup

    sheet, program = style(), values.pop("script", "")
    frame = {
        "policy": POLICY.format(script=_hashed(program) if program else "'none'", style=_hashed(sheet)),
        "style": Markup(sheet),
        "script": Markup(program),
        "version": __version__,
        "provenance": clip(json.dumps(manifest, indent=2, sort_keys=True), PROVENANCE_CHARACTERS),
    }
    return str(_environment().get_template(template).render(**frame, **values))


@functools.cache
def _environment() -> Environment:
    """The template engine, which keeps what it has compiled."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(breaks=breaks, clip=clip, pieces=pieces, plain=plain)
    environment.filters.update(count=count, percent=percent)
    return environment


def write_page(out: Path, page: bytes) -> Path:
    """Write a page, or other bytes, to `out`, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as part:
        part.write_bytes(page)
    return out


def _hashed(text: str) -> str:
    """The source by which a content security policy allows one script or style sheet."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def style() -> str:
    """The one style sheet."""
    return "".join((_HERE / name).read_text(encoding="utf-8") for name in STYLES)


def script() -> str:
    """The one script: the modules as one block, which defines nothing outside, without indentation and comments."""
    files = "".join((_HERE / "assets" / name).read_text(encoding="utf-8") for name in SCRIPTS)
    files = re.sub(r"(?ms)^import .*?;\n|^export ", "", files)
    lines = re.sub(r"(?m)^[ \t]*//.*\n|^[ \t]+|^\n", "", files)
    return f'"use strict";\n{{\n{lines}}}\n'


def encode(value: Any) -> str:
    """JSON in ASCII (lone surrogates survive), gzip without a time stamp, base64: same value, same text."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")


def script_tags(blocks: Mapping[str, str]) -> str:
    """The blocks as `<script type="text/plain">` elements, which no browser runs."""
    return "".join(
        f'<script type="text/plain" id="d-{key}">{block}</script>\n' for key, block in blocks.items()
    )


def rounded(values: Iterable[float], digits: int = 9) -> list[float | None]:
    """Numbers of that many significant digits (9 give a float32 back exactly); None for what is not finite."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in values]


@dataclass(frozen=True)
class Choice:
    """A switch between panels of a figure that needs no script: a legend and its options, the first is on."""

    legend: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """One chart of a figure, or a table of numbers, under its own title (untrusted text, such as a source).

    `at` names the option of each choice of the figure under which it is shown, from 1; 0 is all of them. `note` is
    printed with the title; `label` names the queries and `source` the documents it is about, where it is about some.
    """

    title: str
    svg: Markup | None = None
    at: tuple[int, ...] = ()
    note: str = ""
    label: str | None = None
    source: str | None = None
    group: str = ""
    matrix: Matrix | None = None


@dataclass(frozen=True)
class Matrix:
    """A printed table: what its rows are, the columns, and for each row its name, a note and its cells.

    A cell is a text and a level of shading: `p1` to `p10` above, `n1` to `n10` below, empty for none. `beside` is the
    head of the notes, empty where there are none.
    """

    of: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    beside: str = "corpus"


@dataclass(frozen=True)
class Figure:
    """Charts, what they show, and their data; `of` is `right` if they are over the queries answered right only."""

    key: str
    panels: tuple[Panel, ...]
    caption: str
    table: pd.DataFrame
    choices: tuple[Choice, ...] = ()
    of: str = ""


@dataclass(frozen=True)
class Finding:
    """What a run says to the question of a section, in a line, with a thumbnail of the figure that shows it.

    `key` are the labels of its lines, in their colours.
    """

    question: str
    answer: str
    thumbnail: Markup
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a section has a figure: its heading and a line before it, or what to say where there is none."""

    figure: Figure | None
    heading: str = ""
    lead: str = ""
    absent: str = ""
    narrow: bool = False


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        key: Its anchor, and the name of its view.
        question: Asked under the title.
        places: Its figures.
        findings: What the overview says of it.
        left_out: What a reader could look for here and does not find; empty if nothing.
    """

    key: str
    title: str
    question: str = ""
    places: tuple[Place, ...] = ()
    findings: tuple[Finding, ...] = ()
    left_out: str = ""


def sizes(queries: Sequence[Query]) -> str:
    """`40 reasoning, 40 factual`, for captions."""
    groups: dict[str, int] = {}
    for query in queries:
        groups[query.group] = groups.get(query.group, 0) + 1
    return ", ".join(f"{count(n)} {group}" for group, n in groups.items())


def figure_data(table: pd.DataFrame) -> dict[str, Any]:
    """A table as columns and rows of JSON: numbers as they are, None for what is not defined."""
    rows = [[_plain(value) for value in row] for row in table.itertuples(index=False, name=None)]
    return {"columns": [str(column) for column in table.columns], "rows": rows}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if math.isfinite(value) else None
