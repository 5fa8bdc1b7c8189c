"""Length-sorted batches under a token budget, in blocks that can be resumed, and the memory that they take.

Documents are ordered longest first, so that the first batch is the one that needs most memory. A block is a run of
that order with a fixed number of tokens, whatever the budget: the budget may shrink on the way without moving a
block's border.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from influence.errors import ComputeError

#: Column numbers of documents, `[D]` or a part of it.
Columns = npt.NDArray[np.int64]

#: Tokens of a block whose results become a file. A kill costs less: see `influence.engine.loops`.
BLOCK_TOKENS = 1 << 18
#: Padded tokens of a batch to begin with: on a CPU its caches like small ones, a GPU must be filled.
BATCH_TOKENS = 1 << 10
GPU_BATCH_TOKENS = 1 << 14


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Padded documents. `input_ids [B, T]` int64; `mask_BT` marks real tokens, `loss_BT` those whose loss counts."""

    input_ids: Tensor
    mask_BT: Tensor
    loss_BT: Tensor

    def mask_at(self, position_BR: Tensor) -> Tensor:
        """The mask of rows that stand at these positions of their documents, −1 for none: `[B, R]`."""
        return self.mask_BT.gather(1, position_BR.clamp(min=0)) & (position_BR >= 0)


def length_order(lengths: Columns) -> Columns:
    """Columns sorted by length, longest first; equal lengths stay in document order."""
    return np.argsort(-lengths, kind="stable")


def blocks(lengths: Columns, block_tokens: int, done: int = 0) -> list[Columns]:
    """Columns of each block, in the order they are run.

    Args:
        done: A block ends after this many documents, the first of the order. The other borders do not depend on it, so
            that a run that goes on adds up as one that was not disturbed.
    """
    order = length_order(lengths)
    ordered = lengths[order]
    number = (np.cumsum(ordered) - ordered) // block_tokens
    borders = np.flatnonzero(np.diff(number)) + 1
    return np.split(order, np.union1d(borders, [done]) if 0 < done < len(order) else borders)


def usual_batch_tokens(device: torch.device) -> int:
    """Padded tokens of a batch that suit a device."""
    return BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS


def batches(columns: Columns, lengths: Columns, batch_tokens: int) -> Iterator[Columns]:
    """Cut a block into batches whose padded size is at most `batch_tokens` (one document at least)."""
    start = 0
    while start < len(columns):
        rows = max(1, batch_tokens // int(lengths[columns[start]]))
        yield columns[start : start + rows]
        start += rows


def pad(
    tokens: Sequence[npt.NDArray[np.int32] | list[int]],
    device: torch.device,
    starts: Sequence[int] | None = None,
    masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
) -> TokenBatch:
    """Pad on the right.

    Position 0 is predicted by nothing. Padding needs no attention mask: in a causal model no real token sees it.

    Args:
        starts: First position of each document whose loss counts; default 1.
        masks: Of the positions from there on, those that count; None: all of a document.
    """
    lengths = np.array([len(t) for t in tokens])
    ids = np.zeros((len(tokens), lengths.max()), np.int64)
    for row, t in enumerate(tokens):
        ids[row, : len(t)] = t
    position_T = np.arange(lengths.max())
    mask = position_T < lengths[:, None]
    first = np.ones(len(tokens)) if starts is None else np.array(starts)
    loss = mask & (position_T >= first[:, None])
    for row, counts in enumerate(masks or ()):
        if counts is not None:
            loss[row, : len(counts)] &= counts
    return TokenBatch(*(torch.from_numpy(array).to(device) for array in (ids, mask, loss)))


_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Budget:
    """Padded tokens of a batch; halves each time memory runs out.

    Args:
        lockstep: Processes must make the same number of batches, so none may halve by itself.
    """

    def __init__(self, batch_tokens: int, lockstep: bool = False) -> None:
        self.batch_tokens = batch_tokens
        self.halvings = 0
        self._lockstep = lockstep

    def shrink(self, longest: int, error: BaseException) -> None:
        """Halve; ComputeError once a batch was a single document already."""
        if self._lockstep:
            raise ComputeError(
                f"Not enough memory for batches of {self.batch_tokens} tokens.",
                have=str(error).partition("\n")[0] or type(error).__name__,
                fix="Lower --batch-tokens: with --fsdp batches do not shrink by themselves.",
            ) from error
        if self.batch_tokens <= longest:
            raise ComputeError(
                f"Not enough memory for a single document of {longest} tokens.",
                have=str(error).partition("\n")[0] or type(error).__name__,
                fix="Lower --max-length, use --dtype bfloat16, or track fewer --layers.",
            ) from error
        self.batch_tokens //= 2
        self.halvings += 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is an allocator's refusal, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


class PeakMemory:
    """Most memory of the process and of a GPU since this was made, bytes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._resets = _RESET.exists()
        if self._resets:
            _RESET.write_text("5", encoding="ascii")  # the high water mark falls to what is used now
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def read(self) -> tuple[int | None, int | None]:
        """`(of the process, on the GPU)`; None where the system does not say, or there is no GPU."""
        host = most_memory() if self._resets else None
        device = torch.cuda.max_memory_reserved(self._device) if self._device.type == "cuda" else None
        return host, device


def most_memory() -> int | None:
    """Most memory of the process so far, or since a `PeakMemory` was made; None where the system does not say."""
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii")) if _STATUS.exists() else None
    return int(found[1]) * 1024 if found else None


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where the C library can (glibc): it keeps it otherwise."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
