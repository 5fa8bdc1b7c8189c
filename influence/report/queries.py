"""The queries of a report with their tables of documents: plain records, numbers already formatted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence.analysis.correlation import task_labels, task_order
from influence.analysis.ranking import top_table
from influence.report.text import clip, column, count, number, one_line
from influence.store.scores import Scores
from influence.types import Query, Reading

if TYPE_CHECKING:
    import pandas as pd

PROMPT_CHARACTERS = 4_000
SUMMARY_CHARACTERS = 140


@dataclass(frozen=True)
class Row:
    """A document in the table of a query."""

    rank_normed: str
    rank_dot: str
    in_normed: bool
    in_dot: bool
    normed: str
    dot: str
    per_nat: str
    sign: str
    source: str
    document: str
    column: int
    snippet: str


@dataclass(frozen=True)
class QueryView:
    """A query with its tables; texts are None where the report must not show any."""

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
    shared: str
    notes: tuple[str, ...]
    top: tuple[Row, ...]
    bottom: tuple[Row, ...]


@dataclass(frozen=True)
class TaskView:
    """The queries of one task."""

    label: str
    group: str
    total: int
    queries: tuple[QueryView, ...]


def query_views(
    scores: Scores, k: int, by: Reading, *, show_texts: bool, limit: int
) -> tuple[list[TaskView], pd.DataFrame]:
    """The first `limit` queries by task with their tables, and the table of all top documents."""
    table = top_table(scores, k, bottom=True)
    by_query = dict(tuple(table.groupby("query", sort=False)))
    labels = task_labels(scores.queries)
    tasks: dict[str, list[QueryView]] = {}
    for place, row in enumerate(task_order(scores.queries)):
        if place < limit:
            query = scores.queries[row]
            view = _query_view(scores, row, by_query[query.id], k, by, labels[row], show_texts)
            tasks.setdefault(labels[row], []).append(view)
    totals = Counter(labels)
    views = [TaskView(task, q[0].group, totals[task], tuple(q)) for task, q in tasks.items()]
    return views, table


def _query_view(
    scores: Scores, row: int, table: pd.DataFrame, k: int, by: Reading, label: str, show_texts: bool
) -> QueryView:
    query = scores.queries[row]
    top, bottom = (table[table["end"] == end] for end in ("top", "bottom"))
    if by != "normed":
        top, bottom = top.sort_values("rank_dot"), bottom.sort_values("rank_dot", ascending=False)
    n_documents = len(scores.documents)
    shared = ((top["rank_normed"] <= k) & (top["rank_dot"] <= k)).sum()
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
        shared=f"{shared} of {min(k, n_documents)}",
        notes=tuple(_notes(scores, row, query, show_texts)),
        top=_rows(top, top["rank_normed"] <= k, top["rank_dot"] <= k, show_texts),
        bottom=_rows(
            bottom,
            bottom["rank_normed"] > n_documents - k,
            bottom["rank_dot"] > n_documents - k,
            show_texts,
        )
        if n_documents > len(top)
        else (),
    )


def _notes(scores: Scores, row: int, query: Query, show_texts: bool) -> list[str]:
    dot_D = np.asarray(scores.dot[row])
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


def _rows(
    table: pd.DataFrame, in_normed: pd.Series[bool], in_dot: pd.Series[bool], show_texts: bool
) -> tuple[Row, ...]:
    numbers = {name: column(table[name].to_list()) for name in ("normed", "dot", "per_nat")}
    return tuple(
        Row(
            rank_normed=count(record["rank_normed"]),
            rank_dot=count(record["rank_dot"]),
            in_normed=bool(in_normed.iloc[i]),
            in_dot=bool(in_dot.iloc[i]),
            sign="up" if record["dot"] > 0 else "down" if record["dot"] < 0 else "zero",
            source=record["source"],
            document=record["document"],
            column=record["column"],
            snippet=record["snippet"] if show_texts else "",
            **{name: values[i] for name, values in numbers.items()},
        )
        for i, record in enumerate(table.to_dict("records"))
    )
