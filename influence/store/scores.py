"""A finished score store: `dot [Q, D]`, `‖G_d‖ [D]`, `I_q [Q]`, documents, queries, provenance. No torch.

Files: `manifest.json`, `queries.json`, `documents.arrow`, `scores.safetensors` (`dot`, `gradient_norm`,
`query_nll`; memory-mapped). Rows are queries in file order, columns are documents in corpus order.

A search of an index scores some documents only: `dot` and `gradient_norm` of the others are NaN, not known. Rankings
leave them out.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from influence.errors import InputError, StoreError
from influence.files import whole_file
from influence.store.arrays import allocate_arrays, map_arrays
from influence.store.artefact import open_complete, write_json
from influence.store.documents import DocumentTable
from influence.types import Query, Reading, Step

if TYPE_CHECKING:
    import pandas as pd

ARRAYS = "scores.safetensors"
#: The array of documents on themselves, and the setting that asks for it.
SELF = "self_influence"
QUERIES = "queries.json"


def write_query_records(folder: Path, queries: Sequence[Query]) -> None:
    """Store the queries of a run beside its scores."""
    write_json(folder / QUERIES, [asdict(query) for query in queries])


def allocate_scores(
    part: Path, queries: int, documents: int, dtype: npt.DTypeLike, self_influence: bool = False
) -> dict[str, npt.NDArray[Any]]:
    """A file of `dot`, `gradient_norm` and `query_nll`, zeros that are mapped to be filled; float64 or else float32.

    Args:
        self_influence: It has the influence of documents on themselves too.
    """
    kind = "F64" if np.dtype(dtype) == np.float64 else "F32"
    shapes = {
        "dot": ((queries, documents), kind),
        "gradient_norm": ((documents,), kind),
        "query_nll": ((queries,), kind),
    }
    if self_influence:
        shapes[SELF] = ((documents,), kind)
    allocate_arrays(part, shapes)
    return map_arrays(part, "r+")


def _read_query_records(folder: Path) -> tuple[Query, ...]:
    try:
        records = json.loads((folder / QUERIES).read_text(encoding="utf-8"))
        queries = tuple(_query(record) for record in records)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{folder / QUERIES} cannot be read.",
            have=str(error) or type(error).__name__,
            fix="The file is missing or damaged: delete its folder and run the command that made it again.",
        ) from error
    return queries


def _query(record: dict[str, Any]) -> Query:
    texts = [record[name] for name in ("id", "task", "group", "prompt", "completion", "answer")]
    steps = tuple(Step(step["text"], tuple(step["keywords"])) for step in record["steps"])
    keywords, gold = tuple(record["keywords"]), tuple(record["gold"])
    texts += [*keywords, *gold, *(text for step in steps for text in (step.text, *step.keywords))]
    if not all(isinstance(text, str) for text in texts) or record["correct"] not in (True, False, None):
        raise ValueError("a field of another type")
    messages = tuple(record.get("messages", ()))
    if not isinstance(record.get("contrast", ""), str) or not all(isinstance(m, dict) for m in messages):
        raise ValueError("a field of another type")
    return Query(**{**record, "steps": steps, "keywords": keywords, "gold": gold, "messages": messages})


@dataclass(frozen=True)
class Scores:
    """Influence of every document on every query.

    Sign: positive means that more weight on the document raises log p(completion | prompt).
    """

    folder: Path
    manifest: dict[str, Any]

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """The queries, in row order."""
        return _read_query_records(self.folder)

    @cached_property
    def documents(self) -> DocumentTable:
        """The documents, in column order."""
        return DocumentTable(self.folder)

    @cached_property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays = map_arrays(self.folder / ARRAYS)
        queries, documents = len(self.queries), len(self.documents)
        expected = {
            "dot": (queries, documents),
            "gradient_norm": (documents,),
            "query_nll": (queries,),
            **({SELF: (documents,)} if self.has_self_influence else {}),
        }
        for name, shape in expected.items():
            if name not in arrays or arrays[name].shape != shape or arrays[name].dtype.kind != "f":
                raise StoreError(
                    f"{self.folder / ARRAYS} does not fit the queries and documents beside it.",
                    have=f"{name} {list(arrays[name].shape)}" if name in arrays else f"no {name}",
                    fix="Delete the folder and run the command that made it again.",
                )
        return arrays

    @cached_property
    def scored(self) -> npt.NDArray[np.bool_] | None:
        """Which documents were scored `[D]`; None where all were."""
        searched = "index" in self.manifest["config"]
        return ~np.isnan(np.asarray(self.gradient_norm)) if searched else None

    @property
    def documents_scored(self) -> int:
        """How many documents were scored."""
        return len(self.documents) if self.scored is None else int(self.scored.sum())

    @property
    def dot(self) -> npt.NDArray[np.floating]:
        """Raw influence `[Q, D]`, memory-mapped; gradients are sums over tokens, the unit is nats."""
        return self._arrays["dot"]

    @property
    def gradient_norm(self) -> npt.NDArray[np.floating]:
        """`‖G_d‖₂` over the tracked parameters, `[D]`."""
        return self._arrays["gradient_norm"]

    @property
    def query_nll(self) -> npt.NDArray[np.floating]:
        """`I_q = −log p(completion | prompt)` in nats, `[Q]`."""
        return self._arrays["query_nll"]

    @property
    def has_self_influence(self) -> bool:
        """Whether the run computed the influence of documents on themselves."""
        return bool(self.manifest["config"].get(SELF))

    @property
    def self_influence(self) -> npt.NDArray[np.floating]:
        """`gᵀ (H + damping)⁻¹ g` of each document, `[D]`, at least 0: large where a document is unlike all others.

        Raises:
            InputError: the run did not compute it.
        """
        if not self.has_self_influence:
            raise InputError(
                f"{self.folder} has no influence of documents on themselves.",
                fix="Score again with influence score --self, into another folder.",
            )
        return self._arrays[SELF]

    def array(self, name: str) -> npt.NDArray[Any]:
        """One stored array by its name in the file."""
        return self._arrays[name]

    @property
    def per_nat(self) -> npt.NDArray[np.floating]:
        """`dot / I_q`, `[Q, D]`: comparable between queries; use it for sums and magnitudes."""
        return np.asarray(self.dot / self.query_nll[:, None])

    @property
    def normed(self) -> npt.NDArray[np.floating]:
        """`dot / ‖G_d‖₂`, `[Q, D]`: comparable between documents; use it for rankings."""
        return self._normed(self.dot)

    def _normed(self, dot: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        norm = np.asarray(self.gradient_norm)
        return np.asarray(np.divide(dot, norm, out=np.zeros_like(dot), where=norm != 0))

    def row(self, query: str, by: Reading = "normed") -> npt.NDArray[np.floating]:
        """One reading of the scores of one query, `[D]`."""
        index = self.index(query)
        dot = np.asarray(self.dot[index])
        if by == "dot":
            return dot
        if by == "per_nat":
            return np.asarray(dot / self.query_nll[index])
        if by == "normed":
            return self._normed(dot)
        raise InputError(f"There is no reading {by!r} of a score.", fix="Use dot, per_nat or normed.")

    def index(self, query: str) -> int:
        """Row of the query with this id."""
        for index, candidate in enumerate(self.queries):
            if candidate.id == query:
                return index
        names = [candidate.id for candidate in self.queries]
        near = difflib.get_close_matches(query, names, n=1)
        raise InputError(
            f"No query {query!r} in {self.folder}.",
            have=f"{len(names)} queries: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}",
            fix=f"Did you mean {near[0]!r}?" if near else "Name one of them.",
        )

    def ranking(
        self, query: str, k: int, by: Reading = "normed", bottom: bool = False
    ) -> npt.NDArray[np.int64]:
        """Columns of the first (`bottom`: last) `k` documents of the ranking, the strongest first.

        One ranking from the highest score to the lowest, ties in document order; `bottom` reads it backwards, so of
        equal documents the later one comes first. Documents that were not scored stand in neither.
        """
        row = self.row(query, by)
        return lowest(row, k) if bottom else len(row) - 1 - lowest(-row[::-1], k)

    def top(self, query: str, k: int = 20, by: Reading = "normed", bottom: bool = False) -> pd.DataFrame:
        """The `k` documents that raise (`bottom`: lower) log p(completion | prompt) most.

        Columns: rank (from 1), document, source, dot, per_nat, normed, snippet.
        """
        import pandas as pd

        columns = self.ranking(query, k, by, bottom)
        return pd.DataFrame(
            {
                "rank": np.arange(1, len(columns) + 1),
                "document": self.documents.take("id", columns),
                "source": self.documents.take("source", columns),
                "dot": self.row(query, "dot")[columns],
                "per_nat": self.row(query, "per_nat")[columns],
                "normed": self.row(query, "normed")[columns],
                "snippet": [self.documents.snippet(int(column)) for column in columns],
            }
        )

    def top_self(self, k: int = 20, bottom: bool = False) -> pd.DataFrame:
        """The `k` documents with the largest (`bottom`: smallest) influence on themselves.

        Columns: rank (from 1), document, source, self_influence, gradient_norm, snippet.
        """
        import pandas as pd

        row_D = np.asarray(self.self_influence)
        columns = lowest(row_D, k) if bottom else len(row_D) - 1 - lowest(-row_D[::-1], k)
        return pd.DataFrame(
            {
                "rank": np.arange(1, len(columns) + 1),
                "document": self.documents.take("id", columns),
                "source": self.documents.take("source", columns),
                SELF: row_D[columns],
                "gradient_norm": self.gradient_norm[columns],
                "snippet": [self.documents.snippet(int(column)) for column in columns],
            }
        )

    def to_parquet(self, path: str | Path) -> Path:
        """Export all scores: a row per query and document (query, document, source, three readings).

        Where it was computed, the document's influence on itself stands beside them.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        ids, sources = self.documents.column("id"), self.documents.column("source")
        tables = (
            pa.table(
                {
                    "query": pa.array([query.id] * len(ids), pa.string()),
                    "document": ids,
                    "source": sources,
                    "dot": np.asarray(self.row(query.id, "dot")),
                    "per_nat": self.row(query.id, "per_nat"),
                    "normed": self.row(query.id, "normed"),
                    **({SELF: np.asarray(self.self_influence)} if self.has_self_influence else {}),
                }
            )
            for query in self.queries
        )
        first = next(tables)  # a score store has at least one query
        with whole_file(path) as part, pq.ParquetWriter(part, first.schema, compression="zstd") as writer:
            for table in chain([first], tables):
                writer.write_table(table)
        return path


def lowest(row_D: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.int64]:
    """Places of the `k` lowest values, the lowest first; of equal ones the last. NaN is no value."""
    k = min(k, int(np.count_nonzero(~np.isnan(row_D))))
    if k == 0:
        return np.zeros(0, np.int64)
    candidates = np.flatnonzero(row_D <= np.partition(row_D, k - 1)[k - 1])[::-1]
    return candidates[np.argsort(row_D[candidates], kind="stable")][:k]


def open_scores(folder: str | Path) -> Scores:
    """Open a finished score store, without the model and without torch.

    Raises:
        StoreError: no finished score store lies there.
    """
    folder = Path(folder)
    return Scores(folder, open_complete(folder, "scores"))
