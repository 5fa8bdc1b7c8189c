"""How does each top document relate to its query? A judge picks one label of a fixed list and says why.

Finding 4 of Ruis et al. (arXiv 2411.12580): for reasoning, top documents show the procedure; for facts, the fact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from influence.analysis.documents import rank_column, top_documents
from influence.analysis.grouping import Grouping, group_rows, mean_interval
from influence.analysis.judges import Judge, JudgeReplies, fill, parse_reply, read_prompt
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Query, Reading

#: Label -> what it means, the most telling first.
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "states the answer": "it states the answer, or the fact that was asked for",
        "code that implements the procedure": "a program that computes what the question asks, for any numbers",
        "states the procedure in maths": "a formula or definition of the procedure, for any numbers",
        "explains the procedure": "text that tells in words how to do it",
        "worked example": "the same procedure carried out on other numbers",
        "similar arithmetic": "other calculations with like operations or numbers",
        "code with arithmetic": "a program with arithmetic, but another procedure",
        "other maths": "mathematics of another kind",
        "same subject": "about the same person, place or thing, without the answer",
        "same format only": "looks alike (lists, questions and answers, steps), with other content",
        "superficial": "shares only words or numbers with the question",
        "no relation": "none of these",
    }
)
UNREADABLE = "unreadable"


def label_relations(
    scores: Scores,
    judge: Judge,
    kept: JudgeReplies,
    k: int = 10,
    by: Reading = "normed",
    *,
    labels: Mapping[str, str] = LABELS,
    prompt: Path | None = None,
) -> pd.DataFrame:
    """Label the top `k` documents of each query.

    Args:
        labels: Label -> meaning; the judge must answer with one of them, letter case aside.
        prompt: A file in the stead of `prompts/relations.txt`.

    Returns:
        A row a query and document: query, column, document, source, rank_normed, rank_dot, label ("unreadable"
        for a reply that is no label of the list), justification (the judge's, or the unreadable reply), judge.

    Raises:
        InputError: there is no label, or the prompt is not usable.
    """
    if not labels:
        raise InputError("There is no label to choose from.")
    template = read_prompt("relations", prompt)
    top = top_documents(scores, k)
    top = top[top[rank_column(by)] <= k].reset_index(drop=True)
    query_of = {query.id: query for query in scores.queries}
    listed = "\n".join(f"- {label}: {meaning}" for label, meaning in labels.items())
    prompts = [
        fill(
            template,
            {
                "question": query_of[query].prompt,
                "completion": query_of[query].completion,
                "labels": listed,
                "document": scores.documents.text(int(column)),
            },
        )
        for query, column in zip(top["query"], top["column"], strict=True)
    ]
    verdicts = [_verdict(reply, labels) for reply in kept.ask(judge, prompts)]
    top["label"] = [label for label, _ in verdicts]
    top["justification"] = [why for _, why in verdicts]
    top["judge"] = judge.name
    return top


def _verdict(reply: str, labels: Mapping[str, str]) -> tuple[str, str]:
    answer = parse_reply(reply) or {}
    known = {label.casefold(): label for label in labels}
    label = known.get(str(answer.get("label", "")).strip().casefold())
    return (label, str(answer.get("why", ""))) if label else (UNREADABLE, reply)


def relation_counts(
    relations: pd.DataFrame,
    queries: Sequence[Query],
    group_by: Grouping = "task",
    labels: Sequence[str] = tuple(LABELS),
) -> pd.DataFrame:
    """How often each label stands in the top documents of each group of queries.

    Returns:
        A row a group and label (unreadable ones last): group, label, count, of (documents judged), share (mean
        over queries of the share in their lists), low, high (95 % bootstrap over queries).
    """
    rows = []
    for group, members in group_rows(queries, group_by).items():
        names = [queries[row].id for row in members]
        own = relations[relations["query"].isin(names)]
        if own.empty:
            continue
        counts = own.groupby(["query", "label"]).size().unstack(fill_value=0)
        sizes = counts.sum(axis=1).to_numpy(float)
        for label in (*labels, UNREADABLE):
            count = counts[label].to_numpy(float) if label in counts else np.zeros(len(counts))
            m = mean_interval(count / sizes)
            rows.append((group, label, int(count.sum()), int(sizes.sum()), m["mean"], m["low"], m["high"]))
    return pd.DataFrame(rows, columns=["group", "label", "count", "of", "share", "low", "high"])
