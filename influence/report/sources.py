"""The sources of the top documents of queries against the corpus: tables, curves against k, and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from influence.analysis.sources import ENDS, source_curves, source_shares
from influence.report.drawing import GROUP_INKS, INK, LINE, MUTED, SERIES_INKS, drawing_of
from influence.report.format import count, percent, plain, times
from influence.report.line_charts import BOOTSTRAP, Axes, Series, line_chart
from influence.report.page import Choice, Figure, Matrix, Panel, sizes
from influence.store.scores import Scores
from influence.types import Reading

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


#: Documents of a query whose sources are drawn as bars.
_BAR_K = 50
#: Multipliers that the bars have ticks at, where they span less than two powers of 2, and where more.
_FINE, _COARSE = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0), tuple(2.0**power for power in range(-12, 13, 2))
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


def source_bars(table: pd.DataFrame, by: Reading) -> Figure:
    """The multiplier of each source as a bar for each group, with its interval, all on one scale.

    Args:
        table: That of `source_multipliers`.
    """
    top = table[table["end"] == "top"]
    k = max((int(k) for k in top["k"] if k <= _BAR_K), default=int(top["k"].min()))
    own = top[top["k"] == k]
    order = own.groupby("source", sort=False)["multiplier"].max().sort_values(ascending=False, kind="stable")
    names, labels = list(order.index[:MOST_PANELS]), list(dict.fromkeys(own["label"]))
    floor = own.loc[own["multiplier"] > 0, ["multiplier", "low"]].replace(0, math.nan).min().min() / 2
    floor = min(floor, 0.5) if math.isfinite(floor) else 0.5
    gids: dict[str, str] = {}
    height = 0.85 + (0.08 + 0.12 * len(labels)) * len(names)
    with drawing_of("source-bars", 3.9, height) as drawing:
        plot = drawing.figure.add_axes((0.3, 0.55 / height, 0.66, 1 - 0.8 / height))
        for number, label in enumerate(labels):
            colour = GROUP_INKS.get(str(label), SERIES_INKS[number % 4])
            part = own[own["label"] == label].set_index("source").loc[names]
            y = np.arange(len(names)) + 0.8 * (number + 0.5) / len(labels) - 0.4
            ends = part[["multiplier", "low", "high"]].clip(lower=floor).to_numpy(float)
            tall = 0.72 / len(labels)
            gid = f"bars-{number}"
            gids |= dict.fromkeys((f"{gid}-of", f"{gid}-range", f"{gid}-name"), str(label))
            first, last = np.minimum(ends[:, 0], 1), np.maximum(ends[:, 0], 1)
            thick = 72 * (height - 0.8) / len(names) * tall  # points
            plot.hlines(y, first, last, colors=colour, linewidth=thick, capstyle="butt", gid=f"{gid}-of")
            plot.hlines(y, ends[:, 1], ends[:, 2], colors=INK, linewidth=1.1, gid=f"{gid}-range")
            where: dict[str, Any] = {"color": colour, "fontsize": 8, "va": "bottom", "gid": f"{gid}-name"}
            at = number / max(len(labels), 3)
            plot.text(at, 1.02, plain(str(label), 20), transform=plot.transAxes, **where)
        plot.axvline(1, color=MUTED, linewidth=0.9)
        plot.set_xscale("log", base=2)
        low, high = plot.get_xlim()
        ticks = [tick for tick in (_FINE if high < 4 * low else _COARSE) if low <= tick <= high]
        plot.set_xticks(ticks, [times(tick).replace(".00", "") for tick in ticks])
        plot.set_yticks(range(len(names)), [plain(str(name), 22) or "(empty)" for name in names])
        plot.set_ylim(len(names) - 0.5, -0.5)
        plot.set_xlabel(f"times its share of the corpus, top {count(k)}\nthin line: {BOOTSTRAP}", labelpad=2)
        plot.grid(axis="x", color=LINE, linewidth=0.6)
        plot.set_axisbelow(True)
        plot.minorticks_off()
        plot.tick_params(left=False, bottom=False)
        for side in ("top", "right", "left"):
            plot.spines[side].set_visible(False)
    words = "; ".join(
        f"{plain(str(row['source']), 40)}, {plain(str(row['label']), 40)}: {row['multiplier']:.2g} "
        f"({row['low']:.2g} to {row['high']:.2g})"
        for name in names
        for row in own[own["source"] == name].to_dict("records")
    )
    queries = ", ".join(
        f"{plain(str(label), 40)} {n}" for label, n in own.groupby("label", sort=False)["n"].first().items()
    )
    caption = (
        f"Share of each source among the top {count(k)} by {by.replace('_', ' ')}, over its share of the corpus: right "
        "of 1 it is more than its share. Bars of one scale, the widest first; a bar whose thin line crosses 1 shows no "
        f"difference. Zeros end at the left edge. {len(names)} of {count(len(order))} sources. "
        f"Queries: n = {queries}."
    )
    panel = Panel("All sources on one scale", drawing.inline("Multipliers of the sources", f"{words}.", gids))
    columns = ["label", "source", "k", "multiplier", "low", "high", "corpus_share", "n"]
    return Figure("source-bars", (panel,), caption, own[columns])


def _chart(table: pd.DataFrame, end: str, place: int, name: str, at: tuple[int, ...]) -> Panel:
    part = table[table["source"] == name]
    series = []
    for label, rows in part.groupby("label", sort=False):
        drawn, zero = rows[rows["multiplier"] > 0], rows[rows["multiplier"] == 0]
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
                n=int(rows["n"].iloc[0]),
            )
        )
    axes = Axes(f"{end} k documents", "times its share of the corpus", y_log=True, y_line=1.0, band=BOOTSTRAP)
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
