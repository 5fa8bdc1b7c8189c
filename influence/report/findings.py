"""The overview's questions, each with its answer in a line, a small chart, and the view that has the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from influence.analysis.grouping import mean_interval, task_order
from influence.report.charts import colours
from influence.report.correlations import Correlations
from influence.report.drawing import GROUP_INKS, INK, LINE, MUTED, drawing_of
from influence.report.format import count, interval, percent, plain, signed
from influence.report.line_charts import FEW
from influence.report.page import Figure, Finding
from influence.store.scores import Scores

_SIZE = (1.75, 1.0)
_SMALL = "Small form of the figure."
_AT_PERCENT = 1.0
_AT_K = 50
#: Documents below which the first 1 % of them, or the share of a source among the first, says nothing.
FEW_DOCUMENTS = 100


def correlation_finding(scores: Scores, correlation: Correlations) -> Finding | None:
    """Whether queries of one task draw on the same documents more than others do."""
    if correlation.figure is None:
        return None
    n = len(scores.queries)
    r_QQ = np.zeros((n, n))
    if not correlation.pooled:
        r_QQ[np.triu_indices(n, 1)] = correlation.table["r"]
        r_QQ += r_QQ.T
    groups = [scores.queries[row].group for row in task_order(scores.queries)]
    with drawing_of("thumbnail-correlation", *_SIZE) as drawing:
        axes = drawing.figure.add_axes((0.22, 0.02, 0.56, 0.96))
        axes.imshow(colours(r_QQ), interpolation="none", extent=(0, n, n, 0))
        for place in range(1, n):
            if groups[place] != groups[place - 1]:
                axes.axhline(place, color=INK, linewidth=0.6)
                axes.axvline(place, color=INK, linewidth=0.6)
        axes.set(xticks=[], yticks=[], xlim=(0, n), ylim=(n, 0))
    answer = correlation.contrast.sentence
    question = "Do queries of one kind draw on the same documents?"
    return Finding(question, answer, drawing.inline("Correlation", _SMALL))


def _lines(name: str, title: str, table: pd.DataFrame, x: str, y: str, **scales: str) -> Markup:
    with drawing_of(f"thumbnail-{name}", *_SIZE) as drawing:
        axes = drawing.figure.add_axes((0.03, 0.06, 0.94, 0.88))
        for label, own in table.groupby("label", sort=False):
            axes.plot(own[x], own[y], color=GROUP_INKS.get(str(label), INK), linewidth=1.6)
        axes.set(xticks=[], yticks=[], **scales)
        _bare(axes)
    return drawing.inline(title, _SMALL)


def _bare(axes: Any) -> None:
    axes.minorticks_off()
    axes.set(xticks=[], yticks=[])
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)


def cumulative_finding(figure: Figure | None, documents: int) -> Finding | None:
    """How much the first documents hold."""
    if figure is None or not figure.panels:
        return None
    table = figure.table
    table = table[(table["queries"] == "all") & (table["side"] == "positive") & (table["unit"] == "percent")]
    at = table[table["at"] == _AT_PERCENT]
    if at.empty:
        return None
    if documents < FEW_DOCUMENTS:
        answer = _too_few_documents(documents, "the top 1 %")
    else:
        held = _each(at, "share_mean", percent)
        answer = f"The top {_AT_PERCENT:g} % of the positive documents hold {held} of the sum."
    thumbnail = _lines("curves", "Share of influence", table, "at", "share_mean", xscale="log")
    return Finding("How concentrated is influence?", answer, thumbnail, _labels(table))


def curves_finding(figure: Figure | None) -> Finding | None:
    """How fast the score falls with rank."""
    if figure is None or not figure.panels:
        return None
    laws = figure.table.drop_duplicates("query").groupby("group", sort=False)["slope"].mean()
    laws = laws[np.isfinite(laws)]
    if laws.empty:
        return None
    table = figure.table.drop_duplicates(["label", "rank"])
    table = table.assign(label=table["group"], median=table["median"].where(table["median"] > 0))
    first = table.drop_duplicates(["label", "rank"])
    sizes = figure.table.drop_duplicates("query").groupby("group", sort=False)["query"].count()
    each = pd.DataFrame({"label": laws.index, "slope": laws.to_numpy(), "n": sizes[laws.index].to_numpy()})
    bent = figure.table.drop_duplicates("label")["bends"] == "yes"
    answer = f"Score ∝ rank^α with a mean α of {_each(each, 'slope', signed)}." + (
        f" But the curve bends in {count(int(bent.sum()))} of {count(len(bent))} tasks: no power law there."
        if bent.any()
        else ""
    )
    scales = {"xscale": "log", "yscale": "log"}
    thumbnail = _lines("slopes", "Score against rank", first, "rank", "median", **scales)
    return Finding("How fast does it fall with rank?", answer, thumbnail, _labels(table))


def sources_finding(figure: Figure | None, documents: int) -> Finding | None:
    """Which sources the top documents come from."""
    if figure is None or not figure.panels:
        return None
    table = figure.table[figure.table["end"] == "top"]
    k = max((k for k in table["k"] if k <= _AT_K), default=1)
    at_depth = table[table["k"] == k]
    best = at_depth.loc[at_depth.groupby("label", sort=False)["multiplier"].idxmax()]
    best = best.assign(
        told=[
            f"{plain(str(s), 30)} {m:.1f}×" for s, m in zip(best["source"], best["multiplier"], strict=True)
        ]
    )
    if documents < FEW_DOCUMENTS:
        answer = _too_few_documents(documents, "a share")
    else:
        told = _each(best, "told", str)
        answer = f"Most above its share of the corpus in the top {count(int(k))}: {told}."
    names, labels = list(dict.fromkeys(at_depth["source"]))[:8], list(dict.fromkeys(at_depth["label"]))
    with drawing_of("thumbnail-sources", *_SIZE) as drawing:
        axes = drawing.figure.add_axes((0.03, 0.06, 0.94, 0.88))
        for row, label in enumerate(labels):
            part = at_depth[at_depth["label"] == label].set_index("source")["multiplier"]
            height = [max(-3.0, math.log2(part[name])) if part[name] > 0 else -3.0 for name in names]
            places = np.arange(len(names)) + 0.8 * (row + 0.5) / len(labels) - 0.4
            axes.bar(places, height, 0.7 / len(labels), color=GROUP_INKS.get(str(label), INK), linewidth=0)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        _bare(axes)
    svg = drawing.inline("Multipliers of the sources", _SMALL)
    return Finding("Where do the top documents come from?", answer, svg, _labels(at_depth))


def answers_finding(figure: Figure | None) -> Finding | None:
    """How often the answer stands in the top documents."""
    if figure is None or not figure.panels:
        return None
    table = figure.table[figure.table["method"] == figure.table["method"].iloc[0]]
    last = table.drop_duplicates("label", keep="last")
    told = _each(last, "share", percent)
    answer = f"Found in the top {count(int(last['k'].max()))} by {table['method'].iloc[0]}: {told}."
    scales = {"xscale": "log"}
    thumbnail = _lines("answers", "Share of queries answered", table, "k", "share", **scales)
    return Finding("Does the answer stand in the top documents?", answer, thumbnail, _labels(table))


def pair_finding(figure: Figure, a: str, b: str) -> Finding | None:
    """Whether two runs draw on the same documents."""
    if not figure.panels:
        return None
    table = figure.table
    n = f"n = {count(len(table))} prompts"
    if len(table) < FEW:
        answer = f"Too few prompts to say: {n}, and it takes {FEW}."
    else:
        mean = mean_interval(table["r"])
        answer = f"Mean R {signed(mean['mean'])} ({n}; 95 % {interval(mean['low'], mean['high'], 2, '+')})."
    with drawing_of("thumbnail-pair", *_SIZE) as drawing:
        axes = drawing.figure.add_axes((0.03, 0.06, 0.94, 0.88))
        edges: npt.NDArray[np.float64] = np.linspace(min(0.0, float(table["r"].min())), 1, 21)
        heights, _ = np.histogram(table["r"], edges)
        axes.bar((edges[1:] + edges[:-1]) / 2, heights, 0.9 * (edges[1] - edges[0]), color=INK, linewidth=0)
        _bare(axes)
    svg = drawing.inline("R between the two runs", _SMALL)
    return Finding(f"Do {plain(a, 40)} and {plain(b, 40)} draw on the same documents?", answer, svg)


def _too_few_documents(documents: int, what: str) -> str:
    return f"Too few documents to say: n = {count(documents)}, and {what} takes {FEW_DOCUMENTS}."


def _each(table: pd.DataFrame, value: str, said: Callable[[Any], str]) -> str:
    """`12 % (reasoning, n = 40)`; of a label with fewer than `FEW` queries only that they are too few."""
    parts = []
    for label, number, n in zip(table["label"], table[value], table["n"], strict=True):
        name = plain(str(label), 30)
        few = f"too few {name} queries (n = {n})"
        parts.append(few if n < FEW else f"{said(number)} ({name}, n = {count(int(n))})")
    return ", ".join(parts)


def _labels(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(label) for label in dict.fromkeys(table["label"]))
