"""Several processes that share one run: every collective there is. Starting them is `torchrun`'s business.

The first process alone claims the folder, tokenises, sums and finishes; the others share the passes over documents. A
world of one does nothing here, and starts no process group.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from influence.engine.parallel.heartbeat import Heartbeat
from influence.errors import ComputeError, InputError
from influence.models.layers import decoder_blocks
from influence.models.load import LanguageModel

T = TypeVar("T")

#: Collectives wait as long as it takes: the first process may tokenise for hours. `Heartbeat` sees who is gone.
_LONG = timedelta(days=365)
_starts = itertools.count()
_START = timedelta(minutes=10)
#: Seconds for which a network file system may hide a new file.
_HIDDEN = 90.0


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
        device: Where this one computes; None: wherever models go by default.
        fsdp: Models are sharded over all of them, so that each must go through a model as often as the others.
    """

    rank: int = 0
    size: int = 1
    device: str | None = None
    fsdp: bool = False

    @property
    def first(self) -> bool:
        """Whether this process claims, tokenises, sums and finishes."""
        return self.rank == 0

    @property
    def loads_on(self) -> str | None:
        """Where to load a model: one to `shard` goes to its devices part by part."""
        return "cpu" if self.fsdp else self.device

    def broadcast(self, value: T) -> T:
        """What the first process gives, on all: a JSON value. The others wait for it."""
        if self.size == 1:
            return value
        data = np.frombuffer(json.dumps(value).encode() if self.first else b"", np.uint8).copy()
        with _connected():
            size = torch.tensor([len(data)])
            dist.broadcast(size, src=0)
            buffer = torch.from_numpy(data) if self.first else torch.empty(int(size), dtype=torch.uint8)
            dist.broadcast(buffer, src=0)
        result: T = json.loads(buffer.numpy().tobytes())
        return result

    def barrier(self, read: Iterable[Path] = ()) -> None:
        """Wait for all, and for files that this process is to `read`: a network file system hides new ones a while."""
        if self.size == 1:
            return
        with _connected():
            dist.all_reduce(torch.zeros(1))
        deadline = time.monotonic() + _HIDDEN
        for path in read:
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.5)

    def sum_to_first(self, tensors: Iterable[Tensor]) -> None:
        """Add up in place what all processes hold; the first has the sum, the others zeros to go on from."""
        if self.size == 1:
            return
        for tensor in tensors:
            with _connected():
                dist.reduce(tensor, dst=0)
            if not self.first:
                tensor.zero_()

    def shard(self, model: LanguageModel) -> LanguageModel:
        """With FSDP: change the model so that each process keeps a part of every weight, frozen, on its device."""
        if not self.fsdp:
            return model
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        if isinstance(model.model, FSDPModule):
            return model
        _ = model.fingerprint, model.tokenizer_fingerprint  # of the whole weights
        model.model.requires_grad_(False)
        mesh = init_device_mesh(torch.device(self.device or "cpu").type, (self.size,))
        for module in (*decoder_blocks(model.model), model.model):
            fully_shard(module, mesh=mesh)
        return model


#: A process by itself.
ALONE = World()


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ComputeError(
            "A process of this run is gone: the connection to it was lost.",
            have=str(error).strip().partition("\n")[0],
            fix="Look above for what ended it; the same command goes on where this run stopped.",
        ) from error


def launched() -> bool:
    """Whether torchrun started this process."""
    return all(
        name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    )


@contextmanager
def processes(device: str | None = None, *, fsdp: bool = False) -> Iterator[World]:
    """The processes that torchrun started, joined into a world; without torchrun a world of one.

    Args:
        device: `cpu`, or `cuda`: the GPU of the process's number on its machine. Default: GPUs where there are any.
        fsdp: Shard models over the processes.

    Raises:
        InputError: FSDP without torchrun, or fewer GPUs than processes.
        ComputeError: some processes did not start.
    """
    if not launched():
        if fsdp:
            raise InputError(
                "--fsdp shards a model over processes, and torchrun did not start any.",
                fix="torchrun --nproc-per-node 4 -m influence … --fsdp",
            )
        yield World(device=device)
        return
    device = _own_device(device, int(os.environ["LOCAL_RANK"]))
    try:
        store, rank, size = next(rendezvous("env://", timeout=_START))
        heartbeat = Heartbeat(rank, size)
        backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
        dist.init_process_group(
            backend,
            store=PrefixStore(f"influence/{next(_starts)}", store),
            rank=rank,
            world_size=size,
            timeout=_LONG,
        )
    except RuntimeError as error:
        raise ComputeError(
            "The processes of this run could not join.",
            have=str(error).strip().partition("\n")[0],
            fix="Between machines: do they reach each other at --rdzv-endpoint? See docs/scale.md.",
        ) from error
    world = World(rank, size, device, fsdp)
    yield world
    world.barrier()  # not after an error: the others may be anywhere
    heartbeat.stop()
    dist.destroy_process_group()


def _own_device(asked: str | None, number: int) -> str:
    kind = asked or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cpu":
        return kind
    if kind != "cuda":
        raise InputError(f"--device {kind} would be that of every process.", fix="Give cpu or cuda.")
    if number >= torch.cuda.device_count():
        raise InputError(
            "There are more processes than GPUs on this machine.",
            have=f"{torch.cuda.device_count()} GPUs",
            fix=f"torchrun --nproc-per-node {max(1, torch.cuda.device_count())}, or --device cpu.",
        )
    torch.cuda.set_device(number)
    return f"cuda:{number}"


def shares_of_missing(costs: Sequence[float], whole: Callable[[int], bool], world: World) -> list[list[int]]:
    """Numbers of the jobs of an unfinished run whose results are not there `whole`, dealt out: each process's to do."""
    done = [whole(number) for number in range(len(costs))] if world.first else []
    missing = world.broadcast([number for number, there in enumerate(done) if not there])
    return dealt_by_cost({number: costs[number] for number in missing}, world.size)


def dealt_by_cost(costs: Mapping[int, float], size: int) -> list[list[int]]:
    """The jobs of each process: the costliest first, each to whoever has least to do so far. Equal ones go in turn."""
    shares: list[list[int]] = [[] for _ in range(size)]
    loads = [0.0] * size
    for job in sorted(costs, key=lambda job: -costs[job]):
        least = loads.index(min(loads))
        shares[least].append(job)
        loads[least] += costs[job]
    return shares
