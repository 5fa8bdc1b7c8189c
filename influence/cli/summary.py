"""What `influence analyze` prints: the tables that a reader wants first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from influence.analysis.tables import Tables

_FIRST = {
    "correlation": ("blocks", "permutation", "cross_by_task"),
    "concentration": ("power_law_by_group", "slope_tests"),
    "answers": ("rates",),
    "relations": ("counts",),
    "sources": (),
    "reuse": (),
    "bm25": ("overlap_by_group", "recall"),
    "stages": ("facts",),
    "sanity": ("checks", "copy_ranks", "word_order", "self"),
}
_ROWS = 30


def summary(name: str, tables: Tables) -> str:
    """The first tables of an analysis as text, each cut to 30 rows; empty ones are left out."""
    shown = {title: tables[title] for title in _FIRST[name] if title in tables} | _more(name, tables)
    parts = [f"{title.replace('_', ' ')}\n{as_text(table)}\n" for title, table in shown.items() if len(table)]
    return "\n".join(parts)


def _more(name: str, tables: Tables) -> Tables:
    """Views of tables that are made for reading; one of the same title takes the place of the table."""
    if name == "sources":
        return _multipliers(tables["curves"])
    if name == "reuse":
        columns = ["document", "source", "queries", "labels", "best_rank"]
        return {"most shared": tables["documents"][columns].head(10)}
    if name == "concentration":
        whole = tables["curves_by_group"]
        whole = whole[(whole["unit"] == "percent") & (whole["at"] == 100)]
        return {"sum of all documents of a sign": whole.drop(columns=["unit", "at"])}
    if name == "relations":
        return {"counts": tables["counts"][tables["counts"]["count"] > 0]}
    if name == "answers" and "judged" in tables:
        states = tables["judged"]["status"].value_counts()
        return {"judged": states.rename_axis("status").reset_index(name="documents")}
    if name == "sanity" and "copy_ranks" in tables:
        return {"copy_ranks": tables["copy_ranks"][tables["copy_ranks"]["copies"] > 0]}
    if name == "stages":
        agreement = tables["agreement_by_group"]
        agreement = agreement[agreement["versus"].isin(("previous", "both"))]
        return {"agreement": agreement[agreement["measure"].isin(("r", "rbo"))].drop(columns="versus")}
    return {}


def _multipliers(curves: pd.DataFrame) -> Tables:
    """Sources side by side at the top 50, in the order of the table, not of the alphabet."""
    near = max((k for k in curves["k"] if k <= 50), default=1)
    top = curves[(curves["end"] == "top") & (curves["k"] == near)]
    wide = top.pivot(index="label", columns="source", values="multiplier")
    wide = wide.loc[top["label"].unique(), top["source"].unique()]
    title = f"times its share of the corpus, top {near} (intervals are in the file)"
    return {title: wide.rename_axis(None, axis=1).reset_index()}


def as_text(table: pd.DataFrame) -> str:
    """A table in fixed width, words to the left and numbers to the right, cut to 30 rows with a word on it."""
    from pandas.api.types import is_numeric_dtype

    head = table.head(_ROWS)
    columns = []
    for name in head:
        words = not is_numeric_dtype(head[name])
        cells = [str(name), *(_cell(value) for value in head[name])]
        width = max(map(len, cells))
        columns.append([cell.ljust(width) if words else cell.rjust(width) for cell in cells])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    more = len(table) - len(head)
    return "\n".join([*lines, *([f"… and {more:,} more rows in the file"] if more else [])])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return "–" if value is None else str(value)
