"""How far a run is and how fast: the clock of a run, and the line that people see."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from influence.train.stepwise.check import Check

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

    @property
    def seconds_per_step(self) -> float:
        """Mean over this process."""
        return self._here / max(1, self._steps)

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


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is. `loss` is in nats a predicted token, over training since the last check."""

    level: int
    levels: int
    removed: int
    total: int
    step: int
    most_steps: int
    loss: float
    check: Check | None
    tokens_per_second: float
    seconds_left: float
    at_most: bool

    def line(self) -> str:
        """One line for people."""
        parts = [
            f"stage {self.level + 1}/{self.levels}",
            f"{self.removed} of {self.total} removed",
            f"step {self.step:,}/{self.most_steps:,}",
            f"loss {self.loss:.4f}",
        ]
        if self.check is not None:
            parts.append(
                f"answer {self.check.answer_accuracy:.1%}, whole target {self.check.target_accuracy:.1%}"
            )
        parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        parts.append(("at most " if self.at_most else "") + f"{duration(self.seconds_left)} left")
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
