"""Checksums of the files of a run, written down before each file appears, and verified when a file is used again.

While a run writes into a folder, `run.journal` there has a line for each file that was written whole, in the format of
`sha256sum`. A resumed run uses a file only if its content stands in the journal: what was truncated, corrupted, or put
there by another run is computed again. At the end the checksums of what stays go into `manifest.json`, under `files`.

One process at a time writes into a folder: it holds a lock on `run.lock` there, which ends with the process.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import socket
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import filelock

from influence.errors import StoreError
from influence.files import JOURNAL, open_journal, sha256

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


#: Files up to this size are verified when an artefact is opened: half a second. `verify_files` reads all.
VERIFIED_AT_OPEN = 1 << 30

#: Folders of libraries' own files, which nothing here reads.
_UNLISTED = ("tensorboard",)


def keep_journal(folder: Path, process: int = 0) -> None:
    """From now on, write down every whole file that this process writes into `folder`.

    Args:
        process: Its number among those that write there. The first begins, before the others, and takes over what
            journals of an earlier run it finds: so lines of this run come after them.
    """
    if process == 0:
        _take_over(folder)
    path = folder / (JOURNAL if process == 0 else f"run.{process}.journal")
    at_once = os.O_SYNC if process else 0  # the first, maybe on another machine, reads it while it grows
    open_journal(folder, path, at_once)


def _take_over(folder: Path) -> None:
    for path in _journals(folder)[1:]:
        with (folder / JOURNAL).open("ab") as file:
            file.write(b"\n" + path.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        path.unlink()


def _journals(folder: Path) -> list[Path]:
    """The journals there; that of the first process first."""
    return [folder / JOURNAL, *sorted(folder.glob("run.*.journal"))]


def remove_journals(folder: Path) -> None:
    """Once all that stays is in the manifest."""
    for path in _journals(folder):
        path.unlink(missing_ok=True)


def read_journal(folder: Path) -> dict[str, list[str]]:
    """File -> the checksums of all that was ever written there, the newest last."""
    stats = [(path, path.stat()) for path in _journals(folder) if path.exists()]
    return _read(tuple((path, facts.st_mtime_ns, facts.st_size) for path, facts in stats))


@functools.lru_cache(maxsize=1)
def _read(journals: tuple[tuple[Path, int, int], ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, _, _ in journals:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            if name:
                found.setdefault(name, []).append(digest)
    return found


def intact(path: Path) -> bool:
    """Whether a file of an unfinished run is there as it was written; a warning where it is there otherwise."""
    if not path.exists():
        return False
    path = path.resolve()
    folder = next((parent for parent in path.parents if (parent / JOURNAL).exists()), None)
    if folder is not None and sha256(path) in read_journal(folder).get(str(path.relative_to(folder)), ()):
        return True
    warnings.warn(f"{path} is damaged or of another run: it is made again.", stacklevel=2)
    return False


def final_checksums(folder: Path, leaving: Iterable[str]) -> dict[Path, dict[str, Any]]:
    """Size and checksum of each file that a run leaves, by its path in the folder.

    Of a file that appeared whole, the checksum is the one that was written down then; of one that grew line by line,
    such as metrics, it is taken now.

    Args:
        leaving: Patterns of the names of files that go when the run is finished.
    """
    written = read_journal(folder)
    passing = (JOURNAL, "run.*.journal", LOCK, "*.part", *leaving)
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        inside = [part for part in name.parts[:-1] if part.endswith(".part") or part in _UNLISTED]
        if path.is_file() and not inside and not any(name.match(pattern) for pattern in passing):
            digests = written.get(name.as_posix())
            digest = digests[-1] if digests else sha256(path)
            files[name] = {"bytes": path.stat().st_size, "sha256": digest}
    return files


def stored_file(path: Path) -> dict[str, Any]:
    """Size and checksum of a file as it lies there."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def verify_files(folder: Path, manifest: dict[str, Any], most: int | None = None) -> int:
    """Compare files with what the manifest says of them; the number of those compared.

    Args:
        most: Read files of up to so many bytes; of larger ones compare the size only.

    Raises:
        StoreError: One is missing, or is not what the run wrote.
    """
    names = [*manifest["files"], *manifest["added"]]
    for name in names:
        verify_file(folder, manifest, name, most)
    return len(names)


def listed(manifest: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Size and checksum of a file as the manifest has them; None where it does not list the file."""
    file: dict[str, Any] | None = manifest["added"].get(name) or manifest["files"].get(name)
    return file


def verify_file(folder: Path, manifest: dict[str, Any], name: str, most: int | None = None) -> None:
    """The same for one file; nothing where the manifest says nothing of it."""
    written = listed(manifest, name)
    if written is None:
        return
    path = folder / name
    size = path.stat().st_size if path.exists() else None
    same = size == written["bytes"] and (
        (most is not None and written["bytes"] > most) or sha256(path) == written["sha256"]
    )
    if not same:
        raise StoreError(
            f"{path} is not the file that was written there.",
            have="it is missing"
            if size is None
            else f"{size:,} bytes; {written['bytes']:,} were written"
            if size != written["bytes"]
            else f"another content: its SHA-256 should be {written['sha256']}",
            fix="Restore it from a copy, or delete the folder and run the command that made it again.",
        )
