"""Numbers of one seed's runs with their resamples. Two runs answer the same problems, so differences are paired."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from influence.analysis.grouping import bootstrap_means
from influence.analysis.internalization import Evaluation, StageEvaluation
from reports.kit.intervals import RESAMPLES, Statistic, mean_of

#: Name of a run -> what was measured of it, in one seed.
Runs = Mapping[str, Evaluation]


def accuracy(stage: StageEvaluation) -> Statistic:
    """Share of the test problems that are answered exactly."""
    return mean_of(stage.right_N)


def relative_speed(stage: StageEvaluation) -> Statistic:
    """Examples a second over those of no CoT on the same problems, timed by turns; nothing where it was not timed."""
    if stage.baseline_M is None or len(stage.seconds_M) < 2:
        return mean_of([])
    pairs_M2 = np.stack([stage.baseline_M, stage.seconds_M], 1)
    above, below = pairs_M2.sum(0)
    means_R2 = bootstrap_means(pairs_M2, RESAMPLES)
    return Statistic(float(above / below), means_R2[:, 0] / means_R2[:, 1], len(pairs_M2))


def end_accuracy(runs: Runs, name: str) -> Statistic:
    """Accuracy of a run's last stage."""
    return accuracy(runs[name].stages[-1])


def end_speed(runs: Runs, name: str) -> Statistic:
    """Relative speed of a run's last stage."""
    return relative_speed(runs[name].stages[-1])


def end_difference(runs: Runs, more: str, less: str) -> Statistic:
    """Accuracy of one run's last stage minus that of another's, on the same problems."""
    a_N, b_N = (runs[name].stages[-1].right_N.astype(float) for name in (more, less))
    return mean_of(a_N - b_N)


def curve_accuracy(runs: Runs, name: str, other: str) -> Statistic:
    """Accuracy of a run, mean over the numbers of removed tokens at which both runs have a stage."""
    return mean_of(_along(runs, name, other))


def curve_difference(runs: Runs, more: str, less: str) -> Statistic:
    """Difference of `curve_accuracy`, on the same problems."""
    return mean_of(_along(runs, more, less) - _along(runs, less, more))


def best_over(runs: Runs, name: str, other: str, at_last: bool) -> float:
    """By how much a run's last stage, or its best one, is more accurate than another's last."""
    stages = runs[name].stages[-1:] if at_last else runs[name].stages
    return float(max(stage.right_N.mean() for stage in stages) - runs[other].stages[-1].right_N.mean())


def _along(runs: Runs, name: str, other: str) -> npt.NDArray[np.float64]:
    removed_by_other = {stage.removed for stage in runs[other].stages}
    common = [stage.right_N for stage in runs[name].stages if stage.removed in removed_by_other]
    return np.asarray(np.mean(common, axis=0), np.float64)
