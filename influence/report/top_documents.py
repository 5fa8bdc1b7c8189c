"""The top documents of queries: their sources against the corpus, and whether they hold the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from influence.analysis.documents import rank_column
from influence.analysis.grouping import wilson
from influence.analysis.sources import ENDS, source_curves, source_shares
from influence.report.format import count, percent, plain, times
from influence.report.line_charts import Axes, Series, line_chart
from influence.report.page import Choice, Figure, Matrix, Panel, sizes
from influence.store.formats.tables import made_by
from influence.store.scores import Scores
from influence.types import Query, Reading

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


#: Depth of the analysis where its tables do not say.
_DEPTH = 500


@dataclass(frozen=True)
class Answers:
    """The figure, and a table of the queries (query, label, method, answered_at, parts, document, rank_normed,
    rank_dot, why) with its caption.
    """

    figure: Figure
    queries: pd.DataFrame
    caption: str


def answers(scores: Scores, tables: Mapping[str, pd.DataFrame]) -> Answers:
    """What `influence analyze answers` left: share of queries answered in the top k, for each way of looking.

    Args:
        tables: Its tables `found` and `hits`.
    """
    marked = [query for query in scores.queries if query.correct]
    chosen = marked or list(scores.queries)
    note = made_by(scores.folder / "analysis" / "answers" / "found.parquet")
    deepest = min(int(note.get("k", _DEPTH)), len(scores.documents))
    by = str(note.get("by", "normed"))
    groups = {query.id: query.group for query in chosen}
    hits = tables["found"]
    hits = hits[hits["query"].isin(list(groups))].assign(label=lambda t: t["query"].map(groups))
    table = _shares(hits, deepest)
    said = "that the model answered right " if marked else ""
    caption = (
        f"Share of the queries {said}whose whole answer (factual) or whose every step (reasoning) stands in their top "
        f"k documents by {by.replace('_', ' ')}. Band: 95 % Wilson interval; the count is printed where a line ends. "
        f"n = {sizes(chosen)} queries. A hit says that the text is there, not that the model used it."
    )
    figure = Figure("answers", tuple(_panels(table)), caption, table, of="right" if marked else "")
    queries = _by_query(chosen, hits, tables["hits"], rank_column(by), deepest)
    told = (
        f"For each query {said}the k at which all of its answer is found, the best rank of each part, and the document "
        f"that holds the last of them. n = {count(len(chosen))} queries, their top {count(deepest)} documents by "
        f"{by.replace('_', ' ')}. Keywords find spellings, a judge gives an opinion: neither is a measurement."
    )
    return Answers(figure, queries, told)


def _shares(found: pd.DataFrame, deepest: int) -> pd.DataFrame:
    """A row a method, label and k: 1, the deepest, and every k at which a line of that method rises."""
    rows = []
    for method, of_method in found.groupby("method", sort=False):
        steps = of_method["rank"][of_method["rank"] <= deepest].dropna().astype(int)
        for label, own in of_method.groupby("label", sort=False):
            for k in sorted({1, deepest, *steps}):
                hits, n = int((own["rank"] <= k).sum()), len(own)
                rows.append((method, label, k, hits, n, hits / n, *wilson(hits, n)))
    return pd.DataFrame(rows, columns=["method", "label", "k", "found", "n", "share", "low", "high"])


def _panels(table: pd.DataFrame) -> list[Panel]:
    panels = []
    for number, (method, part) in enumerate(table.groupby("method", sort=False), 1):
        series = [
            Series(
                str(label),
                own["k"],
                own["share"],
                own["low"],
                own["high"],
                f"{own['found'].iloc[-1]}/{own['n'].iloc[-1]}",
                steps=True,
                n=int(own["n"].iloc[-1]),
            )
            for label, own in part.groupby("label", sort=False)
        ]
        axes = Axes("top k documents", "share of queries answered", y_limits=(-0.03, 1.03))
        svg = line_chart(f"answers-{number}", f"Answers found by {method!s}", series, axes)
        panels.append(Panel(f"by {method!s}", svg))
    return panels


def _by_query(
    asked: list[Query], found: pd.DataFrame, hits: pd.DataFrame, rank: str, deepest: int
) -> pd.DataFrame:
    hits = hits[hits[rank] <= deepest].sort_values(rank, kind="stable")
    best = hits.drop_duplicates(["query", "method", "part"])
    of_pair = dict(list(best.groupby(["query", "method"], sort=False)))
    groups = {query.id: query.group for query in asked}
    rows = []
    for one in found.to_dict("records"):
        own = of_pair.get((one["query"], one["method"]))
        answered = bool(one["rank"] == one["rank"] and one["rank"] <= deepest)  # NaN: not found
        row = [one["query"], groups[one["query"]], one["method"], int(one["rank"]) if answered else None]
        if own is None:
            rows.append((*row, f"0 of {count(int(one['parts']))}", None, None, None, None))
            continue
        parts = ", ".join(f"{p} {count(int(r))}" for p, r in zip(own["part"], own[rank], strict=True))
        last = own.iloc[-1]
        why = last["justification"]
        why = str(why) if isinstance(why, str) and why else None
        ranks = (int(last["rank_normed"]), int(last["rank_dot"]))
        rows.append((*row, parts, str(last["document"]), *ranks, why))
    columns = [
        "query",
        "label",
        "method",
        "answered_at",
        "parts",
        "document",
        "rank_normed",
        "rank_dot",
        "why",
    ]
    return pd.DataFrame(rows, columns=columns, dtype=object)
