"""Models and effects over seeds, and the rule that says whether an effect appears."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from influence.analysis.distillation import FAILED_BELOW, measures, sensitivity, verdict, wordings
from influence.store.formats.distillation import (
    AS_LONG,
    AS_TUNED,
    DISTILLED,
    MODELS,
    NO_FILTER,
    SELF,
    STEPWISE,
    SYSTEM_1,
    SYSTEM_2,
)
from reports.kit.claims import Claim
from reports.kit.claims import verdict as appears
from reports.kit.intervals import RESAMPLES, Statistic, mean_of, over_seeds
from reports.system2.replicate import WAY_NAMES
from reports.system2.scales import TaskScale

#: What the paper reports, on other models.
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "last-letter": {SYSTEM_1: 0.300, SYSTEM_2: 0.445, DISTILLED: 0.980, NO_FILTER: 0.875, SELF: 0.695},
    "coin-flip": {SYSTEM_1: 0.561, SYSTEM_2: 0.772, DISTILLED: 0.7569},
}
#: A model within this margin of System 2's accuracy counts as equally good.
MARGIN = 0.05

RULE = (
    "Each effect rests on a contrast that it says is positive. Appears here: yes, when the whole 95 % interval of the "
    "contrast is positive; partly, when its mean is positive and its interval is not; no, when its mean is not."
)

Answers = pd.DataFrame


def effects_of(task: TaskScale) -> list[Claim[Answers]]:
    """The effects that are looked for in a task."""
    effects = [Claim("System 2 is better than System 1", _difference(SYSTEM_2, SYSTEM_1))]
    if task.expected_to_fail:
        effects.append(
            Claim("answers alone close less than half of the way to System 2", _short_of_half(DISTILLED))
        )
        if any(way.way == "stepwise" for way in task.ways):
            effects += [
                Claim("stepwise removal is better than answers alone", _difference(STEPWISE, DISTILLED)),
                Claim(
                    "stepwise removal is better than answers alone on as many examples",
                    _difference(STEPWISE, AS_LONG),
                ),
                Claim("stepwise removal closes more than half of the way", _beyond_half(STEPWISE)),
            ]
        return effects
    return [
        *effects,
        Claim("distilled is better than System 1", _difference(DISTILLED, SYSTEM_1)),
        Claim(
            f"distilled is at most {MARGIN:g} worse than System 2", _difference(DISTILLED, SYSTEM_2, MARGIN)
        ),
        Claim("the filter helps: better than without", _difference(DISTILLED, NO_FILTER)),
        Claim("System 2 helps: better than System 1 distilled", _difference(DISTILLED, SELF)),
        Claim("distilled is better than System 1 in wordings it was not tuned on", _elsewhere),
        Claim("the wording matters less than to System 1", _calmer),
    ]


def right_of(answers: Answers, model: str) -> pd.Series[float]:
    """1 or 0 for each test input, by its id, asked as tuned."""
    own = answers[(answers["model"] == model) & (answers["wording"] == AS_TUNED)]
    return own.set_index("id")["right"].astype(float)


def _difference(more: str, less: str, margin: float = 0.0) -> Callable[[Answers], Statistic]:
    def contrast(answers: Answers) -> Statistic:
        one, other = right_of(answers, more), right_of(answers, less)
        shared = one.index.intersection(other.index)
        return mean_of(one[shared] - other[shared] + margin)

    return contrast


def _beyond_half(model: str) -> Callable[[Answers], Statistic]:
    def contrast(answers: Answers) -> Statistic:
        one, two, own = (right_of(answers, name) for name in (SYSTEM_1, SYSTEM_2, model))
        if own.empty:
            return mean_of([])
        return mean_of(own - one - FAILED_BELOW * (two - one))

    return contrast


def _short_of_half(model: str) -> Callable[[Answers], Statistic]:
    return lambda answers: _beyond_half(model)(answers).times(-1)


def _elsewhere(answers: Answers) -> Statistic:
    """How much more of the other wordings the distilled model answers right, mean over wordings."""
    others = answers[(answers["wording"] != AS_TUNED) & answers["model"].isin([SYSTEM_1, DISTILLED])]
    right = others.assign(right=others["right"].astype(float)).groupby(["model", "id"])["right"].mean()
    if not {SYSTEM_1, DISTILLED} <= set(right.index.get_level_values("model")):
        return mean_of([])
    return mean_of(right[DISTILLED] - right[SYSTEM_1])


def _calmer(answers: Answers) -> Statistic:
    """How much more the accuracy of System 1 varies between wordings than that of the distilled model."""
    table = sensitivity(wordings(answers))
    spread = {} if table.empty else table.set_index("model")["spread"].to_dict()
    if not {SYSTEM_1, DISTILLED} <= spread.keys():
        return mean_of([])
    value = float(spread[SYSTEM_1] - spread[DISTILLED])
    return Statistic(value, np.full(RESAMPLES, value), len(answers))


def models_table(task: TaskScale, seeds: Sequence[Answers]) -> pd.DataFrame:
    """One row a model: accuracy over seeds with its interval, least and most, and tokens an input."""
    by_seed = [measures(answers).set_index("model").to_dict("index") for answers in seeds]
    rows = []
    for model in MODELS:
        own = [table[model] for table in by_seed if model in table]
        if not own:
            continue
        accuracy = over_seeds([mean_of(right_of(answers, model)) for answers in seeds])
        rows.append(
            {
                "task": task.title,
                "model": model,
                "published": PUBLISHED.get(task.name, {}).get(model, np.nan),
                **accuracy.columns("accuracy", "accuracy_"),
                **accuracy.span(),
                "tokens": float(np.mean([float(row["tokens"]) for row in own])),
                "seeds": len(own),
            }
        )
    return pd.DataFrame(rows)


def effects_table(task: TaskScale, seeds: Sequence[Answers]) -> pd.DataFrame:
    """One row for each effect: its contrast over seeds with its interval, and whether it appears."""
    rows = []
    for effect in effects_of(task):
        contrast = effect.contrast_over(seeds)
        rows.append(
            {"task": task.title, "effect": effect.text, **contrast.columns("contrast")}
            | {"seeds": contrast.seeds, "appears": appears(contrast)}
        )
    return pd.DataFrame(rows)


def verdicts_table(task: TaskScale, seeds: Sequence[Answers]) -> pd.DataFrame:
    """One row an internaliser: what the tool itself says in each seed."""
    rows = []
    for way in (task.tune, *task.ways):
        name = DISTILLED if way.way == task.tune.way else WAY_NAMES[way.way]
        said = [verdict(_as_distilled(answers, name), way.way).outcome for answers in seeds]
        rows.append({"task": task.title, "internaliser": way.way, "verdicts": ", ".join(said)})
    return pd.DataFrame(rows)


def _as_distilled(answers: Answers, model: str) -> Answers:
    """The answers with one model in the place of the distilled one."""
    kept = answers[(answers["model"] != DISTILLED) | (model == DISTILLED)]
    return kept.assign(model=kept["model"].replace({model: DISTILLED}))
