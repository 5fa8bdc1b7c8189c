"""Numbers of one seed's checkpoints: a value a query, so that differences between checkpoints are paired."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.correlation import correlation
from influence.analysis.kinds import MEASURES, checkpoint_contrasts, contrast_trends, kind_mix
from influence.store.checkpoints import PROBES, CheckpointRecord, open_checkpoints, read_checkpoints
from influence.store.scores import Scores
from reports.stages.replicate import OTHERS, STAGES

#: How alike the rankings of two queries are: mean R of a query with the others of its task.
SHARED = "R with other queries"
WHAT = (*MEASURES, SHARED)


@dataclass(frozen=True)
class SeedMetrics:
    """What was measured of a seed.

    Attributes:
        stages: Of the stepwise run, in order.
        controls: Name -> record.
        values: Columns stage (a control's name stands there too), label, measure (of `WHAT`), query, value.
        kinds: `kind_mix` of each checkpoint, with its name as `stage`.
        trends: `contrast_trends` of the stages.
        probes: What was read of each checkpoint, with its name as `stage`.
    """

    stages: list[CheckpointRecord]
    controls: dict[str, CheckpointRecord]
    values: pd.DataFrame
    kinds: pd.DataFrame
    trends: pd.DataFrame
    probes: pd.DataFrame

    @property
    def first(self) -> str:
        """Name of the first stage."""
        return self.stages[0].name

    @property
    def last(self) -> str:
        """Name of the last stage."""
        return self.stages[-1].name

    def of(self, stage: str, label: str, measure: str) -> npt.NDArray[np.float64]:
        """A value a query, in the order of the queries."""
        own = self.values
        own = own[(own["stage"] == stage) & (own["label"] == label) & (own["measure"] == measure)]
        return own["value"].to_numpy(np.float64)

    def record(self, stage: str) -> CheckpointRecord:
        """A stage or control by its name."""
        return next(one for one in [*self.stages, *self.controls.values()] if one.name == stage)


def measure(folder: Path) -> SeedMetrics:
    """Read the score stores of a finished seed."""
    opened = open_checkpoints(folder / STAGES)
    others = open_checkpoints(folder / OTHERS)
    every = [*opened, *others]
    contrasts = checkpoint_contrasts(opened)
    table = pd.concat([contrasts, checkpoint_contrasts(others)], ignore_index=True)
    label_of = {query.id: query.task for _, scores in every for query in scores.queries}
    shared = pd.concat([_shared(scores).assign(stage=name) for name, scores in every], ignore_index=True)
    values = pd.concat([table, shared], ignore_index=True)
    probed = [
        pd.read_csv(folder / name / PROBES) for name in (STAGES, OTHERS) if (folder / name / PROBES).exists()
    ]
    return SeedMetrics(
        read_checkpoints(folder / STAGES),
        {record.name: record for record in read_checkpoints(folder / OTHERS)},
        values.assign(label=values["query"].map(label_of)),
        pd.concat([kind_mix(scores).assign(stage=name) for name, scores in every], ignore_index=True),
        contrast_trends(contrasts, opened),
        pd.concat(probed, ignore_index=True) if probed else pd.DataFrame(),
    )


def _shared(scores: Scores) -> pd.DataFrame:
    r_QQ = correlation(scores, "normed").to_numpy(float, copy=True)
    np.fill_diagonal(r_QQ, np.nan)
    labels = np.array([query.task for query in scores.queries], object)
    rows = []
    for row, query in enumerate(scores.queries):
        own = r_QQ[row][labels == query.task]
        rows.append((query.id, SHARED, float(np.nanmean(own)) if np.isfinite(own).any() else np.nan))
    return pd.DataFrame(rows, columns=["query", "measure", "value"])
