"""A progress bar with rate and estimate, for calls that are told how far they are."""

from __future__ import annotations

from typing import Any


class Bar:
    """Drawn once the first are done; a new one when the total or what is done changes.

    Args:
        unit: What is counted.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar: Any = None
        self._work: tuple[str, int] | None = None

    def __enter__(self) -> Bar:
        return self

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """So many of all are done."""
        from tqdm import tqdm

        if self._work != (what, total):
            self.__exit__()
            self._work = (what, total)
            self._bar = tqdm(total=total, unit=self._unit, desc=what or None, initial=done - 1)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
