"""Documents that an earlier run scored already: only those that are new go through the model. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from influence.errors import StoreError
from influence.store.artefact import differences
from influence.store.documents import DocumentTable
from influence.store.scores import Scores

Columns = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reused:
    """Columns of a run whose scores an earlier run holds.

    Attributes:
        scores: Of the earlier run.
        here, there: Columns of the same documents, `[N]`.
    """

    scores: Scores
    here: Columns
    there: Columns


def reusable(table: DocumentTable, earlier: Scores, config: Mapping[str, Any]) -> Reused:
    """The documents of `table`, by id and tokens, that `earlier` scored.

    Args:
        config: Of the run that is to be made.

    Raises:
        StoreError: the earlier run has other queries, another model or Hessian, or other settings.
    """
    changed = differences(*(_but_corpus(record) for record in (earlier.manifest["config"], config)))
    if changed:
        raise StoreError(
            f"The scores in {earlier.folder} cannot be used again: they were made otherwise.",
            have="; ".join(changed),
            fix="Score with the same queries, model, Hessian and settings, or without --reuse.",
        )
    ours, theirs = _digests(table), _digests(earlier.documents)
    _, here, there = np.intersect1d(ours, theirs, return_indices=True)
    known = np.isfinite(earlier.gradient_norm[there])  # a search of an index leaves some out
    same = [
        np.array_equal(table.tokens(a), earlier.documents.tokens(b))
        for a, b in zip(here.tolist(), there.tolist(), strict=True)
    ]
    kept = known & np.array(same, bool)
    return Reused(earlier, here[kept], there[kept])


def _but_corpus(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "corpus"}


def _digests(table: DocumentTable) -> npt.NDArray[np.uint64]:
    """Eight bytes for each document, of its id and tokens."""
    found = np.empty(len(table), np.uint64)
    for start in range(0, len(table), 4096):
        columns = np.arange(start, min(start + 4096, len(table)))
        for column, name in zip(columns.tolist(), table.take("id", columns), strict=True):
            digest = hashlib.blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8)
            digest.update(table.tokens(column).tobytes())
            found[column] = int.from_bytes(digest.digest(), "little")
    return found
