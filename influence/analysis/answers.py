"""Does the answer stand in the top documents of a query, and does it stand anywhere in the corpus?

Finding 3 of Ruis et al. (arXiv 2411.12580). A factual query is answered when ONE of its top k documents states the
whole answer; a reasoning query when each of its steps stands in ANY of them. Keywords and a judge model look on their
own; their hits are kept apart and united. `corpus_hits` looks for the answer in all documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import (
    document_texts,
    finite_row,
    rank_column,
    ranks,
    top_documents,
    with_labels,
)
from influence.analysis.grouping import Grouping, group_rows, mean_interval
from influence.analysis.judges import Judge, JudgeReplies, fill, locate, parse_reply, read_prompt
from influence.analysis.keywords import KeywordIndex
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Query, Reading

KEYWORDS = "keywords"
EITHER = "either"
HIT_COLUMNS = (
    "query", "part", "wanted", "column", "document", "source", "rank_normed", "rank_dot",
    "method", "start", "end", "evidence", "justification",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to be found: the whole answer of a query, or one step of its reasoning."""

    query: str
    part: str
    wanted: str
    spellings: tuple[str, ...]


def wanted_parts(queries: Sequence[Query]) -> list[Part]:
    """What has to be found for each query: its steps if it is a reasoning query that has any, else its answer.

    A query with neither steps, answer nor keywords asks for nothing and has no part.
    """
    parts = []
    for query in queries:
        if query.group == "reasoning" and query.steps:
            for number, step in enumerate(query.steps, 1):
                spellings = tuple(dict.fromkeys((step.text, *step.keywords)))
                parts.append(Part(query.id, f"step {number}", step.text, spellings))
        elif query.answer.strip() or query.keywords:
            spellings = tuple(
                dict.fromkeys([*([query.answer] if query.answer.strip() else []), *query.keywords])
            )
            parts.append(Part(query.id, "answer", query.answer or query.keywords[0], spellings))
    return parts


def keyword_hits(scores: Scores, k: int = 500, top: pd.DataFrame | None = None) -> pd.DataFrame:
    """Parts that stand in the top `k` documents (by `normed` or by `dot`) by their spellings.

    Returns:
        A row a query, part and document that holds it: query, part, wanted, column, document, source, rank_normed,
        rank_dot (from 1), method ("keywords"), start, end (characters of the evidence in the text), evidence,
        justification (the spelling that was found).
    """
    top = top_documents(scores, k) if top is None else top
    rows = []
    for query, parts in _by_query(scores).items():
        index = KeywordIndex([part.spellings for part in parts])
        for record in top[top["query"] == query].itertuples():
            text = scores.documents.text(int(record.column))  # type: ignore[arg-type]
            for number, span in sorted(index.find(text).items()):
                part = parts[number]
                rows.append(
                    (query, part.part, part.wanted, *_place(record), KEYWORDS, span.start, span.end,
                     text[span.start : span.end], f"spelling {span.keyword!r}")
                )  # fmt: skip
    return pd.DataFrame(rows, columns=list(HIT_COLUMNS))


def _by_query(scores: Scores) -> dict[str, list[Part]]:
    grouped: dict[str, list[Part]] = {}
    for part in wanted_parts(scores.queries):
        grouped.setdefault(part.query, []).append(part)
    return grouped


def _place(record: object) -> tuple[object, ...]:
    return tuple(
        getattr(record, name) for name in ("column", "document", "source", "rank_normed", "rank_dot")
    )


def judge_hits(
    scores: Scores,
    judge: Judge,
    kept: JudgeReplies,
    k: int = 500,
    *,
    top: pd.DataFrame | None = None,
    prompt: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Parts that a judge finds in the top `k` documents: one prompt a query and document, all its parts in it.

    A find counts only if the quoted evidence stands in the document.

    Returns:
        Hits as `keyword_hits`, with the judge's name as method and its reason as justification; and a row a query and
        document judged: query, column, status ("read", "unreadable": no JSON of the asked form; "unverified": a find
        whose evidence does not stand in the document), reply.
    """
    top = top_documents(scores, k) if top is None else top
    template = read_prompt("answers", prompt)
    parts_of = _by_query(scores)
    prompt_of = {query.id: query.prompt for query in scores.queries}
    records = [record for record in top.itertuples() if record.query in parts_of]
    texts = [scores.documents.text(int(record.column)) for record in records]  # type: ignore[arg-type]
    prompts = [
        fill(
            template,
            {
                "question": prompt_of[str(record.query)],
                "wanted": "\n".join(
                    f"{n}. {part.wanted}" for n, part in enumerate(parts_of[str(record.query)], 1)
                ),
                "document": text,
            },
        )
        for record, text in zip(records, texts, strict=True)
    ]
    rows, judged = [], []
    replies = kept.ask(judge, prompts)
    for record, text, reply in zip(records, texts, replies, strict=True):
        parts = parts_of[str(record.query)]
        verdicts = _verdicts(reply, len(parts))
        status = "unreadable" if verdicts is None else "read"
        for number, (evidence, why) in (verdicts or {}).items():
            span = locate(evidence, text)
            if span is None:
                status = "unverified"
                continue
            part = parts[number]
            rows.append(
                (
                    part.query,
                    part.part,
                    part.wanted,
                    *_place(record),
                    judge.name,
                    *span,
                    text[slice(*span)],
                    why,
                )
            )
        judged.append((record.query, record.column, status, reply))
    return (
        pd.DataFrame(rows, columns=list(HIT_COLUMNS)),
        pd.DataFrame(judged, columns=["query", "column", "status", "reply"]),
    )


def _verdicts(reply: str, n: int) -> dict[int, tuple[str, str]] | None:
    """Evidence and reason of each piece found; None for a reply that is not of the asked form."""
    answer = parse_reply(reply)
    pieces = answer.get("pieces") if answer else None
    if not isinstance(pieces, list):
        return None
    found = {}
    for piece in pieces:
        if not isinstance(piece, dict) or not isinstance(piece.get("found"), bool):
            return None
        number = piece.get("piece")
        if not isinstance(number, int) or not 1 <= number <= n:
            return None
        if piece["found"]:
            found[number - 1] = (str(piece.get("evidence", "")), str(piece.get("why", "")))
    return found


def found_answers(
    hits: pd.DataFrame, queries: Sequence[Query], k: int = 500, by: Reading = "normed"
) -> pd.DataFrame:
    """Whether each query is answered within its top `k` by this reading, for each method and for their union.

    Returns:
        A row a query that asks for something and method: query, method, parts, found (of the parts), answered, rank
        (of the best document for an answer; for steps, the rank by which the last has been met; NaN if not answered).
    """
    column = rank_column(by)
    within = hits[hits[column] <= k]
    methods = [KEYWORDS, *(name for name in dict.fromkeys(hits["method"]) if name != KEYWORDS)]
    sets = {method: within[within["method"] == method] for method in methods}
    if len(methods) > 1:
        sets[EITHER] = within
    parts_of: dict[str, list[str]] = {}
    for part in wanted_parts(queries):
        parts_of.setdefault(part.query, []).append(part.part)
    rows = []
    for method, own in sets.items():
        best = own.groupby(["query", "part"])[column].min().to_dict()
        for query, parts in parts_of.items():
            ranks_met = [best[query, part] for part in parts if (query, part) in best]
            answered = len(ranks_met) == len(parts)
            rank = float(max(ranks_met)) if answered else np.nan
            rows.append((query, method, len(parts), len(ranks_met), answered, rank))
    return pd.DataFrame(rows, columns=["query", "method", "parts", "found", "answered", "rank"])


def answer_rates(found: pd.DataFrame, queries: Sequence[Query], group_by: Grouping = "task") -> pd.DataFrame:
    """Share of the queries of each label that are answered, those the model got right, wrong, or unmarked apart.

    Returns:
        Columns label, completion ("right" | "wrong" | "unknown"), method, n, answered, rate, low, high
        (95 % bootstrap over queries; it is [0, 0] where none is answered, whatever n).
    """
    state = {True: "right", False: "wrong", None: "unknown"}
    completion_of = {query.id: state[query.correct] for query in queries}
    rows = []
    for label, members in group_rows(queries, group_by).items():
        own = found[found["query"].isin({queries[row].id for row in members})]
        for completion in state.values():
            part = own[own["query"].map(completion_of) == completion]
            for method, values in part.groupby("method", sort=False)["answered"]:
                m = mean_interval(values.to_numpy(float))
                rows.append(
                    (label, completion, method, m["n"], int(values.sum()), m["mean"], m["low"], m["high"])
                )
    columns = ["label", "completion", "method", "n", "answered", "rate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def corpus_hits(scores: Scores) -> pd.DataFrame:
    """Is the answer in the corpus at all? One streamed scan of all documents for all parts, by keywords.

    Returns:
        A row a query and part: query, part, wanted, documents (that hold it), then for the best-ranked of them by
        `normed`: column, document, source, best_rank_normed, and best_rank_dot (of the best by `dot`). The column
        is −1, and the rest empty, where no document holds it.

    Raises:
        InputError: no query asks for anything.
    """
    parts = wanted_parts(scores.queries)
    if not parts:
        raise InputError(
            "No query has an answer, keywords or steps to look for.",
            fix="Add the field answer or keywords to the queries, and score again.",
        )
    index = KeywordIndex([part.spellings for part in parts])
    row_of = {query.id: row for row, query in enumerate(scores.queries)}
    count = np.zeros(len(parts), np.int64)
    best = {by: np.full(len(parts), -1, np.int64) for by in ("normed", "dot")}
    value = {by: np.full(len(parts), -np.inf) for by in best}
    for start, texts in document_texts(scores):
        holders: dict[int, list[int]] = {}
        for offset, text in enumerate(texts):
            for needle in index.find(text):
                holders.setdefault(needle, []).append(start + offset)
        for needle, held in holders.items():
            columns = np.array(held)
            count[needle] += len(columns)
            dot = np.asarray(scores.dot[row_of[parts[needle].query], columns], np.float64)
            norm = np.asarray(scores.gradient_norm[columns], np.float64)
            for by, score in (
                ("dot", dot),
                ("normed", np.divide(dot, norm, out=np.zeros_like(dot), where=norm != 0)),
            ):
                score = np.where(np.isnan(score), -np.inf, score)  # not scored by a search
                top = int(score.argmax())
                if score[top] > value[by][needle]:
                    value[by][needle], best[by][needle] = score[top], columns[top]
    return _with_best_ranks(scores, parts, count, best)


def _with_best_ranks(
    scores: Scores, parts: list[Part], count: npt.NDArray[np.int64], best: Mapping[str, npt.NDArray[np.int64]]
) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "query": [part.query for part in parts],
            "part": [part.part for part in parts],
            "wanted": [part.wanted for part in parts],
            "documents": count,
            "column": best["normed"],
            "dot_column": best["dot"],
        }
    )
    for by, source in (("normed", "column"), ("dot", "dot_column")):
        table[f"best_rank_{by}"] = np.nan
        for query, rows in table[table[source] >= 0].groupby("query").groups.items():
            columns = table.loc[rows, source].to_numpy(np.int64)
            reading: Reading = "normed" if by == "normed" else "dot"
            table.loc[rows, f"best_rank_{by}"] = ranks(finite_row(scores, str(query), reading), columns)
    table = table.drop(columns="dot_column")
    present = with_labels(table[table["column"] >= 0], scores)
    labels = present[["document", "source"]].reindex(table.index)
    table.insert(5, "document", labels["document"])
    table.insert(6, "source", labels["source"])
    return table
