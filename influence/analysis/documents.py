"""The documents of a run: columns read from the memory map, never an object for each of millions, and their ranks.

Positive scores: adding the document is predicted to raise log p(completion | prompt).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from influence.errors import ComputeError, InputError
from influence.progress import Progress
from influence.store.documents import FILE
from influence.store.scores import Scores, lowest
from influence.types import Reading

COLUMNS = (
    "query",
    "end",
    "column",
    "document",
    "source",
    "rank_normed",
    "rank_dot",
    "dot",
    "per_nat",
    "normed",
    "snippet",
)


def top_table(scores: Scores, k: int, *, bottom: bool = False) -> pd.DataFrame:
    """For each query, the union of the top `k` documents by `normed` and the top `k` by `dot`.

    Rows of a query are in the order of `rank_normed`. Work per query is one row of the matrix at a time.

    Args:
        k: Documents of each reading; the union has `k` to `2 k` rows a query.
        bottom: Add the union of the two bottom `k` as rows with `end == "bottom"`, most negative first.

    Returns:
        Columns query, end ("top" | "bottom"), column (of the score matrix), document, source, rank_normed,
        rank_dot (from 1, over all documents, ties in document order), dot (nats, summed over tokens),
        per_nat (dot / I_q), normed (dot / ‖G_d‖₂), snippet.

    Raises:
        InputError: `k` is not positive.
    """

    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))
    parts = []
    for row, query in enumerate(scores.queries):
        with np.errstate(divide="ignore", invalid="ignore"):  # I_q = 0: per_nat is not finite
            readings = {
                "dot": scores.row(query.id, "dot"),
                "per_nat": scores.row(query.id, "per_nat"),
                "normed": scores.row(query.id, "normed"),
            }
        for end in ("top", "bottom")[: 1 + bottom]:
            bottom_end = end == "bottom"
            columns = np.union1d(*(scores.ranking(query.id, k, by, bottom_end) for by in ("normed", "dot")))
            rank_normed = ranks(readings["normed"], columns)
            order = np.argsort(rank_normed if end == "top" else -rank_normed)
            part = {"rank_normed": rank_normed[order], "rank_dot": ranks(readings["dot"], columns)[order]}
            columns = columns[order]
            values = {name: reading[columns] for name, reading in readings.items()}
            parts.append(pd.DataFrame({"row": row, "end": end, "column": columns, **part, **values}))
    table = pd.concat(parts, ignore_index=True)
    columns = table["column"].to_numpy()
    table["query"] = [scores.queries[row].id for row in table["row"]]
    table["document"] = scores.documents.take("id", columns)
    table["source"] = scores.documents.take("source", columns)
    table["snippet"] = [scores.documents.snippet(int(column)) for column in columns]
    return table[list(COLUMNS)]


def ranks(row_D: npt.NDArray[np.floating], columns: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Ranks from 1 (highest score) of a few documents among all of `row_D`; ties in document order.

    NaN, a document that was not scored, ranks last. O(D log K) for K columns: each score is looked up among the K
    sorted ones, the row is never sorted.
    """
    n = len(row_D)
    unknown_D = np.isnan(row_D)
    if unknown_D.any():
        row_D = np.where(unknown_D, -np.inf, row_D)
    values = np.unique(row_D[columns])  # ascending
    if not len(values):
        return np.zeros(0, np.int64)
    slot_D = np.searchsorted(values, row_D)  # values[slot - 1] < score <= values[slot]
    higher = n - np.cumsum(np.bincount(slot_D, minlength=len(values) + 1))[: len(values)]
    equal = np.flatnonzero(values[np.minimum(slot_D, len(values) - 1)] == row_D)
    keys = np.sort(slot_D[equal] * n + equal)  # grouped by value, in document order within
    slots = np.searchsorted(values, row_D[columns])
    before = np.searchsorted(keys, slots * n + columns) - np.searchsorted(keys, slots * n)
    return np.asarray(1 + higher[slots] + before, np.int64)


def rank_curve(
    scores: Scores, k: int, by: Reading = "normed", points: int = 32
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Scores at log-spaced ranks from 1 to `k`, to be drawn against the rank.

    Returns:
        Ranks `[P]` (from 1, at most `points`) and the score of each query at that rank `[Q, P]`, in the unit of `by`.
    """
    n_queries, n_documents = len(scores.queries), scores.documents_scored
    k = min(k, n_documents)
    rank_P = np.unique(np.geomspace(1, max(k, 1), points).round().astype(np.int64))[: max(k, 0)]
    values_QP = np.zeros((n_queries, len(rank_P)))
    for row, query in enumerate(scores.queries):
        score_D = scores.row(query.id, by)
        score_D = score_D if scores.scored is None else score_D[scores.scored]
        highest = -np.sort(-np.partition(score_D, n_documents - k)[n_documents - k :]) if k else score_D
        values_QP[row] = highest[rank_P - 1]
    return rank_P, values_QP


def _batches(scores: Scores) -> Iterator[Any]:
    with pa.memory_map(str(scores.documents.folder / FILE)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def document_texts(scores: Scores) -> Iterator[tuple[int, list[str]]]:
    """All texts in column order, some thousand at a time: (column of the first, texts)."""
    start = 0
    with Progress("documents", len(scores.documents)) as progress:
        for batch in _batches(scores):
            texts = batch.column("text").to_pylist()
            yield start, texts
            start += len(texts)
            progress.move_to(start)


def source_codes(scores: Scores) -> tuple[list[str], npt.NDArray[np.int16]]:
    """Names of the sources, the largest first, and the number of its source for each document `[D]`.

    Raises:
        InputError: there are more than 32,767 sources.
    """
    seen: dict[str, int] = {}
    parts = []
    for batch in _batches(scores):
        encoded = batch.column("source").dictionary_encode()
        own = [seen.setdefault(name, len(seen)) for name in encoded.dictionary.to_pylist()]
        if len(seen) > np.iinfo(np.int16).max:
            raise InputError(
                f"{scores.folder} has more than 32,767 sources.", fix="Use coarser source labels."
            )
        parts.append(np.array(own, np.int16)[encoded.indices.to_numpy()])
    code_D = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    names = list(seen)
    count = np.bincount(code_D, minlength=len(names))
    order = sorted(range(len(names)), key=lambda code: (-count[code], names[code]))
    new = np.empty(len(names), np.int16)
    new[order] = np.arange(len(names))
    return [names[code] for code in order], new[code_D]


def columns_of(scores: Scores, ids: Set[str]) -> dict[str, list[int]]:
    """The columns of each of these ids that is in the corpus: one, or those of its windows where it was cut."""
    columns: dict[str, list[int]] = {}
    wanted = pa.array(sorted(ids), pa.string())
    windows = bool(scores.manifest["config"].get("windows"))
    start = 0
    for batch in _batches(scores) if ids else ():
        names = batch.column("id")
        whole = pc.replace_substring_regex(names, r"#[0-9]+$", "") if windows else names
        for place in np.flatnonzero(pc.is_in(whole, wanted).to_numpy(zero_copy_only=False)).tolist():
            columns.setdefault(whole[place].as_py(), []).append(start + place)
        if windows:  # a query may also name one window
            for place in np.flatnonzero(pc.is_in(names, wanted).to_numpy(zero_copy_only=False)).tolist():
                columns.setdefault(names[place].as_py(), []).append(start + place)
        start += batch.num_rows
    return {name: sorted(set(places)) for name, places in columns.items()}


def matching_metadata(scores: Scores, field: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(column, id, metadata) of the documents whose metadata have a field of this name."""
    start = 0
    for batch in _batches(scores):
        metadata = batch.column("metadata")
        may = pc.match_substring(metadata, json.dumps(field)).to_numpy(zero_copy_only=False)
        for place in np.flatnonzero(may).tolist():
            record = json.loads(metadata[place].as_py())
            if field in record:
                yield start + place, batch.column("id")[place].as_py(), record
        start += batch.num_rows


def same_documents(a: Scores, b: Scores) -> bool:
    """Whether two runs scored documents of the same ids in the same order."""
    batches_a, batches_b = _batches(a), _batches(b)
    if len(a.documents) != len(b.documents):
        return False
    return all(x.column("id").equals(y.column("id")) for x, y in zip(batches_a, batches_b, strict=True))


def with_labels(table: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """The table with `document` (id) and `source` of each `column`, inserted after it."""
    columns = table["column"].to_numpy(np.int64)
    wanted, back = np.unique(columns, return_inverse=True)
    ids: list[str] = []
    sources: list[str] = []
    start = 0
    for batch in _batches(scores):
        stop = start + batch.num_rows
        own = pa.array(wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, stop)] - start)
        ids += batch.column("id").take(own).to_pylist()
        sources += batch.column("source").take(own).to_pylist()
        start = stop
    place = table.columns.get_loc("column")
    assert isinstance(place, int)
    table = table.copy()
    table.insert(place + 1, "document", np.array(ids, object)[back] if ids else [])
    table.insert(place + 2, "source", np.array(sources, object)[back] if sources else [])
    return table


def top_documents(scores: Scores, k: int) -> pd.DataFrame:
    """For each query the union of its top `k` documents by `normed` and by `dot`, with both ranks (from 1).

    Returns:
        Columns query, column, document, source, rank_normed, rank_dot; in the order of rank_normed within a query.

    Raises:
        InputError: `k` is not positive.
        ComputeError: a score is not finite.
    """
    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))
    parts = []
    for query in scores.queries:
        columns = np.union1d(scores.ranking(query.id, k, "normed"), scores.ranking(query.id, k, "dot"))
        part = pd.DataFrame(
            {
                "query": query.id,
                "column": columns,
                "rank_normed": ranks(finite_row(scores, query.id, "normed"), columns),
                "rank_dot": ranks(finite_row(scores, query.id, "dot"), columns),
            }
        )
        parts.append(part.sort_values("rank_normed"))
    return with_labels(pd.concat(parts, ignore_index=True), scores)


def rank_column(by: str) -> str:
    """The column of ranks for a reading: `per_nat` divides a row by a constant and ranks as `dot`."""
    return "rank_normed" if by == "normed" else "rank_dot"


def finite_row(scores: Scores, query: str, by: Reading) -> npt.NDArray[np.floating]:
    """One reading of one query's scores `[D]`, in memory; NaN where the search of an index did not score a document.

    Raises:
        InputError: there is no such query or reading.
        ComputeError: a score is not finite.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        row_D = scores.row(query, by)
    bad_D = ~np.isfinite(row_D)
    if scores.scored is not None:
        bad_D &= scores.scored
    if bad_D.any():
        certain = by == "per_nat" and scores.query_nll[scores.index(query)] == 0
        raise ComputeError(
            f"Scores of query {query!r} in {scores.folder} are not finite in the reading {by}.",
            have=f"{int(bad_D.sum()):,} of {len(row_D):,} documents",
            fix="Its completion has probability 1, so there is no nat to divide by: read by dot, or leave it out."
            if certain
            else "Score again with the model in float32.",
        )
    return row_D


def standardised_sum(rows: Iterable[npt.NDArray[np.floating]]) -> npt.NDArray[np.float64]:
    """Sum over queries of `(score − mean) / sd`, `[D]`: one ranking for several queries, each of which counts the same.

    A document that matters much to one query of many is not lost among ranks. A row whose scores are all equal adds
    nothing.

    Raises:
        InputError: there are no rows.
    """
    total_D: npt.NDArray[np.float64] | None = None
    for row_D in rows:
        values_D = np.asarray(row_D, np.float64)
        sd = values_D.std()
        standard_D = (values_D - values_D.mean()) / sd if sd > 0 else np.zeros_like(values_D)
        total_D = standard_D if total_D is None else total_D + standard_D
    if total_D is None:
        raise InputError("There are no queries to rank documents for.")
    return total_D


def first_columns(score_D: npt.NDArray[np.floating], k: int) -> list[int]:
    """Columns of the `k` highest scores, the highest first; of equal ones the earlier document."""
    columns: list[int] = (len(score_D) - 1 - lowest(-score_D[::-1], k)).tolist()
    return columns
