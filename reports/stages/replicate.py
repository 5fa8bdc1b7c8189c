"""One seed: stepwise internalisation and two controls as long, the scores of all their checkpoints, and the page.

A training and a folder of stages are each done when their manifest says so; there is no other record of progress.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from influence.data.corpus import read_corpus
from influence.data.miniworld.corpus import write_corpus
from influence.data.tasks.document_kinds import choose
from influence.data.tasks.task import Task
from influence.engine.checkpoints import Checkpoint, find_checkpoints, score_checkpoints
from influence.report.pages import write_report
from influence.subjects.documents import task_documents
from influence.subjects.questions import Texts, asked_examples
from influence.subjects.stages import TaskOpener
from influence.train.stepwise.run import internalize
from influence.train.stepwise.settings import Settings
from influence.train.stepwise.stages import find_stages
from reports.kit.steps import Step, whole
from reports.stages.scales import Scale

#: The controls: a model that never had a chain, and one that went on with the whole of it.
CONTROLS = ("no-cot", "explicit-cot")
STEPWISE = "stepwise"
#: Folders of stages of a seed.
STAGES, OTHERS = "stages", "controls"

_RESUME_SECONDS = 60.0


class StagesReplicate:
    """All of a seed, in one folder."""

    def __init__(self, folder: Path, scale: Scale, task: Task, other: Task, seed: int) -> None:
        self.folder, self.scale, self.seed = folder, scale, seed
        self._task, self._other = task, other
        self._corpus = folder.with_name("corpus")

    def steps(self) -> list[Step]:
        """Trainings (stepwise first: the controls are trained as long), documents, scores, and the page."""
        page, corpus = self.folder / "stages.html", self._corpus
        return [
            *(self._step(f"train {name}", name, self._train) for name in (STEPWISE, *CONTROLS)),
            Step("write documents", "write documents", corpus.exists, self._write_corpus),
            self._step(f"score {STAGES}", STAGES, self._score_stages),
            self._step(f"score {OTHERS}", OTHERS, self._score_controls),
            Step("page", "page", page.is_file, partial(self._page, page)),
        ]

    def _step(self, title: str, name: str, run: Callable[[str], None]) -> Step:
        return Step(title, title, partial(whole, self.folder / name), partial(run, name))

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
        )

    def _as_long(self, mode: str) -> Settings:
        """A control that sees as many examples as the stepwise run did."""
        seen = find_stages([self.folder / STEPWISE])[-1].about.examples or 0
        return self.scale.control(mode, self.seed, seen / self._task.sizes["train"])

    def _write_corpus(self) -> None:
        """Write the documents, once: models of all seeds have the same words."""
        stage = find_stages([self.folder / STEPWISE])[0]
        pieces = choose(
            self._task,
            asked_examples(self._task, self.scale.asked),
            counts=self.scale.counts,
            other=self._other,
        )
        texts = Texts.of_stage(stage.folder)
        part = self._corpus.with_name("corpus.part")
        shutil.rmtree(part, ignore_errors=True)
        write_corpus(task_documents(pieces, self._task, texts, stage.side, self._other), part)
        part.replace(self._corpus)

    def _score_stages(self, name: str) -> None:
        self._score(name, find_checkpoints([str(self.folder / STEPWISE)]))

    def _score_controls(self, name: str) -> None:
        ends = [find_stages([self.folder / control])[-1].folder for control in CONTROLS]
        self._score(name, [Checkpoint(*pair) for pair in zip(CONTROLS, map(str, ends), strict=True)])

    def _score(self, name: str, checkpoints: Sequence[Checkpoint]) -> None:
        opener = TaskOpener(self._task, self.scale.asked, dtype=self.scale.dtype)
        corpus = read_corpus(self._corpus)
        records = score_checkpoints(checkpoints, opener, corpus, self.folder / name)
        opener.write_probes(self.folder / name, [record.name for record in records])

    def _page(self, path: Path) -> None:
        write_report(self.folder / STAGES, path)
