"""What a figure over groups of queries is made of, with the table it is drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from influence.report.format import count
from influence.types import Query


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
