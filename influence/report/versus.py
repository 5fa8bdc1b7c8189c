"""One query under two rankings, with passages: this run against another, or against BM25."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import ranks
from influence.errors import InfluenceError
from influence.report.passages import Passages
from influence.report.two_runs import CROSS, run_names
from influence.store.formats.manifest import fingerprint
from influence.store.formats.tables import made_by, read_tables
from influence.store.scores import Scores, open_scores
from influence.types import Reading

#: First documents of either ranking that are shown.
TOP = 10


@dataclass(frozen=True)
class Versus:
    """Another ranking of the documents of each query.

    Attributes:
        name: Of the other ranking.
        rows: For each query of the report, in its order, the first documents of either: id, source, rank here, rank
            there (None where it is not known), and the passage as how it was chosen and its pieces.
    """

    name: str
    rows: list[list[list[Any]]]

    def as_json(self, show_texts: bool) -> dict[str, Any]:
        """The same for the page, without passages where no texts may be shown."""
        rows = [
            [[*row[:4], row[4] if show_texts else ["beginning"]] for row in of_query]
            for of_query in self.rows
        ]
        return {"name": self.name, "rows": rows}


def versus(
    scores: Scores, order: Sequence[int], by: Reading, lexical: pd.DataFrame | None, passages: Passages
) -> list[Versus]:
    """The other rankings that a run knows of: the run it was compared with, and BM25."""
    other = _other_run(scores.folder)
    found = [] if other is None else [_against_run(scores, other, order, by, passages)]
    return found + ([] if lexical is None else [_against_bm25(scores, order, by, lexical, passages)])


def _other_run(folder: Path) -> tuple[Scores, dict[str, str]] | None:
    """The run that `influence analyze correlation A B` compared with this one, and its query for each of ours.

    None where no two were compared, or the other has gone or changed since.
    """
    crossed = read_tables(folder, "correlation", ("cross",))
    if crossed is None:
        return None
    runs = made_by(folder / CROSS).get("runs", [])
    if not runs:
        return None
    try:
        other = open_scores(str(runs[0].get("folder", "")))
    except InfluenceError:
        return None
    if fingerprint(other.manifest) != runs[0].get("fingerprint"):
        return None
    cross = crossed["cross"]
    return other, dict(zip(cross["query_b"], cross["query_a"], strict=True))


def _against_run(
    scores: Scores,
    other: tuple[Scores, dict[str, str]],
    order: Sequence[int],
    by: Reading,
    passages: Passages,
) -> Versus:
    there, twin_of = other
    twins = Passages(there, None)
    here_of, there_of = _columns(scores, there), _columns(there, scores)
    row_of = {query.id: row for row, query in enumerate(there.queries)}
    rows: list[list[list[Any]]] = []
    for row in order:
        query = scores.queries[row].id
        twin = twin_of.get(query)
        if twin is None:
            rows.append([])
            continue
        first = [scores.ranking(query, TOP, by).tolist(), there.ranking(twin, TOP, by).tolist()]
        pairs = dict.fromkeys((column, there_of(column)) for column in first[0])
        pairs |= dict.fromkeys((here_of(column), column) for column in first[1])
        rank = _ranks(scores.row(query, by), [here for here, _ in pairs])
        rank_there = _ranks(there.row(twin, by), [column for _, column in pairs])
        of_query = []
        for (column, column_there), a, b in zip(pairs, rank, rank_there, strict=True):
            if column is not None:
                of_query.append(_row(scores, column, a, b, passages, row))
            elif column_there is not None:
                of_query.append(_row(there, column_there, a, b, twins, row_of[twin]))
        rows.append(of_query)
    return Versus(run_names(scores.folder / CROSS)[0], rows)


def _against_bm25(
    scores: Scores, order: Sequence[int], by: Reading, lexical: pd.DataFrame, passages: Passages
) -> Versus:
    of_query = dict(tuple(lexical.drop_duplicates(["query", "column"]).groupby("query", sort=False)))
    rows: list[list[list[Any]]] = []
    for row in order:
        query = scores.queries[row].id
        known = of_query.get(query)
        if known is None:
            rows.append([])
            continue
        rank_of = dict(zip(known["column"].astype(int), known["rank_bm25"].astype(int), strict=True))
        first = [column for column, rank in rank_of.items() if rank <= TOP]
        columns = list(dict.fromkeys([*scores.ranking(query, TOP, by).tolist(), *first]))
        rank = _ranks(scores.row(query, by), columns)
        rows.append(
            [_row(scores, c, a, rank_of.get(c), passages, row) for c, a in zip(columns, rank, strict=True)]
        )
    return Versus("BM25", rows)


def _row(scores: Scores, column: int, here: Any, there: Any, passages: Passages, query: int) -> list[Any]:
    """One document: id, source, the two ranks, its passage."""
    ids, sources = (str(scores.documents.take(name, np.array([column]))[0]) for name in ("id", "source"))
    passage = passages.of(query, column)
    return [ids, sources, here, there, [passage.how, *passage.pieces]]


def _ranks(row_D: npt.NDArray[np.floating], columns: Sequence[int | None]) -> list[int | None]:
    """Ranks of these documents; None for one that the store does not have."""
    known = [column for column in columns if column is not None]
    rank = dict(zip(known, ranks(row_D, np.array(known, np.int64)).tolist(), strict=True))
    return [None if column is None else rank[column] for column in columns]


def _columns(scores: Scores, other: Scores) -> Any:
    """From a column of `other` to that of the same document here, None where it is not here."""
    corpora = [run.manifest.get("config", {}).get("corpus") for run in (scores, other)]
    if corpora[0] and corpora[0] == corpora[1] and len(scores.documents) == len(other.documents):
        return lambda column: column
    here = {str(name): column for column, name in enumerate(scores.documents.ids)}
    ids = other.documents.ids
    return lambda column: here.get(str(ids[column]))
