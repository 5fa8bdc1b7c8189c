"""When how much of the chain of thought is removed: pure functions of the step and of what was measured.

A schedule passes *levels*: amounts of removed tokens (or whole steps of the chain), from nothing to everything. Its
*pace* says when the next level begins: linearly in time, `s(t) = Δ·t / T`, or as soon as the model has recovered from
the last removal. Around the scheduled amount each example draws its own, by *smoothing* or by a *random cut*.

Source of the linear pace, smoothing and `remove_all_beyond`: Deng, Choi, Shieber, arXiv 2405.14838.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from influence.errors import InputError

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Linear:
    """Level s begins as soon as Δ·t / T ≥ s: Δ removals an epoch of T steps."""

    delta: float
    steps_per_epoch: int

    def begins(self, amount: int) -> int:
        """Steps after which `amount` is removed."""
        return math.ceil(amount * self.steps_per_epoch / Fraction(str(self.delta)))


@dataclass(frozen=True, slots=True)
class Recovery:
    """The next level begins when accuracy has recovered.

    Args:
        accuracy: Share of held-out examples whose whole target (what is left of the chain, and the answer) must be
            right, teacher-forced.
        patience: Checks in a row that must show it.
        cap: Most steps at one level; then it goes on regardless, and the stage is marked `capped`.
    """

    accuracy: float
    patience: int
    cap: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its schedule a run is: all a killed run needs to go on.

    Args:
        level: Number of the level.
        since: Optimizer steps done when it began.
        streak: Checks in a row that showed recovery.
        capped: The level before this one ended by its cap.
    """

    level: int = 0
    since: int = 0
    streak: int = 0
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """The levels of a run and their pace.

    Args:
        levels: Rising amounts from the first to the last; the last stands for `total`.
        total: Everything: the longest chain.
        pace: When the next level begins; irrelevant where there is one level.
        explicit: Steps of pure explicit chain of thought before the pace begins.
        after: Steps at the last level. With `Recovery` it ends before, once it has recovered.
    """

    levels: tuple[int, ...]
    total: int
    pace: Linear | Recovery
    explicit: int = 0
    after: int = 0

    @property
    def last(self) -> int:
        """Number of the last level."""
        return len(self.levels) - 1

    @property
    def most_steps(self) -> int:
        """Steps of the whole run; the most there can be where the pace waits for recovery."""
        if isinstance(self.pace, Linear):
            return self.explicit + (self.pace.begins(self.levels[-1]) if self.last else 0) + self.after
        return self.explicit + self.last * self.pace.cap + self.after

    def removed(self, place: Place) -> int:
        """The scheduled amount of a level."""
        return self.total if place.level == self.last and self.levels[-1] else self.levels[place.level]

    def advance(self, place: Place, step: int, accuracy: float | None = None) -> Place:
        """The place of the next step, after `step` steps are done.

        Args:
            accuracy: What a check at this step measured; None where there was no check.
        """
        if isinstance(self.pace, Linear):
            due = self.explicit + self.pace.begins(self.levels[min(place.level + 1, self.last)])
            return Place(place.level + 1, step) if place.level < self.last and step >= due else place
        if step <= self.explicit:
            return replace(place, since=step)
        if accuracy is not None:
            place = replace(place, streak=place.streak + 1 if accuracy >= self.pace.accuracy else 0)
        recovered = place.streak >= self.pace.patience
        capped = step - place.since >= self.pace.cap and not recovered
        if place.level == self.last or not (recovered or capped):
            return place
        return Place(place.level + 1, step, capped=capped)

    def finished(self, place: Place, step: int) -> bool:
        """Whether the run ends after `step` steps; `place` is what `advance` gave for it."""
        if place.level < self.last:
            return False
        recovered = isinstance(self.pace, Recovery) and self.last > 0 and place.streak >= self.pace.patience
        return recovered or step >= max(place.since, self.explicit) + self.after


def every_level(last: int) -> tuple[int, ...]:
    """One more at a time: 0, 1, 2, …, last."""
    return tuple(range(last + 1))


def geometric_levels(last: int, ratio: float = 2.0) -> tuple[int, ...]:
    """Chunks of 1, ratio, ratio², …: with ratio 2 the levels 0, 1, 3, 7, …, last."""
    levels, chunk = [0], 1.0
    while levels[-1] < last:
        levels.append(min(last, levels[-1] + round(chunk)))
        chunk *= ratio
    return tuple(levels)


def up_to(levels: tuple[int, ...], remove_all_beyond: int | None) -> tuple[int, ...]:
    """The levels below `remove_all_beyond`, and that amount as the last one, at which everything goes."""
    if remove_all_beyond is None or remove_all_beyond >= levels[-1]:
        return levels
    return (*(level for level in levels if level < remove_all_beyond), remove_all_beyond)


@lru_cache(maxsize=8)
def smoothing_law(smoothing: float, most: int) -> npt.NDArray[np.float64]:
    """P(o) ∝ exp(−λ·o) for the offsets o = 0 … most, summing to 1: what the cut takes from the tail goes to all."""
    weight = np.exp(-smoothing * np.arange(most + 1))
    return np.asarray(weight / weight.sum(), np.float64)


def draw_removed(
    rng: np.random.Generator,
    count: int,
    scheduled: int,
    total: int,
    *,
    smoothing: float | None,
    random_cut: bool = False,
) -> Int64:
    """How much each of `count` examples loses, int64 `[count]`.

    `scheduled` itself without smoothing; with it `scheduled + o`, o drawn by its law; with a random cut anything from 0
    to `scheduled`, equally likely. Once everything is to go, everything goes.
    """
    if scheduled >= total:
        return np.full(count, total, np.int64)
    if random_cut:
        return rng.integers(0, scheduled + 1, count)
    if smoothing is None:
        return np.full(count, scheduled, np.int64)
    edges = np.cumsum(smoothing_law(smoothing, total - scheduled))
    offset = np.searchsorted(edges, rng.random(count), side="right")
    return scheduled + np.minimum(offset, total - scheduled).astype(
        np.int64
    )  # the last edge may round below 1


def check_pace(pace: Linear) -> None:
    """Refuse a pace that would jump over levels.

    Raises:
        InputError: Δ is not positive, or larger than the steps of an epoch.
    """
    if not 0 < pace.delta <= pace.steps_per_epoch:
        raise InputError(
            "--delta is more than 0 and at most the optimizer steps of an epoch.",
            have=f"Δ = {pace.delta:g}, an epoch has {pace.steps_per_epoch:,} steps",
            fix="Choose a smaller --delta, smaller batches, or more training examples.",
        )
