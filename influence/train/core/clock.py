"""When a training tells people how far it is, and when it saves a state to resume from."""

from __future__ import annotations

import time

_BETWEEN_LINES = 10.0


class Clock:
    """Time, steps and tokens of this process; seconds of the processes before it are added to `seconds`."""

    def __init__(self) -> None:
        self._started = self._saved = self._told = time.monotonic()
        self._before = 0.0
        self._steps = self._tokens = 0

    def resume(self, seconds: float) -> None:
        """Count on from the seconds of the process that was killed."""
        self._before = seconds

    def count(self, tokens: int) -> None:
        """A step is done, of so many tokens with padding."""
        self._steps += 1
        self._tokens += tokens

    @property
    def seconds(self) -> float:
        """Seconds of the whole run."""
        return self._before + self._here

    @property
    def _here(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)

    @property
    def tokens_per_second(self) -> float:
        """Trained tokens a second, checks and checkpoints included in the time."""
        return self._tokens / self._here

    def left(self, steps: int) -> str:
        """The time that so many more steps take at the mean pace of this process."""
        return duration(self._here / max(1, self._steps) * steps)

    def line_due(self) -> bool:
        """Whether it is time for a line of progress; true once every ten seconds."""
        now = time.monotonic()
        due = now - self._told >= _BETWEEN_LINES
        self._told = now if due else self._told
        return due

    def save_due(self, every: float) -> bool:
        """Whether it is time for a state to resume from; true once every so many seconds."""
        now = time.monotonic()
        due = now - self._saved >= every
        self._saved = now if due else self._saved
        return due


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
