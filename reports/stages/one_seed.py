"""One seed: stepwise internalisation and two controls as long, the scores of all their checkpoints, and the page.

A training and a folder of stages are each done when their manifest says so; there is no other record of progress.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from influence.data.chains.task import Task
from influence.data.corpus import read_corpus
from influence.engine.checkpoints import Checkpoint, find_checkpoints, score_checkpoints
from influence.report.pages import write_report
from influence.store.artefact import read_manifest
from influence.subjects.scoring import TaskOpener
from influence.train.stepwise.run import internalize
from influence.train.stepwise.settings import Settings
from influence.train.stepwise.stages import find_stages
from reports.kit.steps import Step
from reports.stages.scales import Scale

#: The controls: a model that never had a chain, and one that went on with the whole of it.
CONTROLS = ("no-cot", "explicit-cot")
STEPWISE = "stepwise"
#: Folders of stages of a seed.
STAGES, OTHERS = "stages", "controls"

_RESUME_SECONDS = 60.0


class OneSeed:
    """All of a seed, in one folder."""

    def __init__(
        self, folder: Path, scale: Scale, task: Task, corpus: Path, seed: int, say: Callable[[str], None]
    ) -> None:
        self.folder, self.scale, self.seed = folder, scale, seed
        self._task, self._corpus, self._say = task, corpus, say

    def trainings(self) -> list[Step]:
        """Stepwise first: the controls are trained as long."""
        return [
            Step(
                f"train {name}",
                f"train {name}",
                partial(_complete, self.folder / name),
                partial(self._train, name),
            )
            for name in (STEPWISE, *CONTROLS)
        ]

    def scorings(self) -> list[Step]:
        """The stages, then the controls, then the page of the stages."""
        last = self.folder / "stages.html"
        steps = [
            Step(f"score {name}", f"score {name}", partial(_complete, self.folder / name), partial(run, name))
            for name, run in ((STAGES, self._score_stages), (OTHERS, self._score_controls))
        ]
        return [*steps, Step("page", "page", last.is_file, partial(self._page, last))]

    def _train(self, name: str) -> None:
        settings = self.scale.stepwise(self.seed)
        if name != STEPWISE:
            settings = self._as_long(name)
        internalize(
            self._task,
            self.scale.model,
            self.folder / name,
            settings,
            resume_seconds=_RESUME_SECONDS,
            tell=self._say,
        )

    def _as_long(self, mode: str) -> Settings:
        """A control that sees as many examples as the stepwise run did."""
        seen = int(find_stages([self.folder / STEPWISE])[-1].about["examples"])
        return self.scale.control(mode, self.seed, seen / self._task.sizes["train"])

    def _score_stages(self, name: str) -> None:
        self._score(name, find_checkpoints([str(self.folder / STEPWISE)]))

    def _score_controls(self, name: str) -> None:
        ends = [find_stages([self.folder / control])[-1].folder for control in CONTROLS]
        self._score(name, [Checkpoint(*pair) for pair in zip(CONTROLS, map(str, ends), strict=True)])

    def _score(self, name: str, checkpoints: Sequence[Checkpoint]) -> None:
        opener = TaskOpener(self._task, self.scale.asked, dtype=self.scale.dtype)
        corpus = read_corpus(self._corpus)
        records = score_checkpoints(checkpoints, opener, corpus, self.folder / name, tell=self._say)
        opener.write_probes(self.folder / name, [record.name for record in records])

    def _page(self, path: Path) -> None:
        write_report(self.folder / STAGES, path)


def _complete(folder: Path) -> bool:
    manifest = read_manifest(folder)
    return manifest is not None and manifest["status"] == "complete"
