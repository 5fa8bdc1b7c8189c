"""Which documents a model leans on along the stages of internalisation, over seeds and against controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from influence.data.tasks.folder import write_task
from reports.kit.study import Say, Study, Tables
from reports.stages.metrics import measure
from reports.stages.replicate import StagesReplicate
from reports.stages.results import findings_page
from reports.stages.scales import SCALES, Scale
from reports.stages.tables import (
    kinds_table,
    probes_table,
    questions_table,
    stages_table,
    trends_table,
)


class StagesStudy(Study[Scale, StagesReplicate]):
    """Three trainings and the scores of their checkpoints each seed; tables questions, stages, trends, kinds, probes.

    `out/seed-N` has the trainings, the folders of scored checkpoints and `stages.html`.
    """

    name = "stages"
    kind = "study of stages"
    scales = SCALES

    def replicates(self, scale: Scale, folder: Path, seeds: int, say: Say) -> list[StagesReplicate]:
        task = write_task(scale.maker, folder / "task")
        other = write_task(scale.other, folder / "other-task")
        return [StagesReplicate(folder / f"seed-{seed}", scale, task, other, seed) for seed in range(seeds)]

    def tables(self, scale: Scale, replicates: Sequence[StagesReplicate]) -> dict[str, pd.DataFrame]:
        seeds = [measure(replicate.folder) for replicate in replicates]
        return {
            "questions": questions_table(seeds),
            "stages": stages_table(seeds),
            "trends": trends_table(seeds),
            "kinds": kinds_table(seeds),
            "probes": probes_table(seeds),
        }

    def page(self, scale: Scale, made_by: Mapping[str, Any], tables: Tables) -> str:
        return findings_page(scale, made_by, tables)

    def summary(self, tables: Tables) -> Iterator[str]:
        """What the command prints: the questions with their answers."""
        for record in tables["questions"].to_dict("records"):
            yield f"{record['question']} {record['answer']} ({record['contrast']:.3f})"


STUDY = StagesStudy()
