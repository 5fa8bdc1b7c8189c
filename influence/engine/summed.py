"""The sum of the scores at several checkpoints, an ordinary score store. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from influence.errors import StoreError
from influence.files import whole_file
from influence.provenance import provenance
from influence.store.arrays import flush_arrays
from influence.store.artefact import claim, differences, finish
from influence.store.documents import join_documents
from influence.store.scores import ARRAYS, Scores, allocate_scores, open_scores, write_query_records

#: What summed stores share; each has a model, a Hessian and a precision of its own.
_SHARED = ("damping", "max_length", "windows", "layers", "tokenizer", "corpus", "queries")


def sum_scores(parts: Sequence[tuple[str, Scores]], out: str | Path) -> Scores:
    """Add the scores of the same queries and documents at several checkpoints, in float64.

    The sum is what the checkpoints' gradients laid end to end give: `dot` is the sum, `‖G_d‖` the root of the sum of
    squares. `I_q` is the mean over checkpoints, nats.

    Args:
        parts: Name and finished store of each checkpoint, in the order of training.
        out: Folder of the score store; a sum that was killed is made again.

    Raises:
        StoreError: the stores differ in more than the checkpoint, or `out` holds something else.
    """
    folder, last = Path(out), parts[-1][1]
    for name, scores in parts:
        shared = [{key: s.manifest["config"].get(key) for key in _SHARED} for s in (last, scores)]
        changed = differences(*shared)
        if changed:
            raise StoreError(
                f"The scores at {name} and at {parts[-1][0]} cannot be added: they were made otherwise.",
                have="; ".join(changed),
                fix="Add scores of the same queries and corpus, with the same layers and settings.",
            )
    members = [{"name": name, "config": scores.manifest["config"]} for name, scores in parts]
    manifest = claim(folder, "scores", {**last.manifest["config"], "sum": members})
    if manifest["status"] == "complete":
        return open_scores(folder)
    write_query_records(folder, last.queries)
    join_documents(folder, [last.documents])
    with whole_file(folder / ARRAYS) as part:
        joined = allocate_scores(part, len(last.queries), len(last.documents), np.float64)
        for _, scores in parts:
            for row, values in enumerate(scores.dot):
                joined["dot"][row] += values
            joined["gradient_norm"] += np.square(scores.gradient_norm, dtype=np.float64)
            joined["query_nll"] += scores.query_nll
        np.sqrt(joined["gradient_norm"], out=joined["gradient_norm"])
        joined["query_nll"] /= len(parts)
        flush_arrays(joined)
    made = [scores.manifest["provenance"] for _, scores in parts]
    facts: dict[str, Any] = {k: v for k, v in made[-1].items() if k not in provenance(0.0)}
    summed = [{"name": name, **record} for (name, _), record in zip(parts, made, strict=True)]
    finish(folder, manifest, provenance(sum(record["seconds"] for record in made), **facts, summed=summed))
    return open_scores(folder)
