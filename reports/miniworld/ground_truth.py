"""What the paper could not measure: does a ranking find the documents that taught the answer?

Truth is what each document of the miniworld says about itself in its metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.bm25 import best_rank
from influence.analysis.documents import columns_of, matching_metadata
from influence.data.miniworld.settings import PROCEDURE_FORMS
from influence.store.scores import Scores, lowest
from influence.types import Query
from reports.kit.rankings import Row

RECALL_AT = (1, 10)
#: Whose completion a query has, by its mark.
COMPLETIONS = {True: "right", False: "wrong", None: "true statement"}
#: How a document can relate to a reasoning query, by its truth.
RELATIONS = ("its procedure", "another procedure", "a fact", "neither")


@dataclass(frozen=True)
class Truth:
    """What each document says, by column.

    Attributes:
        procedures: Procedures it shows.
        form_D: How: an index into `PROCEDURE_FORMS`; −1 where it shows none.
        states_D: Whether it states a fact.
        steps: Intermediate results it writes out.
    """

    procedures: list[frozenset[str]]
    form_D: npt.NDArray[np.int64]
    states_D: npt.NDArray[np.bool_]
    steps: list[frozenset[str]]

    def shows(self, procedure: str) -> npt.NDArray[np.bool_]:
        """Which documents show this procedure, `[D]`."""
        return np.array([procedure in shown for shown in self.procedures], bool)

    def relation_D(self, procedure: str) -> npt.NDArray[np.int64]:
        """The place in `RELATIONS` of each document for a query of this procedure, `[D]`."""
        own, any_ = self.shows(procedure), np.array([bool(shown) for shown in self.procedures], bool)
        return np.where(own, 0, np.where(any_, 1, np.where(self.states_D, 2, 3)))


def truth_of(scores: Scores) -> Truth:
    """The truth of the documents of a run."""
    records = [record for _, _, record in matching_metadata(scores, "procedures")]
    assert len(records) == len(scores.documents), "every document of the miniworld carries its truth"
    forms = [record["procedure_form"] for record in records]
    return Truth(
        [frozenset(record["procedures"]) for record in records],
        np.array([PROCEDURE_FORMS.index(form) if form else -1 for form in forms], np.int64),
        np.array([bool(record["facts"]) for record in records], bool),
        [frozenset(record["steps"]) for record in records],
    )


def recall(row_D: npt.NDArray[np.floating], gold: npt.NDArray[np.int64], k: int) -> float:
    """Share of the gold documents among the first `k`, of as many as could be there: min(k, gold documents).

    Of equal scores the earlier document comes first.
    """
    first = len(row_D) - 1 - lowest(-row_D[::-1], k)
    return float(np.isin(gold, first).sum()) / min(k, len(gold))


def gold_table(scores: Scores, rows: Mapping[str, Row], top_k: int) -> pd.DataFrame:
    """Where the documents that state the fact stand, for each factual query that has any.

    Returns:
        Columns query, stated (gold documents), completion ("right", "wrong", or "true statement" where it is not the
        model's own), method, measure ("recall@1", "recall@10", "recall@k" with `top_k`, "reciprocal rank" of the
        best gold document), value.
    """
    measured = []
    places = columns_of(scores, {name for query in scores.queries for name in query.gold})
    for query in scores.queries:
        if query.group != "factual" or not query.gold:
            continue
        gold = np.array([column for name in query.gold for column in places[name]])
        for method, row_of in rows.items():
            row_D = row_of(query.id)
            at = {f"recall@{k}": recall(row_D, gold, k) for k in sorted({*RECALL_AT, top_k})}
            at["reciprocal rank"] = 1 / best_rank(row_D, gold)
            measured += [
                (query.id, len(gold), COMPLETIONS[query.correct], method, name, value)
                for name, value in at.items()
            ]
    return pd.DataFrame(measured, columns=["query", "stated", "completion", "method", "measure", "value"])


def relation_table(scores: Scores, truth: Truth, rows: Mapping[str, Row], k: int) -> pd.DataFrame:
    """What the top `k` documents of each reasoning query show, against the corpus.

    Returns:
        Columns query, task, method, what (a relation of `RELATIONS`, or "its procedure as FORM"), share (of the top
        k), corpus_share.
    """
    measured = []
    labels = [*RELATIONS, *(f"its procedure as {form}" for form in PROCEDURE_FORMS)]
    members: dict[str, npt.NDArray[np.bool_]] = {}
    for query in scores.queries:
        if query.group != "reasoning":
            continue
        if query.task not in members:
            members[query.task] = _members(truth, query.task)
        of_LD = members[query.task]
        for method, row_of in rows.items():
            row_D = row_of(query.id)
            first = len(row_D) - 1 - lowest(-row_D[::-1], k)
            measured += [
                (query.id, query.task, method, label, own_D[first].mean(), own_D.mean())
                for label, own_D in zip(labels, of_LD, strict=True)
            ]
    return pd.DataFrame(measured, columns=["query", "task", "method", "what", "share", "corpus_share"])


def _members(truth: Truth, procedure: str) -> npt.NDArray[np.bool_]:
    relation_D, own_D = truth.relation_D(procedure), truth.shows(procedure)
    relations = [relation_D == number for number in range(len(RELATIONS))]
    forms = [own_D & (truth.form_D == number) for number in range(len(PROCEDURE_FORMS))]
    return np.array([*relations, *forms])


def gold_of_facts(scores: Scores, queries: Sequence[Query]) -> list[int]:
    """Columns of the documents that state a fact the queries ask for, those that state most of them first."""
    places = columns_of(scores, {name for query in queries for name in query.gold})
    count: dict[int, int] = {}
    for query in queries:
        for name in query.gold:
            for column in places[name]:
                count[column] = count.get(column, 0) + 1
    return sorted(count, key=lambda column: (-count[column], column))


def gold_of_procedure(truth: Truth, queries: Sequence[Query]) -> list[int]:
    """Columns of the documents that show the queries' procedure, those that write out most of their steps first."""
    wanted = [step.text for query in queries for step in query.steps]
    shown = np.flatnonzero(truth.shows(queries[0].task)).tolist()
    return sorted(shown, key=lambda column: (-sum(step in truth.steps[column] for step in wanted), column))
