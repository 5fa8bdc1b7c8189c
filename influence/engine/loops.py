"""The loops over documents that every pass shares: blocks of batches, stored each minute, gone on with after a kill.

What is done of a block, or summed up, is stored each minute: a kill costs that much, whatever the size of the model.
It is stored too when the program is asked to end, which it then does.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from torch import Tensor

from influence.engine.batching import Budget, Columns, batches, blocks, is_out_of_memory
from influence.engine.parallel.distributed import ALONE, World, shares_of_missing
from influence.progress import Progress
from influence.stopping import stopping
from influence.store.arrays import map_arrays, write_arrays
from influence.store.factors import save_tensors
from influence.store.journal import intact

#: Arrays that have a row for each of some documents, by name.
Arrays = dict[str, npt.NDArray[Any]]

SECONDS_BETWEEN_SAVES = 60.0
#: After so many batches a pass that sums looks whether to store its sums.
_BATCHES_A_LOOK = 4

_logger = logging.getLogger(__name__)


def keep_step(world: World, passes: Callable[[int], int], idle: Callable[[], Any]) -> None:
    """With FSDP: `idle` as often as this process makes fewer `passes`, by rank, than the one that makes most."""
    if world.fsdp:
        for _ in range(max(map(passes, range(world.size))) - passes(world.rank)):
            idle()


def run_blocks(
    sizes: Sequence[int],
    longest: int,
    budget: Budget,
    *,
    run: Callable[[int, Callable[[int], Any]], Any],
    title: str,
    restore: Callable[[], int] = lambda: 0,
    save: Callable[[int], None] | None = None,
    world: World = ALONE,
) -> None:
    """Run all blocks, resuming where `restore` says, going back there with half the budget when memory runs out.

    Args:
        sizes: Tokens of each block, for the progress bar: documents come longest first, so their rate misleads.
        run: Run one block, calling the function it is given with the tokens of each batch done.
        restore: Bring the state back to what is stored and return the number of finished blocks.
        save: Store the state after so many blocks; called each minute and at the end. None: `run` stores by itself.
        world: Processes that take so many blocks at a time between them, `run` this one's part of all from the number
            it is given; they `save` together, and none of them `restore`s but by itself.
    """
    position = met = restore()
    saved = time.monotonic()
    alone = world.size == 1  # of several processes each must take part when the others save
    with Progress(title, sum(sizes), sum(sizes[:position]), unit="tok") as bar, stopping.looked_at(alone):
        while position < len(sizes):
            try:
                run(position, lambda tokens: bar.advance(tokens * world.size))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                budget.shrink(longest, error)
                error.__traceback__ = None  # it holds the tensors that filled the memory
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                position = restore() if save else position
                bar.move_to(sum(sizes[:position]))
                _logger.warning("Out of memory: batches of %d tokens from here on.", budget.batch_tokens)
                continue
            position = min(position + world.size, len(sizes))
            if save is not None and position > met:  # the others do not go back when memory runs out here
                met = position
                if world.broadcast(position == len(sizes) or _save_due(saved)):
                    save(position)
                    saved = time.monotonic()
            stopping.stop_if_asked()


def _save_due(saved: float) -> bool:
    """Whether it is time to store what is done since `saved`: a minute, or the program is to end."""
    return stopping.asked or time.monotonic() - saved > SECONDS_BETWEEN_SAVES


def run_missing(
    plan: Sequence[Columns],
    lengths: Columns,
    budget: Budget,
    world: World,
    *,
    whole: Callable[[int], bool],
    part: Callable[[int], Path],
    groups: Callable[[Columns], list[list[Columns]]],
    run: Callable[[list[Columns]], Arrays],
    write: Callable[[int, Arrays], Any],
    idle: Callable[[], Any],
    title: str,
) -> None:
    """Run the blocks whose results are not there yet, dealt out among the processes.

    Args:
        plan: Columns of each block.
        lengths: Tokens of each document.
        whole: Whether the result of a block is stored.
        part: The file that holds what is done of an unfinished block; it is removed with the block's end.
        groups: Cut documents into groups of batches; those after a group are cut the same way by themselves.
        run: Run one group: arrays with a row for each of its documents.
        write: Store the arrays of all documents of a block, by its number.
        idle: With FSDP: a pass that adds nothing.
    """
    shares = shares_of_missing([1] * len(plan), whole, world)
    own = shares[world.rank]
    left = {
        number: plan[number][_stored_rows(part(number), plan[number])[0] :]
        for number in itertools.chain(*shares)
    }
    # before the run, which removes the parts; and only where it is wanted: all batches of the corpus are cut for it
    counted = shares if world.fsdp else []
    passes = [sum(len(group) for number in share for group in groups(left[number])) for share in counted]

    def run_block(at: int, tick: Callable[[int], Any]) -> None:
        number = own[at]
        file, columns = part(number), plan[number]
        done, *rows = _stored_rows(file, columns)
        saved = time.monotonic()
        for group in groups(columns[done:]):
            rows.append(run(group))
            done += sum(map(len, group))
            tick(sum(int(lengths[batch].sum()) for batch in group))
            if done < len(columns) and _save_due(saved):
                rows = [_joined(rows)]
                write_arrays(file, {**rows[0], "column": columns[:done]})
                saved = time.monotonic()
                stopping.stop_if_asked()
        write(number, _joined(rows))
        file.unlink(missing_ok=True)

    run_blocks(
        [int(lengths[left[number]].sum()) for number in own],
        int(lengths.max(initial=1)),
        budget,
        run=run_block,
        title=title if world.size == 1 else f"{title}, 1 of {world.size} processes",
    )
    keep_step(world, passes.__getitem__, idle)


def _stored_rows(file: Path, columns: Columns) -> tuple[int, *tuple[Arrays, ...]]:
    """How many documents of a block are done in the file of its finished part, and their arrays if there are any."""
    if not intact(file):
        return (0,)
    arrays = {name: np.array(values) for name, values in map_arrays(file).items()}
    done = arrays.pop("column")
    return (len(done), arrays) if np.array_equal(done, columns[: len(done)]) else (0,)


def _joined(rows: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}


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
    stored = world.broadcast(_documents_in(state) if world.first else 0)
    plan = blocks(lengths, world.broadcast(_BATCHES_A_LOOK * budget.batch_tokens), stored)
    documents = np.cumsum([len(block) for block in plan])

    def restore() -> int:
        for tensor in sums.values():
            tensor.zero_()
        if world.first and stored:
            with safe_open(state, framework="pt") as file:
                for name, tensor in sums.items():
                    tensor.copy_(file.get_tensor(name))
        return int(np.searchsorted(documents, stored, side="right"))

    def save(position: int) -> None:
        nonlocal stored
        world.sum_to_first(sums.values())
        stored = int(documents[position - 1])
        if world.first:
            save_tensors(state, sums, {"documents": str(stored)})

    def run_part(block: int, tick: Callable[[int], Any]) -> None:
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


def _documents_in(state: Path) -> int:
    """How many documents, the first of the order, are summed up in a file; none in one of an earlier version."""
    if not intact(state):
        return 0
    with safe_open(state, framework="pt") as file:
        return int(file.metadata().get("documents", 0))
