"""A JSONL file that a run appends to and a resumed run reads: replies, completions, generations, metrics."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence.errors import StoreError

#: Most bytes of a line.
LONGEST = 1 << 26


@dataclass(frozen=True)
class Lines:
    """One JSON value a line.

    A last line without its line break is one that a kill cut short: readers leave it out, and the next append takes
    it away. Any other line that is not JSON is damage: readers leave it out with a warning, so that its work is done
    again.
    """

    path: Path

    def read(self) -> list[Any]:
        """The values of all whole lines; none where there is no file.

        Raises:
            StoreError: A line is longer than `LONGEST`.
        """
        values: list[Any] = []
        damaged = 0
        if not self.path.exists():
            return values
        with self.path.open("rb") as file:
            while line := file.readline(LONGEST + 1):
                if len(line) > LONGEST:
                    raise StoreError(
                        f"{self.path} has a line of more than {LONGEST >> 20} MiB.",
                        fix="Remove the file: what it kept is made again.",
                    )
                if not line.endswith(b"\n"):
                    break
                if not line.strip():
                    continue
                try:
                    values.append(json.loads(line.decode()))
                except (ValueError, RecursionError):
                    damaged += 1
        if damaged:
            warnings.warn(f"{self.path}: {damaged:,} damaged lines are left out.", stacklevel=2)
        return values

    def append(self, *values: Any) -> None:
        """Add lines; when this returns, a kill of the process does not lose them."""
        data = _encoded(values)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            size = file.tell()
            file.seek(max(0, size - 1))
            if file.read(1) not in (b"", b"\n"):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
            file.write(data)

    def rewrite(self, values: Iterable[Any]) -> None:
        """Replace the file by one with these lines, whole.

        The journal of the run has no checksum of it, because the file grows on: its checksum is taken at the end.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        part.write_bytes(_encoded(values))
        part.replace(self.path)


def _encoded(values: Iterable[Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode("ascii")
