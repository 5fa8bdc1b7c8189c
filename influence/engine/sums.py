"""Sums over documents, shared by processes, stored now and then, and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from torch import Tensor

from influence.engine.batching import Columns, batches, blocks
from influence.engine.distributed import World
from influence.engine.passes import Budget, keep_step, run_blocks
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
        for batch in batches(parts[world.rank], lengths, budget.batch_tokens):
            run(batch)
            tick(int(lengths[batch].sum()))
        keep_step(
            world, lambda rank: sum(1 for _ in batches(parts[rank], lengths, budget.batch_tokens)), idle
        )

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


def _position(state: Path) -> int:
    """Blocks that are summed up in a file."""
    if not intact(state):
        return 0
    with safe_open(state, framework="pt") as file:
        return int(file.metadata()["position"])
