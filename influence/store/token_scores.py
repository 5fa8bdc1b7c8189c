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

from influence.store.artefact import map_arrays, write_arrays

FILE = "token_scores.safetensors"


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
    return path


def open_token_scores(folder: Path) -> TokenScores | None:
    """The token scores of a run, or None if none were computed; StoreError if they are damaged."""
    return TokenScores(map_arrays(folder / FILE)) if (folder / FILE).exists() else None
