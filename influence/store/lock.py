"""One process at a time writes into a folder: it holds a lock on `run.lock` there, which ends with the process."""

from __future__ import annotations

import errno
import json
import os
import socket
import warnings
from pathlib import Path

import filelock

from influence.errors import StoreError

LOCK = "run.lock"

#: Folders that this process writes into -> their locks.
_held: dict[Path, filelock.BaseFileLock] = {}
#: What a network file system says that has no locks at all.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


def take_lock(folder: Path) -> None:
    """Lock a folder; the process that holds it may take it again.

    Where a file system has no `flock`, the file's existence is the lock; `filelock` removes one whose process ended.

    Raises:
        StoreError: Another process holds it.
    """
    path = folder / LOCK
    held = _held.get(folder.resolve())
    if held is not None and held.is_locked and path.exists():
        return
    drop_lock(folder)
    lock = filelock.FileLock(path, thread_local=False, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise _taken(folder) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"{folder} cannot be locked ({error.strerror}): start no second run in it meanwhile.",
            stacklevel=3,
        )
        return
    _held[folder.resolve()] = lock
    if isinstance(lock, filelock.UnixFileLock):
        path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")


def drop_lock(folder: Path) -> None:
    """Let go of it."""
    lock = _held.pop(folder.resolve(), None)
    if lock is not None:
        if lock.is_locked and folder.exists():
            (folder / LOCK).unlink(missing_ok=True)
        lock.release(force=True)


def _taken(folder: Path) -> StoreError:
    """What a second process is told."""
    try:
        writer = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        have = f"process {int(writer['pid'])} on {writer['host']!s:.64}"
    except (OSError, ValueError, LookupError, TypeError):
        have = None
    return StoreError(
        f"Another process is writing into {folder}.",
        have=have,
        fix="Wait until it is done, or choose another --out.",
    )
