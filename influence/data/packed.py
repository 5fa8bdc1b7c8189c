"""The lines of files that may be packed, with limits on what an archive may become."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from influence.errors import InputError

#: Most bytes of one record: a line, or a text file. A longer one is no document, and would fill the memory.
MOST_RECORD_BYTES = 1 << 26
#: An archive may expand to this many times its size, and to `MOST_RECORD_BYTES` in any case. Text does to ten times.
MOST_EXPANSION = 200
#: Most blank lines in a row: an archive of nothing else would take minutes.
MOST_BLANK_LINES = 100_000

_ZSTD_CHUNK = 1 << 10  # a kilobyte may expand to 32 MB


def read_whole(path: Path) -> bytes:
    """The bytes of a file that is one record."""
    try:
        if path.stat().st_size > MOST_RECORD_BYTES:
            raise _too_long(path)
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read.", have=error.strerror, fix="Check its permissions."
        ) from error


def file_lines(path: Path) -> Generator[bytes, None, None]:
    """The lines of a file, unpacked."""
    try:
        opened = _open(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read.", have=error.strerror, fix="Check its permissions."
        ) from error
    with opened as file:
        yield from _lines(file, path)


def _lines(file: io.BufferedIOBase, path: Path) -> Iterator[bytes]:
    """The lines of an open file; a damaged archive is an input error."""
    import zstandard

    size = path.stat().st_size
    most = max(MOST_EXPANSION * size, MOST_RECORD_BYTES)
    read = blank = 0
    try:
        while line := file.readline(MOST_RECORD_BYTES + 1):
            read += len(line)
            blank = blank + 1 if line.isspace() else 0
            if blank > MOST_BLANK_LINES:
                raise InputError(
                    f"{path} has more than {MOST_BLANK_LINES:,} blank lines in a row.",
                    fix="Look at it; a corpus has a document on each line.",
                )
            if len(line) > MOST_RECORD_BYTES:
                raise _too_long(path)
            if path.suffix.lower() in (".gz", ".zst") and read > most:
                raise InputError(
                    f"{path} expands to more than {MOST_EXPANSION:,} times its size, as no text does.",
                    have=f"{read:,} bytes so far from {size:,}",
                    fix="Unpack it and look at it; a plain .jsonl file is read whatever its size.",
                )
            yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        if "too much memory" in str(error):
            raise InputError(
                f"{path} was packed with a window of more than 128 MiB (zstd --long).",
                have=first_line(error),
                fix="Unpack it with zstd -d --long=31, and pack it again without --long, or give it unpacked.",
            ) from error
        raise InputError(
            f"{path} is damaged or not the archive its name says.",
            have=first_line(error),
            fix="Make it again.",
        ) from error


def _too_long(path: Path) -> InputError:
    return InputError(
        f"{path} has a record of more than {MOST_RECORD_BYTES >> 20} MiB.",
        fix="Cut it into documents; a document is read up to --max-length tokens only.",
    )


def _open(path: Path) -> io.BufferedIOBase:
    if not path.is_file():
        raise InputError(f"{path} is no file.", fix="Give a file, or a folder of such files.")
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(_ZstdFile(path))
    return path.open("rb")


class _ZstdFile(io.RawIOBase):
    """The text of a zstd file of any number of frames.

    Unlike `zstandard.open` it raises `EOFError` when the last frame is cut off: half a corpus is no corpus.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: Any = None  # None between two frames
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            compressed = self._file.read(_ZSTD_CHUNK)
            if not compressed:
                if self._frame is not None:
                    raise EOFError("the last frame is cut off")
                return 0
            self._pending = memoryview(self._decompress(compressed))
        count = min(len(buffer), len(self._pending))
        buffer[:count], self._pending = self._pending[:count], self._pending[count:]
        return count

    def _decompress(self, compressed: bytes) -> bytes:
        import zstandard

        parts = []
        while compressed:
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            parts.append(self._frame.decompress(compressed))
            compressed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()
        super().close()


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
