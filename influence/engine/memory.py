"""The most memory that a piece of work takes, and giving back what is free."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

import torch

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


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
