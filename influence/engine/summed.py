"""The sum of the scores at several checkpoints, an ordinary score store, and what it weighs them by. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from influence.errors import InputError, StoreError
from influence.files import whole_file
from influence.provenance import provenance
from influence.store.arrays import flush_arrays
from influence.store.artefact import claim, differences, finish
from influence.store.documents import join_documents
from influence.store.formats.training import METRICS, read_metrics
from influence.store.scores import ARRAYS, SELF, Scores, allocate_scores, open_scores, write_query_records

#: What summed stores share; each has a model, a Hessian and a precision of its own.
_SHARED = ("damping", "max_length", "windows", "layers", "tokenizer", "corpus", "queries")


#: What `--weights` takes beside a file.
EQUAL, LEARNING_RATE = "equal", "lr"


def sum_scores(
    parts: Sequence[tuple[str, Scores]], out: str | Path, weights: Sequence[float] | None = None
) -> Scores:
    """Add the scores of the same queries and documents at several checkpoints, in float64.

    The sum is what the checkpoints' gradients laid end to end give, each times the root of its weight: `dot` is the
    weighted sum, `‖G_d‖` the root of that of squares. `I_q` is the weighted mean over checkpoints, nats.

    Args:
        parts: Name and finished store of each checkpoint, in the order of training.
        out: Folder of the score store; a sum that was killed is made again.
        weights: Positive, of each checkpoint; None weighs all by 1.

    Raises:
        StoreError: the stores differ in more than the checkpoint, or `out` holds something else.
    """
    folder, last = Path(out), parts[-1][1]
    weights = [1.0] * len(parts) if weights is None else weights
    for name, scores in parts:
        shared = [{key: s.manifest["config"].get(key) for key in _SHARED} for s in (last, scores)]
        changed = differences(*shared)
        if changed:
            raise StoreError(
                f"The scores at {name} and at {parts[-1][0]} cannot be added: they were made otherwise.",
                have="; ".join(changed),
                fix="Add scores of the same queries and corpus, with the same layers and settings.",
            )
    members = [
        {"name": name, "config": scores.manifest["config"], **({} if weight == 1.0 else {"weight": weight})}
        for (name, scores), weight in zip(parts, weights, strict=True)
    ]
    manifest = claim(folder, "scores", {**_without_self(last.manifest["config"]), "sum": members})
    if manifest["status"] == "complete":
        return open_scores(folder)
    write_query_records(folder, last.queries)
    join_documents(folder, [last.documents])
    with whole_file(folder / ARRAYS) as part:
        joined = allocate_scores(part, len(last.queries), len(last.documents), np.float64)
        for (_, scores), weight in zip(parts, weights, strict=True):
            for row, values in enumerate(scores.dot):
                joined["dot"][row] += weight * values.astype(np.float64)
            joined["gradient_norm"] += weight * np.square(scores.gradient_norm, dtype=np.float64)
            joined["query_nll"] += weight * scores.query_nll.astype(np.float64)
        np.sqrt(joined["gradient_norm"], out=joined["gradient_norm"])
        joined["query_nll"] /= sum(weights)
        flush_arrays(joined)
    made = [scores.manifest["provenance"] for _, scores in parts]
    facts: dict[str, Any] = {k: v for k, v in made[-1].items() if k not in provenance(0.0)}
    summed = [{"name": name, **record} for (name, _), record in zip(parts, made, strict=True)]
    finish(folder, manifest, provenance(sum(record["seconds"] for record in made), **facts, summed=summed))
    return open_scores(folder)


def _without_self(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a member without what its sum has not: quadratic forms of different Hessians."""
    return {name: value for name, value in config.items() if name != SELF}


def read_weights(how: str, checkpoints: Sequence[tuple[str, str]]) -> list[float]:
    """The weight of each checkpoint in a sum.

    Args:
        how: `equal`: 1 each. `lr`: the mean learning rate since the checkpoint before, as a multiple of the mean over
            checkpoints. The rate at the checkpoint itself would be 0 at the end of most schedules. Otherwise a file of
            JSON, name -> weight.
        checkpoints: Name and folder of each, in the order of training.

    Raises:
        InputError: a checkpoint has no learning rate, or the file has no positive weight for it.
    """
    if how == EQUAL:
        return [1.0] * len(checkpoints)
    if how == LEARNING_RATE:
        rates, before = [], 0
        for name, folder in checkpoints:
            rate_of = _learning_rates(Path(folder))
            own = [rate for step, rate in rate_of.items() if step > before]
            if not own:
                raise InputError(
                    f"Checkpoint {name} does not say at what learning rate it was trained.",
                    have=f"no trainer_state.json and no {METRICS} with a learning_rate after step {before}",
                    fix="Use --weights equal, or give a file of JSON: name -> weight.",
                )
            rates.append(sum(own) / len(own))
            before = max(rate_of)
        mean = sum(rates) / len(rates)
        return [rate / mean for rate in rates] if mean else rates
    return _weights_of_file(Path(how), [name for name, _ in checkpoints])


def _learning_rates(folder: Path) -> dict[int, float]:
    """Step -> learning rate, as a Trainer or our own training logged it until this checkpoint."""
    state = folder / "trainer_state.json"
    if state.is_file():
        try:
            lines = json.loads(state.read_text(encoding="utf-8"))["log_history"]
            return {int(one["step"]): float(one["learning_rate"]) for one in lines if "learning_rate" in one}
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise InputError(
                f"{state} cannot be read.", have=str(error), fix="Use --weights equal, or a file of weights."
            ) from error
    digits = folder.name.rpartition("-")[2]
    inside = (folder / METRICS).is_file()
    last = int(digits) if digits.isdigit() and not inside else math.inf
    lines = read_metrics(folder if inside else folder.parent)
    return {
        int(one["step"]): float(one["learning_rate"])
        for one in lines
        if "learning_rate" in one and one["step"] <= last
    }


def _weights_of_file(path: Path, names: Sequence[str]) -> list[float]:
    fix = "Write a positive number for each checkpoint: " + json.dumps(dict.fromkeys(names, 1.0))
    try:
        weight_of = json.loads(path.read_text(encoding="utf-8"))
        weights = [float(weight_of[name]) for name in names]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"--weights {path} cannot be read.", have=repr(error), fix=fix) from error
    if set(weight_of) != set(names) or not all(0 < weight < math.inf for weight in weights):
        raise InputError(
            f"--weights {path} does not weigh the checkpoints.", have=", ".join(weight_of), fix=fix
        )
    return weights
