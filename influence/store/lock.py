"""One process at a time writes into a folder: it holds a lock on a file there, which ends with the process."""

from __future__ import annotations

import fcntl
import os
import warnings
from pathlib import Path

from influence.errors import StoreError

#: Folder -> descriptor of the file that is locked there.
_held: dict[Path, int] = {}


def take_lock(folder: Path, path: Path) -> None:
    """Lock the file `path` for `folder`. The process that holds it may take it again.

    Raises:
        StoreError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR)
    held = _held.get(folder.resolve())
    if held is not None and os.path.sameopenfile(held, descriptor):
        os.close(descriptor)
        return
    drop_lock(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise taken(folder) from error
    except OSError as error:  # a file system without locks
        warnings.warn(
            f"{folder} cannot be locked ({error.strerror}): start no second run in it meanwhile.",
            stacklevel=3,
        )
    _held[folder.resolve()] = descriptor


def drop_lock(folder: Path) -> None:
    """Let go of it."""
    descriptor = _held.pop(folder.resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def taken(folder: Path) -> StoreError:
    """What a second process is told."""
    return StoreError(
        f"Another process is writing into {folder}.", fix="Wait until it is done, or choose another --out."
    )
