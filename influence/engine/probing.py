"""Before the first batch of a run: its documents fit the model, and their gradients are their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from influence.engine.batching import usual_batch_tokens
from influence.engine.memory import Budget
from influence.engine.parallel.distributed import ALONE, World
from influence.errors import ModelError
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.probe import Independence, embedding_rows, independence
from influence.store.documents import DocumentTable
from influence.store.factors import load_tensors


def probed_budget(
    model: LanguageModel, table: DocumentTable, batch_tokens: int | None, world: World = ALONE
) -> tuple[Budget, dict[str, Any]]:
    """The budget of a run's batches, and what the probes of the model found, for the manifest.

    Where a document's loss changes with its neighbour, each batch holds one document. The probe takes as long as one
    or two batches of the run.

    Args:
        batch_tokens: Padded tokens of a batch; None takes what suits the device.

    Raises:
        ModelError: the model is not causal, or keeps a state; or a document has a token that the model has no
            embedding of.
    """
    model.require_causal()
    _require_embeddings(model, table)
    wanted = batch_tokens or usual_batch_tokens(model.device)
    found = _independence(model, table, wanted)
    budget = Budget(1 if found.alone else wanted, lockstep=world.fsdp)
    return budget, {"later_tokens": model.movement, **asdict(found), "alone": found.alone}


def _independence(model: LanguageModel, table: DocumentTable, batch_tokens: int) -> Independence:
    """Probe the longest document that shares a batch with another, and one of middle length."""
    lengths = table.lengths
    order = np.argsort(lengths, kind="stable")
    sharing = order[2 * lengths[order] <= batch_tokens]
    if not len(table):
        return Independence(None, 0.0, model.rounding**0.5)
    if len(sharing) < 2:
        return independence(model.model, table.tokens(int(order[0])), None, model.rounding)
    longer, shorter = int(sharing[-1]), int(sharing[(len(sharing) - 1) // 2])
    return independence(model.model, table.tokens(longer), table.tokens(shorter), model.rounding)


def _require_embeddings(model: LanguageModel, table: DocumentTable) -> None:
    rows = embedding_rows(model.model)
    if table.highest_token < rows:
        return
    column = next(c for c in range(len(table)) if table.tokens(c).max() >= rows)
    token = int(table.tokens(column).max())
    raise ModelError(
        f"{model.name} has no embedding of a token in document {table.take('id', [column])[0]}.",
        have=f"token {token} {model.tokenizer.convert_ids_to_tokens(token)!r}, and {rows:,} embeddings",
        fix="Use the tokenizer that the model was trained with, or leave the document out of the corpus.",
    )


def unreached(layers: Sequence[TrackedLayer], folder: Path) -> str:
    """What the summary of a fit says of tracked layers that no document reaches: the Hessian leaves them out."""
    covered = load_tensors(folder / "num_lambda_processed.safetensors")
    names = [layer.name for layer in layers if layer.name not in covered]
    if not names:
        return ""
    first = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"; {len(names)} tracked layers have no gradient on any document and contribute nothing: {first}"
