"""The comparison and the ablations of Deng et al. (arXiv 2405.14838) at a size of your choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from influence.data.tasks.folder import write_task
from influence.report.internalization import internalization_page
from reports.internalization.drawings import draw_removal, draw_trade_off
from reports.internalization.replicate import TaskReplicate
from reports.internalization.results import findings_page
from reports.internalization.scales import METHODS, SCALES, Scale
from reports.internalization.tables import curves_table, effects_table, methods_table
from reports.kit.steps import Times
from reports.kit.study import Say, Study, Tables


class InternalizationStudy(Study[Scale, TaskReplicate]):
    """The runs of every task, each seed; tables methods, curves, effects, and two figures a task.

    `out/TASK/seed-N` has pages of its stepwise runs, and each run as `influence train` leaves it, but for weights:
    once evaluated, those of a method's last stage stay.
    """

    name = "internalization"
    kind = "reproduction of internalisation"
    scales = SCALES

    def claimed(self, scale: Scale) -> dict[str, Any]:
        return scale.measuring()

    def replicates(self, scale: Scale, folder: Path, seeds: int, say: Say) -> list[TaskReplicate]:
        replicates = []
        for number, runs in enumerate(scale.tasks, 1):
            runs.runs(0)
            say(f"task {number} of {len(scale.tasks)}: {runs.title}")
            task = write_task(runs.maker, folder / runs.name / "task")
            for seed in range(seeds):
                replicates.append(TaskReplicate(folder / runs.name / f"seed-{seed}", runs, task, scale, seed))
        for replicate in replicates:
            replicate.check()
        return replicates

    def where(self, replicate: TaskReplicate, seeds: int) -> str:
        return f"{replicate.runs.title}, {super().where(replicate, seeds)}"

    def work(self, replicates: Sequence[TaskReplicate]) -> Mapping[str, float]:
        return {kind: amount for replicate in replicates for kind, amount in replicate.work().items()}

    def seconds(self, replicates: Sequence[TaskReplicate], times: Times) -> float:
        return sum(replicate.seconds() for replicate in replicates)

    def tables(self, scale: Scale, replicates: Sequence[TaskReplicate]) -> dict[str, pd.DataFrame]:
        makers = {"methods": methods_table, "curves": curves_table, "effects": effects_table}
        seeds = {
            task.name: [replicate.evaluations() for replicate in replicates if replicate.runs == task]
            for task in scale.tasks
        }
        return {
            name: pd.concat([make(task, seeds[task.name]) for task in scale.tasks], ignore_index=True)
            for name, make in makers.items()
        }

    def draw(self, scale: Scale, folder: Path, replicates: Sequence[TaskReplicate], tables: Tables) -> None:
        for task in scale.tasks:
            curves = tables["curves"][tables["curves"]["task"] == task.title]
            shown = ["stepwise", "adaptive", *task.ablations]
            draw_removal(curves, folder / f"{task.name}-ablations.svg", shown, task.ablated)
            draw_trade_off(curves[curves["run"].isin(METHODS)], folder / f"{task.name}-trade-off.svg")
        for replicate in replicates:
            _write_pages(replicate)

    def page(self, scale: Scale, made_by: Mapping[str, Any], tables: Tables) -> str:
        return findings_page(scale, made_by, tables)

    def summary(self, tables: Tables) -> Iterator[str]:
        """What the command prints: the methods, then the effects."""
        for record in tables["methods"].to_dict("records"):
            yield (
                f"{record['task']}, {record['method']:<12}  accuracy {record['accuracy']:.3f} "
                f"({record['accuracy_low']:.3f}–{record['accuracy_high']:.3f}), speed {record['speed']:.2f}"
            )
        for record in tables["effects"].to_dict("records"):
            yield f"{record['task']}, {record['what']}, {record['claim']}: {record['appears']}"


def _write_pages(replicate: TaskReplicate) -> None:
    """The page of each stepwise run, compared with the baselines of its seed."""
    evaluations = replicate.evaluations()
    for name in ("stepwise", "adaptive"):
        others = [run for other, run in evaluations.items() if other in METHODS and run.method != "stepwise"]
        internalization_page(evaluations[name], replicate.folder / f"{name}.html", others=others)


STUDY = InternalizationStudy()
