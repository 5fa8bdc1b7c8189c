"""Sources of the top and bottom documents against their share of the corpus, as a table and along k."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from influence.analysis.sources import ENDS, source_curves, source_shares
from influence.report.figures import Choice, Figure, Matrix, Panel, sizes
from influence.report.format import count, percent, plain, times
from influence.report.line_charts import Axes, Series, line_chart
from influence.store.scores import Scores
from influence.types import Reading

if TYPE_CHECKING:
    import pandas as pd

MOST_SOURCES = 20


def sources(scores: Scores, table: pd.DataFrame, k: int, by: Reading) -> dict[str, Any]:
    """Source shares of the top `k` against the corpus: `groups`, `rows` (a cell per group), `left` (out)."""
    shares = source_shares(scores, table, k, by)
    groups = list(dict.fromkeys(shares["group"]))
    names = list(dict.fromkeys(shares["source"]))
    rows = []
    for name in names[:MOST_SOURCES]:
        mine = shares[shares["source"] == name].set_index("group")
        cells = [
            {
                "count": count(int(mine.loc[group, "count"])),
                "of": count(int(mine.loc[group, "of"])),
                "multiplier": times(float(mine.loc[group, "multiplier"])),
            }
            for group in groups
        ]
        first = mine.iloc[0]
        share = percent(float(first["share"]), 1)
        rows.append(
            {"source": name, "documents": count(int(first["documents"])), "share": share, "cells": cells}
        )
    return {
        "groups": groups,
        "rows": rows,
        "left": max(0, len(names) - MOST_SOURCES),
        "only": len(names) == 1,
    }


MOST_PANELS = 8
MOST_ROWS = 20
#: A multiplier of 2 to this power, or its inverse, has the deepest shade.
_DEEPEST = 4


def source_multipliers(scores: Scores, by: Reading) -> Figure | None:
    """Share of each source among the top (bottom) k over its share of the corpus; None with a single source."""
    table = source_curves(scores, by, None, "group")
    names = list(dict.fromkeys(table["source"]))
    if len(names) < 2:
        return None
    panels = []
    for number, end in enumerate(ENDS, 1):
        own = table[table["end"] == end]
        panels += [
            _chart(own, end, place, name, (number, 1)) for place, name in enumerate(names[:MOST_PANELS], 1)
        ]
        panels += [
            _numbers(part, str(label), names, (number, 2)) for label, part in own.groupby("label", sort=False)
        ]
    cut = [
        f"{what} for the {most} largest of {count(len(names))} sources"
        for what, most in (("charts", MOST_PANELS), ("numbers", MOST_ROWS))
        if len(names) > most
    ]
    caption = (
        f"Share of a source among the top k (bottom k: the most negative) by {by.replace('_', ' ')}, over its share of "
        "the corpus, which is printed with its name; 1 is the corpus's own mixture. Mean over the queries of a group; "
        "band: 95 % bootstrap over queries. An open triangle at the floor is a multiplier of 0, with how many "
        f"documents were looked at in vain. n = {sizes(scores.queries)} queries"
        + (f"; {', '.join(cut)}." if cut else ".")
        + " At small k the counts are small: read the bands."
    )
    choices = (Choice("Documents", ("top k", "bottom k")), Choice("as", ("charts", "numbers")))
    return Figure("source-curves", tuple(panels), caption, table, choices)


def _chart(table: pd.DataFrame, end: str, place: int, name: str, at: tuple[int, ...]) -> Panel:
    part = table[table["source"] == name]
    series = []
    for label, own in part.groupby("label", sort=False):
        drawn, zero = own[own["multiplier"] > 0], own[own["multiplier"] == 0]
        note = f"0 of {count(int(zero['k'].iloc[-1]) * int(zero['n'].iloc[-1]))}" if len(zero) else ""
        bands = (drawn["low"], drawn["high"])
        series.append(
            Series(
                str(label),
                drawn["k"],
                drawn["multiplier"],
                *bands,
                zero_x=zero["k"],
                zero_note=note,
                n=int(own["n"].iloc[0]),
            )
        )
    axes = Axes(f"{end} k documents", "times its share of the corpus", y_log=True, y_line=1.0)
    title = f"Multiplier of source {plain(name)}, {end} k"
    svg = line_chart(f"sources-{end}-{place}", title, series, axes)
    return Panel(name, svg, at, f"{percent(_corpus_share(part), 1)} of the corpus", source=name)


def _numbers(table: pd.DataFrame, label: str, names: Sequence[str], at: tuple[int, ...]) -> Panel:
    rows = []
    for name in names[:MOST_ROWS]:
        own = table[table["source"] == name]
        cells = tuple(_cell(float(value)) for value in own["multiplier"])
        rows.append((name, percent(_corpus_share(own), 1), cells))
    n = int(table["n"].iloc[0])
    ks = tuple(count(int(k)) for k in dict.fromkeys(table["k"]))
    note = f"{count(n)} {'query' if n == 1 else 'queries'}; times its share of the corpus, by k"
    return Panel(label, None, at, note, label, matrix=Matrix("source", ks, tuple(rows)))


def _corpus_share(table: pd.DataFrame) -> float:
    return float(table["corpus_share"].iloc[0])


def _cell(multiplier: float) -> tuple[str, str]:
    """A multiplier as printed, and its shade."""
    if multiplier == 0:
        return "0", "n10"
    steps = min(10, round(10 * abs(math.log2(multiplier)) / _DEEPEST))
    return times(multiplier).removesuffix("×"), f"{'p' if multiplier > 1 else 'n'}{steps}" if steps else ""
