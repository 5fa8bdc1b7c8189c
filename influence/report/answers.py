"""Whether the top documents of queries hold the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from influence.analysis.documents import rank_column
from influence.analysis.grouping import wilson
from influence.report.format import count
from influence.report.line_charts import Axes, Series, line_chart
from influence.report.page import Figure, Panel, sizes
from influence.store.formats.tables import made_by
from influence.store.scores import Scores
from influence.types import Query

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
        axes = Axes(
            "top k documents", "share of queries answered", y_limits=(-0.03, 1.03), band="95 % Wilson"
        )
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
