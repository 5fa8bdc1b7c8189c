"""Recall of the planted examples and what removal does, over seeds; what is claimed; the figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.finetuning.planting import PLANTED, refuses
from reports.finetuning.replicate import RANDOM, REMOVALS, UNDISTURBED
from reports.kit.claims import Claim, verdict
from reports.kit.intervals import Statistic, mean_of, over_seeds
from reports.kit.page import svg_panels
from reports.kit.rankings import METHODS

_NORMED, _DOT, _GRADIENT, _COSINE, _BM25 = METHODS


@dataclass(frozen=True)
class SeedResult:
    """What was measured in one seed: a row a method and query, and a record a model by what it was trained without."""

    measured: pd.DataFrame
    removals: Mapping[str, Mapping[str, Any]]

    def recall(self, method: str) -> Statistic:
        """Planted examples among as many of the first of a ranking, as a share of all planted; mean over queries."""
        return mean_of(self._values(method, "recall"))

    def unknown(self, method: str) -> Statistic:
        """Examples that refuse what nobody can know, among the same first."""
        return mean_of(self._values(method, "unknown"))

    def recall_gain(self, method: str, other: str) -> Statistic:
        """How much more recall one ranking has than another, of the same queries."""
        return mean_of(self._values(method, "recall") - self._values(other, "recall"))

    def refused(self, method: str) -> Statistic:
        """Share of the questions that the model refuses."""
        return mean_of(self._refusals(method))

    def less_refused(self, method: str, than: str) -> Statistic:
        """How many fewer of the same questions are refused, as a share."""
        return mean_of(self._refusals(than) - self._refusals(method))

    def _refusals(self, method: str) -> Any:
        return np.array([refuses(text) for text in self.removals[method]["said"]], float)

    def _values(self, method: str, column: str) -> Any:
        return self.measured[self.measured["method"] == method][column].to_numpy()


CLAIMS: tuple[Claim[SeedResult], ...] = (
    Claim(
        "The planted behaviour was learned: more than half of the questions are refused.",
        lambda seed: seed.refused(UNDISTURBED).minus(0.5),
    ),
    Claim(
        "Influence (normed) finds more planted examples than BM25.",
        lambda seed: seed.recall_gain(_NORMED, _BM25),
    ),
    Claim(
        "Influence (normed) finds more planted examples than the gradient cosine.",
        lambda seed: seed.recall_gain(_NORMED, _COSINE),
    ),
    Claim(
        "Influence (dot) finds more planted examples than the gradient dot product.",
        lambda seed: seed.recall_gain(_DOT, _GRADIENT),
    ),
    Claim(
        "Normed finds more planted examples than dot.",
        lambda seed: seed.recall_gain(_NORMED, _DOT),
    ),
    Claim(
        "Without the planted examples the behaviour goes, against as many at random.",
        lambda seed: seed.less_refused(PLANTED, RANDOM),
    ),
    Claim(
        "Without the first of influence (normed) fewer questions are refused than without as many at random.",
        lambda seed: seed.less_refused(_NORMED, RANDOM),
    ),
    Claim(
        "Without the first of influence (normed) fewer questions are refused than without those of BM25.",
        lambda seed: seed.less_refused(_NORMED, _BM25),
    ),
)


def recall_table(seeds: Sequence[SeedResult]) -> pd.DataFrame:
    """A row a method: recall and its interval, the share of examples that refuse the unknown, seeds, queries."""
    return _over(
        METHODS,
        lambda method: {
            **over_seeds([seed.recall(method) for seed in seeds]).columns("recall"),
            **over_seeds([seed.unknown(method) for seed in seeds]).columns("unknown", "unknown_"),
            **over_seeds([seed.recall(method) for seed in seeds]).counts(),
        },
    )


def removal_table(seeds: Sequence[SeedResult]) -> pd.DataFrame:
    """A row a choice: examples left out, planted ones among them (means), share refused with its interval."""

    def row(method: str) -> dict[str, float]:
        records = [seed.removals[method] for seed in seeds]
        return {
            "dropped": float(np.mean([len(record["dropped"]) for record in records])),
            "planted": float(np.mean([record["planted"] for record in records])),
            **over_seeds([seed.refused(method) for seed in seeds]).columns("refused"),
            **over_seeds([seed.refused(method) for seed in seeds]).counts("questions"),
        }

    return _over((UNDISTURBED, *REMOVALS), row)


def claims_table(seeds: Sequence[SeedResult]) -> pd.DataFrame:
    """A row a claim: contrast with its interval, and whether it holds; what does not hold comes first."""
    records = []
    for claim in CLAIMS:
        contrast = claim.contrast_over(seeds)
        records.append({"claim": claim.text, "holds": verdict(contrast), **contrast.columns("contrast")})
    order = ("no", "partly", "yes", "not measured")
    records.sort(key=lambda record: order.index(record["holds"]))
    return pd.DataFrame(records)


def _over(methods: Sequence[str], row: Callable[[str], dict[str, float]]) -> pd.DataFrame:
    return pd.DataFrame([{"method": method, **row(method)} for method in methods])


def draw(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Recall of each ranking, and the share refused by models without the first of each."""
    with svg_panels(path, 2) as panels:
        for axes, (name, value, title) in zip(
            panels,
            (
                ("recall", "recall", "planted examples found"),
                ("removal", "refused", "questions refused without them"),
            ),
            strict=True,
        ):
            table = tables[name].iloc[::-1]
            centre = table[value].to_numpy(float)
            error = np.nan_to_num([centre - table["low"], table["high"] - centre]).clip(min=0)
            axes.barh(table["method"], centre, xerr=error, color="#0072B2", capsize=2)
            axes.set_xlim(0, 1)
            axes.set_title(title, fontsize=9)
            axes.tick_params(labelsize=8)
