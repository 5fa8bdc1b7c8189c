"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Name of the journal of checksums in the folder of an unfinished run.
JOURNAL = "run.journal"
#: Folders whose journal this process writes -> the journal's file descriptor.
_journals: dict[Path, int] = {}

_UMASK = os.umask(0)
os.umask(_UMASK)


#: What libraries say whose errors are no `OSError`: safetensors and tokenizers, torch.
_SAID_OF_A_FULL_DISK = (
    "os error 28",
    os.strerror(errno.ENOSPC),
    "PytorchStreamWriter failed",
    "unexpected pos",
)


def is_full_disk(error: BaseException | None) -> bool:
    """Whether this error, or one that it was raised from or while handling, is that of a full disk."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    said = any(text in str(error) for text in _SAID_OF_A_FULL_DISK)
    return said or is_full_disk(error.__cause__ or error.__context__)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_journal(folder: Path, journal: Path, flags: int = 0) -> None:
    """From now on, write the checksum of every whole file below `folder` into `journal`, before the file appears."""
    close_journal(folder)
    _journals[folder.resolve()] = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags, 0o666)


def close_journal(folder: Path) -> None:
    """Write down no more of what appears below `folder`."""
    descriptor = _journals.pop(folder.resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def _write_down(part: Path, path: Path) -> None:
    path = path.resolve()
    folder = next((parent for parent in path.parents if parent in _journals), None)
    if folder is None:
        return
    # of folders that are being made, the name they will have
    name = Path(*(name.removesuffix(".part") for name in path.relative_to(folder).parts))
    # the first line break ends a line that a kill or a full disk cut off
    line = f"\n{sha256(part)}  {name.as_posix()}\n".encode()
    if os.write(_journals[folder], line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / JOURNAL))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write to the `.part` file this gives; it becomes `path` when all went well, and is removed when not.

    In the folder of an unfinished run its checksum is written into the journal there first, so that no file is
    without its line.

    Raises:
        OSError: of a full disk with the name of `path`, whichever library met it.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.chmod(0o666 & ~_UMASK)  # safetensors writes files that only their owner reads
        _write_down(part, path)
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if is_full_disk(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
