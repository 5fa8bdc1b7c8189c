"""Memory: the budget of a batch, the most that a piece of work takes, and giving back what is free."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

import torch

from influence.errors import ComputeError

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
