"""Documents of a run by column, read from the memory map: never a Python object for each of millions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from influence.analysis.grouping import finite_row
from influence.analysis.ranking import ranks
from influence.errors import InputError
from influence.store.documents import FILE
from influence.store.scores import Scores


def _batches(scores: Scores) -> Iterator[Any]:
    with pa.memory_map(str(scores.documents.folder / FILE)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def document_texts(scores: Scores) -> Iterator[tuple[int, list[str]]]:
    """All texts in column order, some thousand at a time: (column of the first, texts)."""
    start = 0
    for batch in _batches(scores):
        texts = batch.column("text").to_pylist()
        yield start, texts
        start += len(texts)


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
