"""One seed in numbers: a value for each query and measure, and R between queries. All findings come from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from influence.analysis.documents import source_codes
from influence.analysis.sources import source_counts
from influence.store.scores import Scores
from influence.types import Query

TOTAL, SLOPE, ANSWERED = "total per nat", "slope", "answered"


@dataclass(frozen=True)
class SeedMetrics:
    """What the findings need of one seed.

    Attributes:
        queries: Columns query, task, group, correct, measure, value.
        relations: Columns query, task, method, what, share, corpus_share.
        r: R between the queries, `[Q, Q]`.
        labels: Of the queries in `r`: a procedure, `control of PROCEDURE`, `factual`, or `factual-control`.
        corpus_shares: Share of each source in the corpus.
    """

    queries: pd.DataFrame
    relations: pd.DataFrame
    r: pd.DataFrame
    labels: list[str]
    corpus_shares: dict[str, float]

    def of(self, group: str, measure: str, *, right: bool = False) -> pd.Series[float]:
        """Values of a measure for the queries of a group; `right`: of those the model answered right."""
        table = self.queries
        chosen = (table["group"] == group) & (table["measure"] == measure)
        if right:
            chosen &= table["correct"].astype(str) == "True"
        return table.loc[chosen, "value"]


def query_measures(scores: Scores, analysis: Path, top_k: int, source_k: int) -> pd.DataFrame:
    """Values of the published measures for each query.

    Args:
        analysis: Folder of the tables of `influence analyze`.

    Returns:
        Columns query, task, group, correct, measure, value. Measures: "total per nat" (positive influence over the
        whole corpus, `per_nat`), "slope" (of log score on log rank over the top), "answered" (0 or 1: the answer
        stands in the top), and for each source "share of SOURCE@k".
    """
    curves = pd.read_parquet(analysis / "concentration" / "curves.parquet")
    whole = curves[(curves["side"] == "positive") & (curves["unit"] == "percent") & (curves["at"] == 100)]
    slopes = pd.read_parquet(analysis / "concentration" / "power_law.parquet")
    slopes = slopes[slopes["side"] == "positive"]
    found = pd.read_parquet(analysis / "answers" / "found.parquet")
    found = found[found["method"] == "keywords"]
    parts = [
        _tidy(whole, "cumulative", TOTAL),
        _tidy(slopes, "slope", SLOPE),
        _tidy(found, "answered", ANSWERED),
        _shares(scores, [source_k, 10 * source_k]),
    ]
    table = pd.concat(parts, ignore_index=True)
    query_of = {query.id: query for query in scores.queries}
    for place, field in enumerate(("task", "group", "correct"), 1):
        table.insert(place, field, [getattr(query_of[name], field) for name in table["query"]])
    return table


def _tidy(table: pd.DataFrame, column: str, measure: str) -> pd.DataFrame:
    values = table[column].astype(float).to_numpy()
    return pd.DataFrame({"query": table["query"].to_numpy(), "measure": measure, "value": values})


def _shares(scores: Scores, ks: Sequence[int]) -> pd.DataFrame:
    """Share of each source among the first k documents of each query, by `normed`."""
    names, known, counts = source_counts(scores, "normed", ks)
    rows = [
        (query.id, share_of(source, k), counts[row, 0, place, column] / k)
        for row, query in enumerate(scores.queries)
        for place, k in enumerate(known)
        for column, source in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=["query", "measure", "value"])


def share_of(source: str, k: int) -> str:
    """The name of a measure: share of a source among the first k."""
    return f"share of {source}@{k}"


def corpus_shares(scores: Scores) -> dict[str, float]:
    """Share of each source in the corpus."""
    names, code_D = source_codes(scores)
    return {name: float((code_D == number).mean()) for number, name in enumerate(names)}


def pair_labels(queries: Sequence[Query]) -> list[str]:
    """What each query is in a table of pairs: its procedure, `control of PROCEDURE`, or its task."""
    return [
        f"control of {query.id.rpartition('-')[2]}" if query.task == "reasoning-control" else query.task
        for query in queries
    ]


def correlation_matrix(analysis: Path, queries: Sequence[Query]) -> pd.DataFrame:
    """R between the queries `[Q, Q]`, in their order, from the pairs that `influence analyze correlation` stored."""
    pairs = pd.read_parquet(analysis / "correlation" / "r.parquet")
    order = [query.id for query in queries]
    half = pairs.pivot(index="a", columns="b", values="r").reindex(index=order, columns=order)
    return half.where(half.notna(), half.T)
