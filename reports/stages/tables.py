"""Means over seeds with their intervals, and the questions with the contrast that answers each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from influence.subjects.questions import ANSWER_ONLY, AS_ASKED
from reports.kit.claims import Claim, verdict
from reports.kit.intervals import Statistic, mean_of, over_seeds
from reports.stages.metrics import SHARED, WHAT, SeedMetrics
from reports.stages.replicate import CONTROLS

RULE = (
    "Each question rests on a contrast that is positive if the answer is yes. Yes: the whole 95 % interval is "
    "positive; partly: its mean is and its interval is not; no: its mean is not. Intervals draw seeds, and within each "
    "queries, anew (2,000 times); stages and controls are asked about the same examples, so differences are paired. "
    "With few seeds the interval says little of the spread between them: least and most are shown."
)
_LABELS = (ANSWER_ONLY, AS_ASKED)


def _gain(measure: str, sign: float = 1.0) -> Callable[[SeedMetrics], Statistic]:
    """Last stage minus first, times the sign; of the fixed query, the answer alone."""
    return lambda seed: _minus(seed, seed.last, seed.first, measure, sign)


def _over(control: str, measure: str, sign: float = 1.0) -> Callable[[SeedMetrics], Statistic]:
    """Last stage minus a control, times the sign; of the fixed query, the answer alone."""
    return lambda seed: _minus(seed, seed.last, control, measure, sign)


def _minus(seed: SeedMetrics, more: str, less: str, measure: str, sign: float) -> Statistic:
    return mean_of(sign * (seed.of(more, ANSWER_ONLY, measure) - seed.of(less, ANSWER_ONLY, measure)))


def _questions() -> Iterator[Claim[SeedMetrics]]:
    """Every question, as the claim that its answer is yes. First stage: all of the chain is written; last: none."""
    along = "From first to last stage:"
    yield Claim(
        f"{along} do documents with the procedure and another answer gain on documents with the same "
        "answer and no procedure?",
        _gain("procedure over answer"),
    )
    yield Claim(f"{along} does the same answer count for less, at equal form?", _gain("answer", -1.0))
    yield Claim(f"{along} do the query's operands count for more?", _gain("operands"))
    yield Claim(f"{along} do the query's partial results count for more?", _gain("partial results"))
    yield Claim(f"{along} do queries lean on the same documents more?", _gain(SHARED))
    for question, measure, sign in (
        ("does the same answer count for less than", "answer", -1.0),
        ("do the query's operands count for more than", "operands", 1.0),
        ("do queries lean on the same documents more than", SHARED, 1.0),
    ):
        for control in CONTROLS:
            yield Claim(f"At the end: {question} with {control}?", _over(control, measure, sign))


def questions_table(seeds: Sequence[SeedMetrics]) -> pd.DataFrame:
    """Columns question, contrast, low, high, least, most (of a seed), answer (yes, partly, no, not measured), seeds."""
    records = []
    for question in _questions():
        contrast = question.contrast_over(seeds)
        answer = verdict(contrast, least_seeds=2)
        records.append(
            {"question": question.text, **contrast.columns("contrast"), **contrast.span()}
            | {"answer": answer, "seeds": contrast.seeds}
        )
    return pd.DataFrame(records)


def stages_table(seeds: Sequence[SeedMetrics]) -> pd.DataFrame:
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
            records.append({**about, "label": label, "measure": "accuracy", **_columns(accuracies)})
            for measure in WHAT:
                values = [mean_of(seed.of(name, label, measure)) for seed in own]
                records.append({**about, "label": label, "measure": measure, **_columns(values)})
    return pd.DataFrame(records)


def kinds_table(seeds: Sequence[SeedMetrics]) -> pd.DataFrame:
    """Mean over seeds: stage, label, measure (as `kind_mix`), kind, share, least, most, corpus_share, gradient_norm."""
    return _mean_over_seeds(
        [seed.kinds for seed in seeds],
        ["stage", "label", "measure", "kind"],
        "share",
        ["corpus_share", "gradient_norm"],
    )


def probes_table(seeds: Sequence[SeedMetrics]) -> pd.DataFrame:
    """Mean over seeds: stage, quantity, place, layer, value, least, most, chance."""
    return _mean_over_seeds(
        [seed.probes for seed in seeds], ["stage", "quantity", "place", "layer"], "value", ["chance"]
    )


def trends_table(seeds: Sequence[SeedMetrics]) -> pd.DataFrame:
    """`contrast_trends` of each seed, with its number in the first column `seed`."""
    parts = [one.trends.assign(seed=number) for number, one in enumerate(seeds)]
    table = pd.concat(parts, ignore_index=True)
    return table[["seed", *table.columns[:-1]]]


def _checkpoints(seeds: Sequence[SeedMetrics]) -> list[str]:
    stages = {one.name: one.removed or 0 for seed in seeds for one in seed.stages}
    return [*sorted(stages, key=lambda name: stages[name]), *CONTROLS]


def _accuracy(right: int, n: int) -> Statistic:
    return mean_of(np.arange(n) < right)


def _columns(values: Sequence[Statistic]) -> dict[str, float]:
    mean = over_seeds(values)
    return {**mean.columns(), **mean.span(), "seeds": mean.seeds}


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
