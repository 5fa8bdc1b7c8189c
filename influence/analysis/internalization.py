"""What an evaluation of stages of internalisation measured, as tables with intervals: one row a stage, one a position.

Accuracy has Wilson intervals. Token accuracy, generated tokens and speeds have percentile bootstrap intervals over
examples; a relative speed is of the same examples, timed by turns, so examples are drawn in pairs. All are 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.grouping import bootstrap_means, mean_interval, wilson
from influence.errors import StoreError
from influence.store.artefact import read_manifest
from influence.store.formats.manifest import fingerprint
from influence.store.formats.records import read_record
from influence.store.formats.training import AGAIN, FOLDER, EvaluationRecord, Measured, Sample, StageFile
from influence.store.journal import VERIFIED_AT_OPEN, verify_files

_LEVELS = (2.5, 97.5)


@dataclass(frozen=True)
class StageEvaluation:
    """What was measured of one stage, on N examples, M of them timed one by one.

    Attributes:
        run: Name of the run.
        name: Name of the stage's folder.
        about: What the training says of it.
        right_N: Whether the answer is exactly right.
        position_NP: 1 where the token of the answer at a position is right, 0 where wrong, NaN past its end.
        tokens_N: Generated tokens, the end included.
        seconds_M: Of generation, at batch size 1.
        baseline_M: The same for the no-CoT model, timed by turns; None if there was none.
        samples: Some generations.
        measured: What else is worth knowing.
    """

    run: str
    name: str
    about: StageFile
    right_N: npt.NDArray[np.bool_]
    position_NP: npt.NDArray[np.float64]
    tokens_N: npt.NDArray[np.int64]
    seconds_M: npt.NDArray[np.float64]
    baseline_M: npt.NDArray[np.float64] | None
    samples: list[Sample]
    measured: Measured

    @property
    def removed(self) -> int:
        """Removed tokens of the chain of thought."""
        return self.about.removed


@dataclass(frozen=True)
class Evaluation:
    """The stages of a run that were evaluated, in the order of removal; `manifest` says on what."""

    run: Path
    manifest: dict[str, Any]
    stages: list[StageEvaluation]

    @property
    def method(self) -> str:
        """stepwise, or the baseline it is."""
        return self.stages[-1].about.mode

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row a stage, as in `stage_rows`."""
        return pd.DataFrame([_row(stage) for stage in self.stages])


def read_evaluation(run: Path) -> Evaluation:
    """What `influence evaluate` left in a run.

    Raises:
        StoreError: nothing was evaluated there, or a file is damaged.
    """
    folder = run / FOLDER
    manifest = read_manifest(folder)
    if manifest is not None:
        verify_files(folder, manifest, VERIFIED_AT_OPEN)
    stages = [_read_stage(run, path) for path in sorted(folder.glob("*.json")) if path.stem != "manifest"]
    if manifest is None or not stages:
        raise StoreError(f"No stage of {run} was evaluated.", fix="Run influence evaluate on its stages.")
    stages.sort(key=lambda stage: (stage.removed, stage.about.step or 0, stage.name))
    return Evaluation(run, manifest, stages)


def _read_stage(run: Path, path: Path) -> StageEvaluation:
    stored = read_record(path, EvaluationRecord, fix=AGAIN)
    stage = read_manifest(run / path.stem)
    if stage is not None and stored.fingerprint not in (None, fingerprint(stage)):
        raise StoreError(
            f"{path} is not of the stage in {run / path.stem}.",
            have="an evaluation of other weights",
            fix="Run influence evaluate again: it evaluates the stages that were trained anew.",
        )
    baseline = stored.speed.baseline_seconds
    return StageEvaluation(
        run.resolve().name,
        path.stem,
        stored.about,
        np.array([mark == "1" for mark in stored.right], bool),
        _positions(stored.positions),
        np.array(stored.tokens, np.int64),
        np.array(stored.speed.seconds, np.float64),
        None if baseline is None else np.array(baseline, np.float64),
        stored.samples,
        stored.measured,
    )


def _positions(marks: Sequence[str]) -> npt.NDArray[np.float64]:
    right_NP = np.full((len(marks), max(map(len, marks), default=0)), np.nan)
    for row, own in enumerate(marks):
        right_NP[row, : len(own)] = [mark == "1" for mark in own]
    return right_NP


def stage_rows(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """One row a stage: accuracy, token accuracy, generated tokens, speed at batch 1, speed relative to no CoT.

    `low` and `high` columns are the ends of 95 % intervals. Speeds are examples a second of generation.
    """
    return pd.concat([one.rows for one in evaluations], ignore_index=True)


def _row(stage: StageEvaluation) -> dict[str, Any]:
    n, right = len(stage.right_N), int(stage.right_N.sum())
    low, high = wilson(right, n)
    return {
        "run": stage.run,
        "stage": stage.name,
        "method": stage.about.mode,
        "seed": stage.about.seed,
        "removed": stage.removed,
        "step": stage.about.step,
        "examples": n,
        "right": right,
        "accuracy": right / n,
        "accuracy_low": low,
        "accuracy_high": high,
        **_token_accuracy(stage.position_NP),
        **_named("generated_tokens", mean_interval(stage.tokens_N)),
        "timed": len(stage.seconds_M),
        **_speeds(stage.seconds_M, stage.baseline_M),
    }


def _named(name: str, interval: dict[str, float]) -> dict[str, float]:
    return {name: interval["mean"], f"{name}_low": interval["low"], f"{name}_high": interval["high"]}


def _token_accuracy(position_NP: npt.NDArray[np.float64]) -> dict[str, float]:
    """Right tokens of answers over all tokens of answers; examples are drawn, for tokens of one go together."""
    counts_N2 = np.stack([np.nansum(position_NP, 1), (~np.isnan(position_NP)).sum(1)], 1)
    return _ratio("token_accuracy", counts_N2)


def _ratio(name: str, pairs_N2: npt.NDArray[np.float64]) -> dict[str, float]:
    """Sum of the first over sum of the second column, with its bootstrap interval over rows."""
    above, below = pairs_N2.sum(0)
    means_R2 = bootstrap_means(pairs_N2)
    low, high = np.percentile(means_R2[:, 0] / means_R2[:, 1], _LEVELS)
    return {name: float(above / below), f"{name}_low": float(low), f"{name}_high": float(high)}


def _speeds(
    seconds_M: npt.NDArray[np.float64], baseline_M: npt.NDArray[np.float64] | None
) -> dict[str, float]:
    if not len(seconds_M):
        return _nothing("examples_per_second") | _nothing("relative_speed")
    speeds = _ratio("examples_per_second", np.stack([np.ones_like(seconds_M), seconds_M], 1))
    if baseline_M is None:
        return speeds | _nothing("relative_speed")
    return speeds | _ratio("relative_speed", np.stack([baseline_M, seconds_M], 1))


def _nothing(name: str) -> dict[str, float]:
    return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)


def position_rows(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """One row a stage and position of the answer, from 1: how many of its n tokens are right, with Wilson intervals."""
    rows = []
    for one in evaluations:
        for stage in one.stages:
            known_NP = ~np.isnan(stage.position_NP)
            right_P, n_P = np.nansum(stage.position_NP, 0).astype(int), known_NP.sum(0)
            for place, (right, n) in enumerate(zip(right_P.tolist(), n_P.tolist(), strict=True), 1):
                rows.append(
                    (
                        stage.run,
                        stage.name,
                        stage.removed,
                        place,
                        n,
                        right,
                        right / n,
                        *wilson(right, n),
                    )
                )
    columns = ["run", "stage", "removed", "position", "n", "right", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


#: What is pooled over runs.
POOLED = ("accuracy", "token_accuracy", "generated_tokens", "examples_per_second", "relative_speed")


def pooled_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a method and number of removed tokens: of each measure the mean over runs, its SD, least and most.

    Of a run with several stages of that number the last counts. With one run the SD is not defined.
    """
    last = rows.drop_duplicates(["run", "method", "removed"], keep="last")
    pooled = []
    for (method, removed), own in last.groupby(["method", "removed"], sort=False):
        row: dict[str, Any] = {"method": method, "removed": removed, "runs": len(own)}
        row["seeds"] = ", ".join(str(seed) for seed in own["seed"])
        for name in POOLED:
            values = own[name].astype(float)
            row |= {
                name: values.mean(),
                f"{name}_sd": values.std(ddof=1),
                f"{name}_least": values.min(),
                f"{name}_most": values.max(),
            }
        pooled.append(row)
    return pd.DataFrame(pooled).sort_values(["method", "removed"], ignore_index=True)
