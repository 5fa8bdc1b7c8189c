"""What is fixed before the first step of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from influence.train.stepwise.batches import Cut, Order
from influence.train.stepwise.schedule import Place, Schedule, draw_removed
from influence.train.stepwise.sequences import Int64, Sequences
from influence.train.stepwise.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that is fixed before the first step.

    Args:
        out: Folder of the run.
        about: What each `stage.json` says besides the stage's own.
        check_rows: Held-out examples of a check.
        resume_seconds: Seconds between two states to resume from.
        tell: Takes lines of progress.
    """

    out: Path
    settings: Settings
    schedule: Schedule
    train: Sequences
    valid: Sequences
    order: Order
    cut: Cut
    check_every: int
    check_rows: Int64
    about: dict[str, Any]
    resume_seconds: float
    tell: Callable[[str], None]

    def amounts(self, step: int, place: Place, count: int) -> Int64:
        """How much each example of a step loses, int64 `[count]`; a function of seed, step and place."""
        pure = self.settings.mode != "stepwise" or step < self.schedule.explicit
        return draw_removed(
            np.random.default_rng([self.settings.seed, step, 1]),
            count,
            self.schedule.removed(place),
            self.schedule.total,
            smoothing=None if pure else self.settings.smoothing,
            random_cut=self.settings.random_cut and not pure,
        )
