"""The findings of Ruis et al. (arXiv 2411.12580) in worlds of our own, where the truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from influence.store.scores import open_scores
from reports.kit.study import Say, Study, Tables
from reports.miniworld.drawings import draw_recall, draw_removal
from reports.miniworld.findings import findings_table
from reports.miniworld.metrics import SeedMetrics, correlation_matrix, pair_labels
from reports.miniworld.replicate import WorldReplicate
from reports.miniworld.results import findings_page
from reports.miniworld.scales import SCALES, Scale
from reports.miniworld.tables import (
    recall_over_seeds,
    relations_over_seeds,
    removal_order,
    removal_over_seeds,
)

#: Seconds of a step as a multiple of those of the base model's training, until the step has been run once. Rough.
_WORK = {
    "base model": 1.0,
    "tuned model": 0.4,
    "completions": 0.2,
    "Hessian": 0.4,
    "influence": 0.3,
    "gradient dot products": 0.3,
    "analyses": 0.1,
    "retraining": 1.5,
}


class MiniworldStudy(Study[Scale, WorldReplicate]):
    """A world and its models each seed; tables accuracy, findings, recall, relations, removal, removal_order."""

    name = "miniworld"
    kind = "reproduction"
    scales = SCALES

    def replicates(self, scale: Scale, folder: Path, seeds: int, say: Say) -> list[WorldReplicate]:
        return [WorldReplicate(folder / f"seed-{seed}", scale, seed) for seed in range(seeds)]

    def work(self, replicates: Sequence[WorldReplicate]) -> Mapping[str, float]:
        return {
            step.kind: _WORK.get(step.kind, 0.0) for replicate in replicates for step in replicate.steps()
        }

    def finish(self, replicate: WorldReplicate) -> None:
        replicate.tidy()

    def tables(self, scale: Scale, replicates: Sequence[WorldReplicate]) -> dict[str, pd.DataFrame]:
        metrics = [_metrics(replicate) for replicate in replicates]
        removals = [replicate.removal_records() for replicate in replicates]
        accuracy = [
            pd.DataFrame(replicate.json("accuracy.json")).assign(seed=replicate.seed)
            for replicate in replicates
        ]
        return {
            "accuracy": pd.concat(accuracy, ignore_index=True),
            "findings": findings_table(metrics, scale.top_k, scale.source_k),
            "recall": recall_over_seeds([replicate.measured("gold") for replicate in replicates]),
            "relations": relations_over_seeds([replicate.measured("relations") for replicate in replicates]),
            "removal": removal_over_seeds(removals),
            "removal_order": removal_order(removals),
        }

    def draw(self, scale: Scale, folder: Path, replicates: Sequence[WorldReplicate], tables: Tables) -> None:
        draw_recall(tables["recall"], folder / "recall.svg")
        draw_removal(tables["removal"], folder / "removal.svg")

    def page(self, scale: Scale, made_by: Mapping[str, Any], tables: Tables) -> str:
        return findings_page(scale, made_by, tables)

    def summary(self, tables: Tables) -> Iterator[str]:
        """What the command prints: every finding that makes a claim."""
        for record in tables["findings"].to_dict("records"):
            if record["holds"] != "no claim":
                yield f"{record['finding']}  {record['what']:<66} {record['here']:>8.3g}  {record['holds']}"


def _metrics(replicate: WorldReplicate) -> SeedMetrics:
    queries = open_scores(replicate.path("scores")).queries
    return SeedMetrics(
        replicate.measured("queries"),
        replicate.measured("relations"),
        correlation_matrix(replicate.analysis, queries),
        pair_labels(queries),
        replicate.json("measures.json")["corpus_shares"],
    )


STUDY = MiniworldStudy()
