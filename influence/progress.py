"""How far a long call is: a bar on a terminal, elsewhere a plain line at most every 30 seconds.

`logging.getLogger("influence").setLevel(logging.ERROR)` silences it, as `influence --quiet` does.
"""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

#: Seconds between two lines where stderr is no terminal.
_SECONDS_BETWEEN_LINES = 30.0

_logger = logging.getLogger(__name__)


class Progress:
    """Progress of one piece of work on stderr, with rate and time left.

    Args:
        title: Name of the work.
        total: Units of the whole work; 0 where it is not known.
        initial: Units that were done before.
        unit: Name of a unit; `tok` (tokens) are shown in thousands and millions.
    """

    def __init__(self, title: str, total: int, initial: int = 0, unit: str = "doc") -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = self._initial = initial
        self._started = self._last_line = time.monotonic()
        self._bar: tqdm[Any] | None = None
        self._quiet = not _logger.isEnabledFor(logging.WARNING)
        if not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm  # half the time of `influence --help`

            self._bar = tqdm(
                total=total or None,
                initial=initial,
                desc=title,
                unit=unit,
                unit_scale=unit == "tok",
                dynamic_ncols=True,
                smoothing=0.1,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, units: int = 1) -> None:
        """Count more units as done."""
        self.move_to(self.done + units)

    def move_to(self, done: int) -> None:
        """Set how many units are done, which may be fewer than before when work is repeated."""
        self.done = done
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif not self._quiet and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            sys.stderr.write(self.line() + "\n")
            sys.stderr.flush()

    def line(self) -> str:
        """Return the progress in one plain line."""
        from tqdm import tqdm

        rate = max(0, self.done - self._initial) / max(time.monotonic() - self._started, 1e-9)
        text = f"{self.title}: {self.done:,}"
        if self.total:
            text += f" of {self.total:,} {self.unit} ({self.done / self.total:.0%})"
        else:
            text += f" {self.unit}"
        text += f", {tqdm.format_sizeof(rate)} {self.unit}/s"
        if self.total and rate > 0:
            text += f", {tqdm.format_interval(max(0, self.total - self.done) / rate)} left"
        return text
