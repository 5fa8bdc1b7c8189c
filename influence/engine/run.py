"""The frame of a run: survey the corpus, claim the folder, tokenise, work, finish with provenance, tidy up.

Before the first batch it is proved that the documents fit the model and that their gradients are their own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from influence.engine.batching import Budget, usual_batch_tokens
from influence.engine.parallel.distributed import ALONE, World
from influence.engine.tokenised import Corpus, Survey, survey, tokenised_documents
from influence.errors import ModelError
from influence.files import close_journal
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.probe import Independence, embedding_rows, independence
from influence.provenance import provenance
from influence.store.artefact import claim, differences, finish
from influence.store.documents import DocumentTable
from influence.store.factors import load_tensors
from influence.store.journal import keep_journal


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
        """Return the budget of the batches, see `influence.engine.run.probed_budget`."""
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


def probed_budget(
    model: LanguageModel, table: DocumentTable, batch_tokens: int | None, world: World = ALONE
) -> tuple[Budget, dict[str, Any]]:
    """The budget of a run's batches, and what the probes of the model found, for the manifest.

    Where a document's loss changes with its neighbour, each batch holds one document. The probe takes as long as one
    or two batches of the run.

    Args:
        batch_tokens: Padded tokens of a batch; None takes what suits the device.

    Raises:
        ModelError: the model is not causal, or keeps a state; or a document has a token that the model has no
            embedding of.
    """
    model.require_causal()
    _require_embeddings(model, table)
    wanted = batch_tokens or usual_batch_tokens(model.device)
    found = _independence(model, table, wanted)
    budget = Budget(1 if found.alone else wanted, lockstep=world.fsdp)
    return budget, {"later_tokens": model.movement, **asdict(found), "alone": found.alone}


def _independence(model: LanguageModel, table: DocumentTable, batch_tokens: int) -> Independence:
    """Probe the longest document that shares a batch with another, and one of middle length."""
    lengths = table.lengths
    order = np.argsort(lengths, kind="stable")
    sharing = order[2 * lengths[order] <= batch_tokens]
    if not len(table):
        return Independence(None, 0.0, model.rounding**0.5)
    if len(sharing) < 2:
        return independence(model.model, table.tokens(int(order[0])), None, model.rounding)
    longer, shorter = int(sharing[-1]), int(sharing[(len(sharing) - 1) // 2])
    return independence(model.model, table.tokens(longer), table.tokens(shorter), model.rounding)


def _require_embeddings(model: LanguageModel, table: DocumentTable) -> None:
    rows = embedding_rows(model.model)
    if table.highest_token < rows:
        return
    column = next(c for c in range(len(table)) if table.tokens(c).max() >= rows)
    token = int(table.tokens(column).max())
    raise ModelError(
        f"{model.name} has no embedding of a token in document {table.take('id', [column])[0]}.",
        have=f"token {token} {model.tokenizer.convert_ids_to_tokens(token)!r}, and {rows:,} embeddings",
        fix="Use the tokenizer that the model was trained with, or leave the document out of the corpus.",
    )


def unreached(layers: Sequence[TrackedLayer], folder: Path) -> str:
    """What the summary of a fit says of tracked layers that no document reaches: the Hessian leaves them out."""
    covered = load_tensors(folder / "num_lambda_processed.safetensors")
    names = [layer.name for layer in layers if layer.name not in covered]
    if not names:
        return ""
    first = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"; {len(names)} tracked layers have no gradient on any document and contribute nothing: {first}"
