"""One seed of one task: where each run lies, and what makes and measures it.

A training and an evaluation are each done when their manifest says so; there is no other record of progress. Both go on
by themselves where a killed process left them.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from influence.analysis.internalization import Evaluation, read_evaluation
from influence.data.tasks.task import Task
from influence.errors import StoreError
from influence.store.artefact import differences, read_manifest
from influence.store.formats.training import FOLDER
from influence.train.evaluate import evaluate
from influence.train.kd.run import icot_kd
from influence.train.settings import EvaluationSettings
from influence.train.stepwise.new_model import SHAPES
from influence.train.stepwise.run import internalize
from influence.train.stepwise.settings import KdSettings, Settings
from reports.internalization.scales import METHODS, Scale, TaskRuns
from reports.kit.steps import Step, whole

#: An evaluation takes about so much of its run's training; a guess until the first one.
_EVALUATION = 0.1
#: Seconds between two states that a killed training goes on from; irrelevant to the result.
_RESUME_SECONDS = 60.0
#: Of the trainings that ICoT-KD takes after its teacher, two have a second model to read or to train.
_KD_TRAININGS = 5.0


class TaskReplicate:
    """The runs of one seed of a task."""

    def __init__(
        self,
        folder: Path,
        runs: TaskRuns,
        task: Task,
        scale: Scale,
        seed: int,
    ) -> None:
        self.folder, self.runs, self.seed = folder, runs, seed
        self._task, self._scale = task, scale
        self.settings = runs.runs(seed)

    def check(self) -> None:
        """Refuse runs that are there and were made with other settings; they may be deleted one by one.

        Raises:
            StoreError: There is one.
        """
        for name, settings in self.settings.items():
            manifest = read_manifest(self.folder / name)
            if manifest is None:
                continue
            now = {"model": self.runs.model, "settings": dataclasses.asdict(settings)}
            changed = differences({part: manifest["config"].get(part) for part in now}, now)
            if changed:
                raise StoreError(
                    f"{self.folder / name} was made with other settings.",
                    have="; ".join(changed),
                    fix="Choose another --out, or delete that folder to make it anew (with explicit-cot also "
                    "icot-kd, which learned from it; with no-cot all, which were timed against it).",
                )

    def steps(self) -> list[Step]:
        """Train and evaluate, run after run; no CoT first, for its speed is that of the others' unit."""
        steps = []
        for name in self.settings:
            steps += [
                Step(
                    self._kind(name),
                    f"train {name}",
                    partial(whole, self.folder / name),
                    partial(self._train, name),
                ),
                Step(
                    f"{self._kind(name)}, evaluation",
                    f"evaluate {name}",
                    partial(whole, self.folder / name / FOLDER),
                    partial(self._evaluate, name),
                ),
            ]
        return steps

    def work(self) -> dict[str, float]:
        """Kind of step -> how much work it is, in a unit of no meaning: only ratios count. Rough."""
        chain = max(1, len(next(self._task.examples("train")).chain.split()))
        shape = SHAPES.get(self.runs.model)
        an_epoch = self._task.sizes["train"] * (shape.layers * shape.width**2 if shape else 1)
        work = {}
        for name, settings in self.settings.items():
            work[self._kind(name)] = _epochs(settings, chain) * an_epoch
            work[f"{self._kind(name)}, evaluation"] = _EVALUATION * work[self._kind(name)]
        return work

    def seconds(self) -> float:
        """Of all trainings; those of processes that were killed included, but for ICoT-KD."""
        manifests = [read_manifest(self.folder / name) for name in self.settings]
        return sum(float(one["provenance"]["seconds"]) for one in manifests if one)

    def evaluations(self) -> dict[str, Evaluation]:
        """Run -> what was measured of it."""
        return {name: read_evaluation(self.folder / name) for name in self.settings}

    def _kind(self, name: str) -> str:
        return f"{self.runs.title}, {name}"

    def _train(self, name: str) -> None:
        settings = self.settings[name]
        if isinstance(settings, KdSettings):
            teacher = self.folder / "explicit-cot"
            icot_kd(
                self._task,
                self.runs.model,
                self.folder / name,
                settings,
                teacher=teacher,
                resume_seconds=_RESUME_SECONDS,
            )
        else:
            internalize(
                self._task,
                self.runs.model,
                self.folder / name,
                settings,
                resume_seconds=_RESUME_SECONDS,
            )

    def _evaluate(self, name: str) -> None:
        """Methods are timed against no CoT; of ablations only the accuracy is asked."""
        timed = name in METHODS
        evaluate(
            [self.folder / name],
            self._task,
            no_cot=self.folder / "no-cot" if timed else None,
            settings=EvaluationSettings(
                limit=self._scale.examples,
                timed=self._scale.timed if timed else 0,
                batch_size=self._scale.batch_size,
            ),
        )


def _epochs(settings: Settings | KdSettings, chain: int) -> float:
    """Passes over the training split; of the adaptive schedule as many as there can be."""
    if isinstance(settings, KdSettings):
        return _KD_TRAININGS * settings.epochs
    if settings.mode != "stepwise":
        return settings.after_epochs
    pace = settings.cap if settings.adaptive else 1 / settings.delta
    return settings.explicit_epochs + chain * pace + settings.after_epochs
