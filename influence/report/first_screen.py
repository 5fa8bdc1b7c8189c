"""What a report opens with: a sentence made from the numbers, one picture of it, one worked example, and how sure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from influence.analysis.documents import rank_column
from influence.report.contrast import Contrast
from influence.report.drawing import INK, LINE, MUTED, SERIES_INKS, drawing_of
from influence.report.format import clip, count, number, plain, signed
from influence.report.passages import CHOSEN, Passage, Passages
from influence.report.run_card import NOT_RECORDED, who_did_what
from influence.store.scores import Scores
from influence.types import Query, Reading

_PROMPT, _COMPLETION = 300, 400
#: Documents whose scores are drawn where there is no contrast to draw.
_BARS = 8


@dataclass(frozen=True)
class Example:
    """One query with the document that raises its completion most.

    Attributes:
        number: Of the query in the order of the store, from 1, as in the anchors of the page.
        writer: Who wrote the completion.
        passage: Of the document; None where the report shows no passages.
        how: By what the passage was chosen, in words.
        score: The reading that orders the report, with its name.
        raises: Whether the document raises the completion's log-probability; False where none does.
    """

    number: int
    query: Query
    prompt: str
    completion: str
    writer: str
    document: str
    source: str
    passage: Passage | None
    how: str
    score: str
    raises: bool


@dataclass(frozen=True)
class FirstScreen:
    """What a report opens with; `example` is None where no text may be shown."""

    headline: str
    picture: Markup
    caption: str
    sure: str
    example: Example | None


def first_screen(
    scores: Scores,
    contrast: Contrast,
    table: pd.DataFrame,
    passages: Passages | None,
    by: Reading,
    show_texts: bool,
) -> FirstScreen:
    """The first screen of a report.

    Args:
        table: That of `top_table`.
        passages: None where documents are not shown beyond their beginnings.
    """
    row = _chosen(scores)
    top = table[(table["query"] == scores.queries[row].id) & (table["end"] == "top")]
    top = top.sort_values(rank_column(by), kind="stable")
    best = top.iloc[0]
    example = _example(scores, row, best, passages, by) if show_texts else None
    if math.isfinite(contrast.difference):
        headline = (
            f"{contrast.said}: R is {signed(contrast.within)} on average for two queries of one task and "
            f"{signed(contrast.between)} for two of different tasks."
        )
        sure = f"Difference {signed(contrast.difference)}, {contrast.how_sure}, {contrast.n}."
        caption = (
            "All pairs of queries by R, the mean as a diamond; R is +1 where two queries score the documents alike, 0 "
            "where they have nothing in common."
        )
        return FirstScreen(headline, _pairs_picture(contrast), caption, sure, example)
    headline = (
        f"Of {count(scores.documents_scored)} documents, {plain(str(best['document']), 60)} "
        + ("raises" if best["dot"] > 0 else "lowers")
        + f" the log-probability of the completion of {plain(str(best['query']), 60)} "
        + ("most." if best["dot"] > 0 else "least; none raises it.")
    )
    caption = f"The first {min(_BARS, len(top))} documents of this query by {by.replace('_', ' ')} score."
    sure = f"One query is an example, not a finding. {contrast.sentence}"
    return FirstScreen(headline, _score_picture(top.head(_BARS), by), caption, sure, example)


def _chosen(scores: Scores) -> int:
    """The first query that was answered right, or else the first."""
    right = (row for row, query in enumerate(scores.queries) if query.correct is True)
    return next(right, 0)


def _example(scores: Scores, row: int, best: Any, passages: Passages | None, by: Reading) -> Example:
    query = scores.queries[row]
    writer = dict(who_did_what(scores))["Completions written by"]
    if passages is None:
        passage, how = Passage((str(best["snippet"]),), "beginning"), "the first 160 characters"
    else:
        passage = passages.of(row, int(best["column"]))
        how = CHOSEN[passage.how]
    return Example(
        number=row + 1,
        query=query,
        prompt=clip(query.prompt, _PROMPT),
        completion=clip(query.completion, _COMPLETION),
        writer="" if writer == NOT_RECORDED else writer,
        document=str(best["document"]),
        source=str(best["source"]),
        passage=passage,
        how=how,
        score=f"{number(float(best[by]))} {by.replace('_', ' ')}",
        raises=float(best["dot"]) > 0,
    )


def _pairs_picture(contrast: Contrast) -> Markup:
    """R of the pairs within tasks above those between them: a histogram each, on one scale."""
    edges: Any = np.linspace(-1, 1, 41)
    with drawing_of("first", 4.4, 1.7) as drawing:
        plot = drawing.figure.add_axes((0.24, 0.22, 0.73, 0.74))
        named = (("one task", contrast.within_P), ("different tasks", contrast.between_P))
        for row, (_, values) in enumerate(named):
            heights = np.histogram(values, edges)[0] / len(values)
            drawn = heights / max(float(heights.max()), 1e-12) * 0.8
            plot.fill_between(
                edges, 1 - row, 1 - row + np.append(drawn, 0), step="post", color=SERIES_INKS[row]
            )
            plot.plot([float(np.mean(values))], [1 - row], "D", color=INK, markersize=5)
        plot.axvline(0, color=MUTED, linewidth=0.8)
        plot.set(xlim=(-1, 1), ylim=(-0.15, 1.95), yticks=[1.3, 0.3])
        plot.set_yticklabels([name for name, _ in named])
        plot.set_xlabel("R of two queries", labelpad=2)
        _bare(plot)
    words = f"Mean {signed(contrast.within)} within tasks, {signed(contrast.between)} between them."
    return drawing.inline("R of pairs of queries", words)


def _score_picture(top: pd.DataFrame, by: Reading) -> Markup:
    names = [plain(str(name), 22) or "(empty)" for name in top["document"]]
    values = np.nan_to_num(top[by].to_numpy(float))
    with drawing_of("first", 4.4, 0.75 + 0.22 * len(names)) as drawing:
        plot = drawing.figure.add_axes((0.35, 0.25, 0.6, 0.72))
        plot.barh(range(len(names)), values, 0.7, color=SERIES_INKS[0], linewidth=0)
        plot.axvline(0, color=MUTED, linewidth=0.8)
        plot.set_yticks(range(len(names)), names)
        plot.set_ylim(len(names) - 0.5, -0.5)
        plot.set_xlabel(f"{by.replace('_', ' ')} score", labelpad=2)
        plot.locator_params(axis="x", nbins=4)
        plot.xaxis.set_major_formatter(lambda value, _position: f"{value:.4g}".replace("-", "−"))
        _bare(plot)
    said = "; ".join(f"{name} {number(float(value))}" for name, value in zip(names, values, strict=True))
    return drawing.inline("Scores of the first documents", f"{said}.")


def _bare(plot: Any) -> None:
    plot.tick_params(left=False, bottom=False)
    plot.grid(axis="x", color=LINE, linewidth=0.6)
    plot.set_axisbelow(True)
    for side in ("top", "right", "left"):
        plot.spines[side].set_visible(False)
