"""Sums over documents, shared by processes, stored now and then, and resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from torch import Tensor

from influence.engine.batching import Columns, batches, blocks, pad
from influence.engine.distributed import World
from influence.engine.passes import Budget, backward, run_blocks
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.store.documents import DocumentTable
from influence.store.factors import save_tensors
from influence.store.journal import intact


def sum_over_documents(
    title: str,
    state: Path,
    sums: dict[str, Tensor],
    lengths: Columns,
    budget: Budget,
    world: World,
    *,
    run: Callable[[Columns], Any],
    idle: Callable[[], Any],
) -> None:
    """Run all documents through `run`, batch by batch, which adds to `sums`; on the first process they end up whole.

    Each process takes its part of the documents of some blocks. When the state is stored the first adds up what all
    have. So it does not depend on how many processes there are, and a run may go on with another number of them.

    Args:
        state: The file of the unfinished sums; stays.
        idle: A pass that adds nothing, with FSDP, for a process that has fewer batches than others.
    """
    plan = blocks(lengths)
    stored = world.broadcast(_position(state) if world.first else 0)

    def restore() -> int:
        for tensor in sums.values():
            tensor.zero_()
        if world.first and stored:
            with safe_open(state, framework="pt") as file:
                for name, tensor in sums.items():
                    tensor.copy_(file.get_tensor(name))
        return stored

    def save(position: int) -> None:
        nonlocal stored
        world.sum_to_first(sums.values())
        if world.first:
            save_tensors(state, sums, {"position": str(position)})
        stored = position

    def run_part(block: int, tick: Callable[[float], Any]) -> None:
        columns = np.concatenate(plan[block : block + world.size])
        parts = [columns[rank :: world.size] for rank in range(world.size)]
        own = list(batches(parts[world.rank], lengths, budget.batch_tokens))
        for batch in own:
            run(batch)
            tick(int(lengths[batch].sum()))
        if world.fsdp:
            most = max(sum(1 for _ in batches(part, lengths, budget.batch_tokens)) for part in parts)
            for _ in range(most - len(own)):
                idle()

    run_blocks(
        [int(lengths[block].sum()) for block in plan],
        int(lengths.max()),
        budget,
        restore=restore,
        run=run_part,
        save=save,
        title=title,
        world=world,
    )


def idle_pass(model: LanguageModel, layers: Sequence[TrackedLayer], table: DocumentTable) -> None:
    """A pass whose result is dropped. It takes the longest document, so that no layer is without effect."""
    tokens = table.tokens(int(table.lengths.argmax()))
    backward(model, layers, pad([tokens], model.device), lambda *_: None, what="a pass that only keeps step")


def _position(state: Path) -> int:
    """Blocks that are summed up in a file."""
    if not intact(state):
        return 0
    with safe_open(state, framework="pt") as file:
        return int(file.metadata()["position"])
