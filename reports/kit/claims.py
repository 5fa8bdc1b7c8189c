"""A claim of a study, measured over seeds, and the rule that says whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from reports.kit.intervals import Interval, Statistic, over_seeds

SeedT = TypeVar("SeedT")


@dataclass(frozen=True)
class Claim(Generic[SeedT]):
    """A line of a table of findings; its numbers are computed from what was measured in one seed.

    Attributes:
        text: What is claimed, in words; empty where a value is reported without a claim.
        contrast: A number of one seed that is positive where the claim holds; None without a claim.
        subject: What the value is, and its unit.
        published: The value in the paper, as text.
        value: Our value in one seed; None where the contrast is all that is reported.
    """

    text: str
    contrast: Callable[[SeedT], Statistic] | None
    subject: str = ""
    published: str = ""
    value: Callable[[SeedT], Statistic] | None = None

    def value_over(self, seeds: Sequence[SeedT]) -> Interval:
        """The mean value over seeds."""
        return over_seeds([] if self.value is None else [self.value(seed) for seed in seeds])

    def contrast_over(self, seeds: Sequence[SeedT]) -> Interval:
        """The mean contrast over seeds."""
        return over_seeds([] if self.contrast is None else [self.contrast(seed) for seed in seeds])


def verdict(contrast: Interval, least_seeds: int = 1) -> str:
    """Whether a claim holds: yes, partly, no, or not measured; by the sign of its contrast.

    Args:
        least_seeds: With fewer seeds nothing is said.
    """
    if contrast.seeds < least_seeds or not np.isfinite([contrast.value, contrast.low]).all():
        return "not measured"
    if contrast.low > 0:
        return "yes"
    return "partly" if contrast.value > 0 else "no"
