"""The frame of a run: survey the corpus, claim the folder, tokenise, work, finish with provenance, tidy up."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from influence.engine.memory import Budget
from influence.engine.parallel.distributed import ALONE, World
from influence.engine.probing import probed_budget
from influence.engine.tokenised import Corpus, Survey, survey, tokenised_documents
from influence.errors import ModelError
from influence.models.load import LanguageModel
from influence.provenance import provenance
from influence.store.artefact import claim, differences, finish
from influence.store.documents import DocumentTable
from influence.store.journal import close_journal, keep_journal


class _Reading(Protocol):
    """The settings that say how documents are read."""

    @property
    def max_length(self) -> int: ...

    @property
    def windows(self) -> bool: ...


class Run:
    """A run into one folder. The first process surveys, claims, tokenises and finishes for all.

    `survey`, `claim`, `tokenise`, `budget` and `finish` are called in this order; a run without a corpus of its own
    leaves out the first and the third. Its time begins when it is made.

    Args:
        world: Processes that share the run.
        temporary: Patterns of what only a resumed run needs. It is removed once the result is there, also when a kill
            came between the result and its removal.
    """

    def __init__(self, world: World = ALONE, temporary: tuple[str, ...] = ("*.part",)) -> None:
        self.world = world
        self.manifest: dict[str, Any] = {}
        self._started = time.monotonic()
        self._temporary = temporary
        self._folder: Path | None = None
        self._facts: dict[str, Any] = {}

    @property
    def folder(self) -> Path:
        """The folder that was claimed."""
        assert self._folder is not None, "claim comes first"
        return self._folder

    @property
    def summary(self) -> str:
        """One sentence on the documents that were tokenised."""
        return str(self._facts["summary"])

    def survey(self, corpus: Corpus, model: LanguageModel) -> Survey:
        """Return the size and fingerprint of the corpus as the model reads it, which identify a run over it."""
        surveyed = survey(corpus, model.tokenizer, self.world)
        self._facts["corpus_name"] = corpus.name
        return surveyed

    def claim(self, folder: Path, kind: str, identity: dict[str, Any]) -> bool:
        """Claim the folder for all processes; False where it holds the finished result of the same run.

        The first process claims, the others write down what they will write into the folder.

        Raises:
            StoreError: as `influence.store.artefact.claim`.
            ModelError: another process has another model.
        """
        self._folder = folder
        self.manifest = self.world.broadcast(claim(folder, kind, identity) if self.world.first else {})
        if not self.world.first:
            changed = differences(self.manifest["config"], json.loads(json.dumps(identity)))
            if changed:
                raise ModelError(
                    f"Process {self.world.rank} runs something else than the first.",
                    have="; ".join(changed),
                    fix="Give every machine the same model, Hessian and arguments.",
                )
        if self.manifest["status"] == "complete":
            self._tidy()
            return False
        if not self.world.first:
            keep_journal(folder, self.world.rank)
        return True

    def tokenise(
        self,
        corpus: Corpus,
        surveyed: Survey,
        model: LanguageModel,
        reading: _Reading,
        *,
        draw: int | None = None,
        seed: int = 0,
        rows: range | None = None,
    ) -> DocumentTable:
        """Return the documents of the run, see `influence.engine.tokenised.tokenised_documents`."""
        table, report = tokenised_documents(
            self.folder,
            corpus,
            surveyed,
            model,
            reading.max_length,
            reading.windows,
            draw=draw,
            seed=seed,
            rows=rows,
            world=self.world,
        )
        self._facts |= {
            "summary": report.sentence(reading.max_length, model.positions),
            "tokens": asdict(report),
            "positions": model.positions,
        }
        return table

    def budget(self, model: LanguageModel, table: DocumentTable, batch_tokens: int | None) -> Budget:
        """Return the budget of the batches, see `influence.engine.probing.probed_budget`."""
        budget, self._facts["probe"] = probed_budget(model, table, batch_tokens, self.world)
        return budget

    def finish(self, model: LanguageModel, budget: Budget, **facts: Any) -> None:
        """Mark the result complete, with what made it, and remove what only a resumed run needs.

        Args:
            facts: Further entries of the provenance.
        """
        made = {
            "model_name": model.name,
            "batch_tokens": budget.batch_tokens,
            "device": str(model.device),
            **self._facts,
            **facts,
        }
        if model.quantisation:
            made["quantisation"] = model.quantisation
        if self.world.size > 1:
            made["processes"] = self.world.size
        if self.world.first:
            finish(
                self.folder,
                self.manifest,
                provenance(time.monotonic() - self._started, **made),
                self._temporary,
            )
        else:
            close_journal(self.folder)
        self.world.barrier()
        self._tidy()

    def _tidy(self) -> None:
        if not self.world.first:
            return
        for path in (found for pattern in self._temporary for found in self.folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
