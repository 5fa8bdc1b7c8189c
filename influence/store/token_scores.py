"""Influence token by token of the top documents of a run, beside its scores. No torch.

`token_scores.safetensors`:

    query [P], column [P], start [P + 1]      the pairs, in query order; values of pair p are start[p]:start[p + 1]
    value [V]                                 influence of each token, nats; a token stands where the computation runs,
                                              one before the token that it helps to predict
    document [M], first [M + 1], length [W]   the tokens of each document: characters (code points) of its text that
                                              each one covers, 0 for BOS and for the rest of a split character
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from influence.errors import StoreError
from influence.store.arrays import map_arrays, write_arrays
from influence.store.artefact import add_files, forget_file, read_manifest
from influence.store.journal import listed, verify_file
from influence.store.scores import Scores

FILE = "token_scores.safetensors"
#: Kind of number of each array: integer or float.
_KINDS = dict.fromkeys(("query", "column", "start", "document", "first", "length"), "i") | {"value": "f"}


@dataclass(frozen=True)
class TokenScores:
    """The stored token scores of a run."""

    arrays: dict[str, npt.NDArray[Any]]

    @cached_property
    def _pairs(self) -> dict[tuple[int, int], int]:
        pairs = zip(self.arrays["query"].tolist(), self.arrays["column"].tolist(), strict=True)
        return {pair: place for place, pair in enumerate(pairs)}

    @cached_property
    def _documents(self) -> dict[int, int]:
        return {column: place for place, column in enumerate(self.arrays["document"].tolist())}

    def __contains__(self, pair: tuple[int, int]) -> bool:
        return pair in self._pairs

    def values(self, query: int, column: int) -> npt.NDArray[np.floating]:
        """Influence of each token of the document in `column` on the query in row `query`, nats, `[T]`."""
        place = self._pairs[query, column]
        start = self.arrays["start"]
        return np.asarray(self.arrays["value"][start[place] : start[place + 1]])

    def lengths(self, column: int) -> npt.NDArray[np.integer]:
        """Characters of the text that each token covers, `[T]`; they add up to the whole text."""
        place = self._documents[column]
        first = self.arrays["first"]
        return np.asarray(self.arrays["length"][first[place] : first[place + 1]])


def write_token_scores(
    folder: Path,
    pairs: Sequence[tuple[int, int, npt.NDArray[np.floating]]],
    lengths: Mapping[int, npt.NDArray[np.integer]],
) -> Path:
    """Store `(query row, document column, values [T])` and the token lengths of each document, atomically."""
    path = folder / FILE
    forget_file(folder, FILE)
    columns = sorted(lengths)
    write_arrays(
        path,
        {
            "query": np.array([query for query, _, _ in pairs], np.int64),
            "column": np.array([column for _, column, _ in pairs], np.int64),
            "start": np.cumsum([0, *(len(values) for _, _, values in pairs)], dtype=np.int64),
            "value": np.concatenate([values for _, _, values in pairs]).astype(np.float32),
            "document": np.array(columns, np.int64),
            "first": np.cumsum([0, *(len(lengths[column]) for column in columns)], dtype=np.int64),
            "length": np.concatenate([lengths[column] for column in columns]).astype(np.int32),
        },
    )
    add_files(folder, FILE)
    return path


def open_token_scores(scores: Scores) -> TokenScores | None:
    """The token scores of a run, or None if none were computed.

    Raises:
        StoreError: They are damaged, of another run, or were written by a version that had no checksum of them.
    """
    path = scores.folder / FILE
    manifest = read_manifest(scores.folder) or scores.manifest  # they may be younger than what was opened
    if listed(manifest, FILE) is None:
        if not path.exists():
            return None
        raise StoreError(
            f"{path} is not listed in the manifest beside it.",
            have="token scores of another run, or of a version that kept no checksum of them",
            fix="Run influence tokens again.",
        )
    verify_file(scores.folder, manifest, FILE)
    tokens = TokenScores(map_arrays(path))
    wrong = _mismatch(tokens.arrays, len(scores.queries), len(scores.documents))
    if wrong:
        raise StoreError(
            f"{path} does not fit the scores beside it.", have=wrong, fix="Run influence tokens again."
        )
    return tokens


def _mismatch(arrays: Mapping[str, npt.NDArray[Any]], queries: int, documents: int) -> str | None:
    """What of these arrays is not as `write_token_scores` writes it."""
    if sorted(arrays) != sorted(_KINDS):
        return f"arrays {', '.join(sorted(arrays))}"
    for name, kind in _KINDS.items():
        if arrays[name].ndim != 1 or arrays[name].dtype.kind != kind:
            return f"{name} of type {arrays[name].dtype} and shape {list(arrays[name].shape)}"
    for name, most in {"query": queries, "column": documents, "document": documents}.items():
        if len(arrays[name]) and not 0 <= arrays[name].min() <= arrays[name].max() < most:
            return f"a {name} that the run does not have"
    for ends, of, into in (("start", "query", "value"), ("first", "document", "length")):
        steps = np.diff(arrays[ends], prepend=0, append=len(arrays[into]))
        if len(arrays[ends]) != len(arrays[of]) + 1 or (steps < 0).any() or steps[0] or steps[-1]:
            return f"{ends} does not divide {into}"
    if (
        len(arrays["column"]) != len(arrays["query"])
        or not np.isin(arrays["column"], arrays["document"]).all()
    ):
        return "pairs of other documents than those whose tokens it has"
    return None
