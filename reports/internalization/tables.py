"""Methods, curves and effects over seeds: one row a thing, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from influence.analysis.internalization import Evaluation, StageEvaluation
from reports.internalization.metrics import Runs, accuracy, best_over, relative_speed
from reports.internalization.published import MARGIN, PUBLISHED, Effect, effects
from reports.internalization.scales import METHODS, TaskRuns
from reports.kit.claims import verdict
from reports.kit.intervals import Interval, over_seeds

RULE = (
    "Each effect rests on a contrast that is positive where it appears; two runs answer the same problems, so "
    "differences of accuracy are paired. Appears here: yes, when the whole 95 % interval of the contrast is positive; "
    "partly, when its mean is positive and its interval is not; no, when its mean is not positive. Not measured: a run "
    "is missing, there is one seed only, no CoT solves the task itself (so nothing can be better), or the run that is "
    f"compared with is in no seed more than {MARGIN:g} better than no CoT: at its last stage, or, for a mean over "
    "removal, at any."
)


def methods_table(task: TaskRuns, seeds: Sequence[Runs]) -> pd.DataFrame:
    """The paper's table: a row a method, its last stage.

    Returns:
        Columns task, method, removed and total (tokens of the chain), published and published_speed (of the paper's
        problem of this size, NaN where there is none), accuracy and speed (relative to no CoT) with low and high,
        least and most (accuracy of a seed), generated (tokens), trained_on (examples), capped (share of kept levels
        that ended by their cap), seeds, examples.
    """
    records = []
    paper = PUBLISHED.get(task.problem or "", {})
    for name in METHODS:
        own = [runs[name] for runs in seeds if name in runs]
        if not own:
            continue
        ends = [one.stages[-1] for one in own]
        right = over_seeds([accuracy(stage) for stage in ends])
        published = paper.get(name, (np.nan, None))
        records.append(
            {
                "task": task.title,
                "method": name,
                "removed": ends[0].removed,
                "total": ends[0].about.total,
                "published": published[0],
                "published_speed": np.nan if published[1] is None else published[1],
                **right.columns("accuracy", "accuracy_"),
                **right.span(),
                **over_seeds([relative_speed(stage) for stage in ends]).columns("speed", "speed_"),
                "generated": float(np.mean([stage.tokens_N.mean() for stage in ends])),
                "trained_on": float(np.mean([stage.about.examples or 0 for stage in ends])),
                "capped": float(np.mean([_capped(one) for one in own])),
                **right.counts("examples"),
            }
        )
    return pd.DataFrame(records)


def curves_table(task: TaskRuns, seeds: Sequence[Runs]) -> pd.DataFrame:
    """Accuracy, and of methods speed, of every kept stage.

    Returns:
        Columns task, run, removed, accuracy and speed with low and high, seeds, examples.
    """
    records = []
    for name in dict.fromkeys(name for runs in seeds for name in runs):
        stages: dict[int, list[StageEvaluation]] = {}
        for runs in seeds:
            for stage in runs[name].stages if name in runs else []:
                stages.setdefault(stage.removed, []).append(stage)
        for removed, own in sorted(stages.items()):
            right = over_seeds([accuracy(stage) for stage in own])
            records.append(
                {
                    "task": task.title,
                    "run": name,
                    "removed": removed,
                    **right.columns("accuracy", "accuracy_"),
                    **over_seeds([relative_speed(stage) for stage in own]).columns("speed", "speed_"),
                    **right.counts("examples"),
                }
            )
    return pd.DataFrame(records)


def effects_table(task: TaskRuns, seeds: Sequence[Runs]) -> pd.DataFrame:
    """Every effect of the paper that the task's runs can show: its value, ours, the contrast, whether it appears here.

    Returns:
        Columns task, what, published, here, low, high, claim, contrast, contrast_low, contrast_high, appears (yes,
        partly, no, not measured), why (it was not measured), seeds, examples.
    """
    planned = task.runs(0)
    shown = [effect for effect in effects(task) if all(name in planned for name in effect.needs)]
    return pd.DataFrame([_effect(task, effect, seeds) for effect in shown])


def _effect(task: TaskRuns, effect: Effect, seeds: Sequence[Runs]) -> dict[str, Any]:
    have = [runs for runs in seeds if all(name in runs for name in effect.needs)]
    here, contrast = effect.value_over(have), effect.contrast_over(have)
    why = _why_not(effect, have, contrast)
    return {
        "task": task.title,
        "what": effect.subject,
        "published": effect.published,
        **here.columns("here"),
        "claim": effect.text,
        **contrast.columns("contrast", "contrast_"),
        "appears": "not measured" if why else verdict(contrast),
        "why": why,
        **here.counts("examples"),
    }


def _why_not(effect: Effect, seeds: Sequence[Runs], contrast: Interval) -> str:
    """Why a contrast says nothing about the effect; empty where it does."""
    if not seeds:
        return "no such run"
    if not np.isfinite(contrast.value):
        return "not timed"
    if contrast.seeds < 2:
        return "one seed"
    if (
        effect.unsolved
        and over_seeds([accuracy(runs["no-cot"].stages[-1]) for runs in seeds]).value > 1 - MARGIN
    ):
        return "no CoT solves it"
    if effect.solves is not None:
        better = [best_over(runs, effect.solves, "no-cot", effect.at_last) for runs in seeds]
        if max(better) <= MARGIN:
            return f"{effect.solves} does not solve it" + " at any stage" * (not effect.at_last)
    return ""


def _capped(run: Evaluation) -> float:
    """Share of the kept stages but the last that did not recover in time; NaN where the schedule waits for nothing."""
    if len(run.stages) < 2 or not run.stages[-1].about.settings.get("adaptive"):
        return float("nan")
    return float(np.mean([bool(stage.about.capped) for stage in run.stages[:-1]]))
