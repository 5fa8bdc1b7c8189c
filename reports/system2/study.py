"""The distillations and controls of Yu et al. (arXiv 2407.06023), with small models that truly do System 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.kit.study import Say, Study, Tables
from reports.system2.replicate import System2Replicate
from reports.system2.results import findings_page
from reports.system2.scales import SCALES, Scale
from reports.system2.tables import effects_table, models_table, verdicts_table


class System2Study(Study[Scale, System2Replicate]):
    """A base model and distillations of every task each seed; tables models, effects, verdicts.

    `out/seed-N/TASK` is a distillation as `influence distill` leaves it, with its report.
    """

    name = "system2"
    kind = "reproduction of System 2 distillation"
    scales = SCALES

    def replicates(self, scale: Scale, folder: Path, seeds: int, say: Say) -> list[System2Replicate]:
        return [System2Replicate(folder / f"seed-{seed}", scale, seed) for seed in range(seeds)]

    def tables(self, scale: Scale, replicates: Sequence[System2Replicate]) -> dict[str, pd.DataFrame]:
        makers = {"models": models_table, "effects": effects_table, "verdicts": verdicts_table}
        return {
            name: pd.concat(
                [make(task, [replicate.answers(task) for replicate in replicates]) for task in scale.tasks],
                ignore_index=True,
            )
            for name, make in makers.items()
        }

    def facts(self, replicates: Sequence[System2Replicate]) -> dict[str, Any]:
        return {"parameters": _parameters(replicates[0])}

    def page(self, scale: Scale, made_by: Mapping[str, Any], tables: Tables) -> str:
        return findings_page(scale, made_by, tables)

    def summary(self, tables: Tables) -> Iterator[str]:
        """What the command prints: the models, then the effects."""
        for record in tables["models"].to_dict("records"):
            yield (
                f"{record['task']}, {record['model']:<21}  accuracy {record['accuracy']:.3f} "
                f"({record['accuracy_low']:.3f}–{record['accuracy_high']:.3f}), {record['tokens']:.1f} tokens"
            )
        for record in tables["effects"].to_dict("records"):
            yield f"{record['task']}, {record['effect']}: {record['appears']}"


def _parameters(replicate: System2Replicate) -> int:
    """Parameters of the largest base model; each has as many as the models made from it."""
    from safetensors import safe_open

    counts = []
    for base in {task.base.name for task in replicate.scale.tasks}:
        with safe_open(replicate.folder / "base" / base / "model.safetensors", "np") as weights:
            counts.append(sum(int(weights.get_tensor(name).size) for name in weights.keys()))  # noqa: SIM118
    return max(counts)


STUDY = System2Study()
