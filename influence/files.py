"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Called with each file before it appears: its `.part`, then the path it will have.
observers: list[Callable[[Path, Path], None]] = []

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


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write to the `.part` file this gives; it becomes `path` when all went well, and is removed when not.

    Raises:
        OSError: of a full disk with the name of `path`, whichever library met it.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.chmod(0o666 & ~_UMASK)  # safetensors writes files that only their owner reads
        for observe in observers:
            observe(part, path)
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if is_full_disk(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
