"""The queries of a report with their tables of documents: plain records, numbers already formatted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence.analysis.grouping import task_labels, task_order
from influence.report.format import clip, column, count, number, one_line
from influence.report.passages import Passages
from influence.store.scores import Scores
from influence.types import Query, Reading

if TYPE_CHECKING:
    import pandas as pd

PROMPT_CHARACTERS = 4_000
SUMMARY_CHARACTERS = 140


@dataclass(frozen=True)
class Row:
    """A document in the table of a query; its passage is plain and marked pieces in turn."""

    rank_normed: str
    rank_dot: str
    rank_bm25: str
    normed: str
    dot: str
    per_nat: str
    sign: str
    source: str
    document: str
    passage: tuple[str, ...]


@dataclass(frozen=True)
class QueryView:
    """A query with its table; texts are None where the report must not show any."""

    number: int
    id: str
    task: str
    group: str
    correct: bool | None
    nats: str
    summary: str | None
    prompt: str | None
    completion: str | None
    answer: str | None
    notes: tuple[str, ...]
    top: tuple[Row, ...]


@dataclass(frozen=True)
class TaskView:
    """The queries of one task."""

    label: str
    group: str
    queries: tuple[QueryView, ...]


def query_views(
    scores: Scores,
    table: pd.DataFrame,
    rows: int,
    by: Reading,
    *,
    show_texts: bool,
    passages: Passages | None = None,
) -> list[TaskView]:
    """The queries by task, each with its first `rows` documents by this reading.

    Args:
        table: That of `top_table`.
        passages: None where documents are not shown beyond their beginnings.
    """
    top = table[table["end"] == "top"]
    by_query = dict(tuple(top.groupby("query", sort=False)))
    labels = task_labels(scores.queries)
    tasks: dict[str, list[QueryView]] = {}
    for row in task_order(scores.queries):
        query = scores.queries[row]
        own = by_query[query.id].sort_values("rank_normed" if by == "normed" else "rank_dot").head(rows)
        shown = _rows(own, row, show_texts, passages)
        view = _query_view(scores, row, shown, labels[row], show_texts)
        tasks.setdefault(labels[row], []).append(view)
    return [TaskView(task, queries[0].group, tuple(queries)) for task, queries in tasks.items()]


def _query_view(scores: Scores, row: int, top: tuple[Row, ...], label: str, show_texts: bool) -> QueryView:
    query = scores.queries[row]
    return QueryView(
        number=row + 1,
        id=query.id,
        task=label,
        group=query.group,
        correct=query.correct,
        nats=number(float(scores.query_nll[row])),
        summary=one_line(query.prompt, SUMMARY_CHARACTERS) if show_texts else None,
        prompt=clip(query.prompt, PROMPT_CHARACTERS) if show_texts else None,
        completion=clip(query.completion, PROMPT_CHARACTERS) if show_texts else None,
        answer=clip(query.answer, PROMPT_CHARACTERS) if show_texts else None,
        notes=tuple(query_notes(scores, row, query, show_texts)),
        top=top,
    )


def query_notes(scores: Scores, row: int, query: Query, show_texts: bool) -> list[str]:
    """What a reader of this query's documents must know."""
    dot_D = np.asarray(scores.dot[row])
    dot_D = dot_D if scores.scored is None else dot_D[scores.scored]
    notes = []
    if len(dot_D) > 1 and dot_D.min() == dot_D.max():
        notes.append("The dot score of every document is the same: their order by dot means nothing.")
    elif dot_D.max() <= 0:
        notes.append("No document has a positive score: those at the top lower the log-probability least.")
    elif dot_D.min() >= 0:
        notes.append("No document has a negative score: those at the bottom raise the log-probability least.")
    if not float(scores.query_nll[row]) > 0:
        notes.append("The completion has probability 1 under the model (0 nats): per nat is not defined.")
    long = [name for name in ("prompt", "completion") if len(getattr(query, name)) > PROMPT_CHARACTERS]
    if show_texts and long:
        notes.append(f"Cut to {count(PROMPT_CHARACTERS)} characters here: {' and '.join(long)}.")
    return notes


def _rows(table: pd.DataFrame, row: int, show_texts: bool, passages: Passages | None) -> tuple[Row, ...]:
    numbers = {name: column(table[name].to_list()) for name in ("normed", "dot", "per_nat")}
    return tuple(
        Row(
            rank_normed=count(record["rank_normed"]),
            rank_dot=count(record["rank_dot"]),
            rank_bm25="–" if np.isnan(record["rank_bm25"]) else count(int(record["rank_bm25"])),
            sign="up" if record["dot"] > 0 else "down" if record["dot"] < 0 else "zero",
            source=record["source"],
            document=record["document"],
            passage=passages.of(row, int(record["column"])).pieces
            if passages is not None
            else (record["snippet"] if show_texts else "",),
            **{name: values[i] for name, values in numbers.items()},
        )
        for i, record in enumerate(table.to_dict("records"))
    )
