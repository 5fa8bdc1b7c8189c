"""Means over seeds with their intervals, and the questions with the contrast that answers each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence.subjects.questions import ANSWER_ONLY, AS_ASKED
from reports.kit.claims import verdict
from reports.kit.intervals import Statistic, mean_of, over_seeds
from reports.stages.measured import SHARED, WHAT, SeedMeasures
from reports.stages.one_seed import CONTROLS

RULE = (
    "Each question rests on a contrast that is positive if the answer is yes. Yes: the whole 95 % interval is "
    "positive; partly: its mean is and its interval is not; no: its mean is not. Intervals draw seeds, and within each "
    "queries, anew (2,000 times); stages and controls are asked about the same examples, so differences are paired. "
    "With few seeds the interval says little of the spread between them: least and most are shown."
)
_LABELS = (ANSWER_ONLY, AS_ASKED)


@dataclass(frozen=True)
class Question:
    """A question with its contrast in one seed."""

    text: str
    contrast: Callable[[SeedMeasures], Statistic]


def _change(measure: str, sign: float = 1.0, label: str = ANSWER_ONLY) -> Callable[[SeedMeasures], Statistic]:
    return lambda one: mean_of(sign * (one.of(one.last, label, measure) - one.of(one.first, label, measure)))


def _over(control: str, measure: str, sign: float = 1.0) -> Callable[[SeedMeasures], Statistic]:
    return lambda one: mean_of(
        sign * (one.of(one.last, ANSWER_ONLY, measure) - one.of(control, ANSWER_ONLY, measure))
    )


#: Of the fixed query, the answer alone; first stage: all of the chain is written, last stage: none.
QUESTIONS = (
    Question(
        "From first to last stage: do documents with the procedure and another answer gain on documents with the same "
        "answer and no procedure?",
        _change("procedure over answer"),
    ),
    Question(
        "From first to last stage: does the same answer count for less, at equal form?",
        _change("answer", -1.0),
    ),
    Question("From first to last stage: do the query's operands count for more?", _change("operands")),
    Question(
        "From first to last stage: do the query's partial results count for more?", _change("partial results")
    ),
    Question("From first to last stage: do queries lean on the same documents more?", _change(SHARED)),
    *(
        Question(
            f"At the end: does the same answer count for less than with {control}?",
            _over(control, "answer", -1.0),
        )
        for control in CONTROLS
    ),
    *(
        Question(
            f"At the end: do the query's operands count for more than with {control}?",
            _over(control, "operands"),
        )
        for control in CONTROLS
    ),
    *(
        Question(
            f"At the end: do queries lean on the same documents more than with {control}?",
            _over(control, SHARED),
        )
        for control in CONTROLS
    ),
)


def questions_table(seeds: Sequence[SeedMeasures]) -> pd.DataFrame:
    """Columns question, contrast, low, high, least, most (of a seed), answer (yes, partly, no, not measured), seeds."""
    records = []
    for question in QUESTIONS:
        by_seed = [question.contrast(seed) for seed in seeds]
        ours = over_seeds(by_seed)
        records.append(
            {
                "question": question.text,
                "contrast": ours.value,
                "low": ours.low,
                "high": ours.high,
                "least": np.nanmin([one.value for one in by_seed] or [np.nan]) if ours.seeds else np.nan,
                "most": np.nanmax([one.value for one in by_seed] or [np.nan]) if ours.seeds else np.nan,
                "answer": verdict(ours) if ours.seeds > 1 else "not measured",
                "seeds": ours.seeds,
            }
        )
    return pd.DataFrame(records)


def stages_table(seeds: Sequence[SeedMeasures]) -> pd.DataFrame:
    """A row a checkpoint, question asked and measure, over seeds.

    Returns:
        Columns stage, removed, total, label, measure (of `WHAT`, or "accuracy"), value, low, high, least, most (of a
        seed), seeds.
    """
    records = []
    for name in _checkpoints(seeds):
        own = [seed for seed in seeds if name in {*(one.name for one in seed.stages), *seed.controls}]
        record = own[0].record(name)
        about = {"stage": name, "removed": record.removed, "total": record.total}
        for label in _LABELS:
            accuracies = [_accuracy(*seed.record(name).accuracy[label]) for seed in own]
            records.append({**about, "label": label, "measure": "accuracy", **_over_seeds(accuracies)})
            for measure in WHAT:
                values = [mean_of(seed.of(name, label, measure)) for seed in own]
                records.append({**about, "label": label, "measure": measure, **_over_seeds(values)})
    return pd.DataFrame(records)


def kinds_table(seeds: Sequence[SeedMeasures]) -> pd.DataFrame:
    """Mean over seeds: stage, label, measure (as `kind_mix`), kind, share, least, most, corpus_share, gradient_norm."""
    return _mean_over_seeds(
        [seed.kinds for seed in seeds],
        ["stage", "label", "measure", "kind"],
        "share",
        ["corpus_share", "gradient_norm"],
    )


def probes_table(seeds: Sequence[SeedMeasures]) -> pd.DataFrame:
    """Mean over seeds: stage, quantity, place, layer, value, least, most, chance."""
    return _mean_over_seeds(
        [seed.probes for seed in seeds], ["stage", "quantity", "place", "layer"], "value", ["chance"]
    )


def trends_table(seeds: Sequence[SeedMeasures]) -> pd.DataFrame:
    """`contrast_trends` of each seed, with its number in the first column `seed`."""
    parts = [one.trends.assign(seed=number) for number, one in enumerate(seeds)]
    table = pd.concat(parts, ignore_index=True)
    return table[["seed", *table.columns[:-1]]]


def _checkpoints(seeds: Sequence[SeedMeasures]) -> list[str]:
    stages = {one.name: one.removed or 0 for seed in seeds for one in seed.stages}
    return [*sorted(stages, key=lambda name: stages[name]), *CONTROLS]


def _accuracy(right: int, n: int) -> Statistic:
    return mean_of(np.arange(n) < right)


def _over_seeds(values: Sequence[Statistic]) -> dict[str, Any]:
    ours = over_seeds(values)
    known = [one.value for one in values if np.isfinite(one.value)]
    return {
        "value": ours.value,
        "low": ours.low,
        "high": ours.high,
        "least": min(known, default=np.nan),
        "most": max(known, default=np.nan),
        "seeds": ours.seeds,
    }


def _mean_over_seeds(
    tables: Sequence[pd.DataFrame], keys: list[str], value: str, kept: list[str]
) -> pd.DataFrame:
    whole = pd.concat(tables, ignore_index=True)
    if whole.empty:
        return pd.DataFrame(columns=[*keys, value, "least", "most", *kept])
    named = {value: (value, "mean"), "least": (value, "min"), "most": (value, "max")}
    return (
        whole.groupby(keys, sort=False).agg(**named, **{name: (name, "mean") for name in kept}).reset_index()
    )
