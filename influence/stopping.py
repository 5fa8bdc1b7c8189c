"""Ctrl-C, SIGTERM and SIGHUP: what is in work is finished and saved, then the program ends. A second one ends it now.

Only the command line listens. In Python, and where a loop does not say that it looks, a signal raises at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """Whether this process was asked to end, and whether something looks at that between its steps."""

    def __init__(self) -> None:
        self.number: int | None = None  # of the signal that came
        self._looking = 0

    @property
    def asked(self) -> bool:
        """Whether a signal came: save, then `stop_if_asked`."""
        return self.number is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals in here, but not one that this program was started to ignore, as by nohup."""
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._take) for number in heard}
        try:
            yield
        finally:
            if not self.asked:
                for number, handler in before.items():
                    signal.signal(number, handler)

    @contextmanager
    def looked_at(self, looked_at: bool = True) -> Iterator[None]:
        """In here a signal raises nothing: the loop in it calls `stop_if_asked` between its steps.

        Args:
            looked_at: False changes nothing.
        """
        self._looking += looked_at
        try:
            yield
        finally:
            self._looking -= looked_at

    def stop_if_asked(self) -> None:
        """Raise KeyboardInterrupt if a signal came."""
        if self.asked:
            raise KeyboardInterrupt

    def _take(self, number: int, frame: FrameType | None) -> None:
        for other in SIGNALS:
            if signal.getsignal(other) == self._take:
                signal.signal(other, signal.SIG_DFL)
        self.number = number
        if not self._looking:
            raise KeyboardInterrupt
        with suppress(OSError):  # the terminal may be gone
            sys.stderr.write("\nFinishing the block in work; a second signal ends at once.\n")


#: Of this process.
stopping = Stopping()
