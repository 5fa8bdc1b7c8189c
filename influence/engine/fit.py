"""Fit an EK-FAC Hessian: covariances, eigenbases, corrected eigenvalues; each part is stored whole and resumable."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from influence.blocks import block_sizes, block_suffixes
from influence.config import FitConfig
from influence.curvature.eigen import eigenbasis
from influence.curvature.statistics import (
    add_covariance,
    sample_labels,
    squared_rotated_gradients,
    symmetric,
)
from influence.engine.batching import Columns, TokenBatch
from influence.engine.memory import Budget
from influence.engine.parallel.distributed import ALONE, World, shares_of_missing
from influence.engine.passes import (
    Labels,
    backward,
    describe_documents,
    document_batch,
    idle_pass,
    sum_over_documents,
)
from influence.engine.probing import unreached
from influence.engine.random_numbers import COVARIANCE_LABELS, COVARIANCE_TOKENS, EIGENVALUE_LABELS, Draws
from influence.engine.run import Run
from influence.engine.tokenised import Corpus
from influence.errors import ComputeError, InputError, ModelError
from influence.models.layers import TrackedLayer, find_layers
from influence.models.load import LanguageModel
from influence.progress import Progress
from influence.store.documents import FILE as DOCUMENTS
from influence.store.documents import DocumentTable
from influence.store.factors import (
    COVARIANCES,
    EIGEN,
    LAMBDA,
    Factors,
    load_matrices,
    load_tensors,
    open_factors,
    save_tensors,
    write_kronfluence_arguments,
)
from influence.store.journal import intact

#: A reducer that also sees which rows are tokens that count: `(layer, a_BTI, s_BTO, mask_BT)`.
_BatchReducer = Callable[[TrackedLayer, Tensor, Tensor, Tensor], None]


def fit_hessian(
    model: LanguageModel,
    corpus: Corpus,
    *,
    out: str | Path | None = None,
    config: FitConfig = FitConfig(),
    batch_tokens: int | None = None,
    world: World = ALONE,
) -> Factors:
    """Fit the EK-FAC Hessian of a model on a corpus, resuming a fit that was killed.

    Args:
        out: Folder of the result; default `runs/hessian-HASH`, the hash being that of all settings.
        config: Settings of the fit.
        batch_tokens: Padded tokens of a batch, by default what suits the device; halves by itself when memory runs out.
        world: Processes that share the documents: `influence.processes`.

    Raises:
        ModelError: no such layers, or layers that cannot be tracked.
        StoreError: `out` holds a fit with other settings, or of another model or corpus.
        ComputeError: a value is not finite, a layer has no gradient, or a document does not fit into memory.
    """
    run = Run(world, temporary=(DOCUMENTS, "*.state.safetensors", "*.part"))
    config = replace(config, max_length=model.fitting(config.max_length))
    layers = find_layers(model.model, config.layers, config.exclude_layers)
    if config.backend == "kronfluence" and world.size > 1:
        raise InputError("The backend kronfluence runs as one process.", have=f"{world.size} processes")
    routed = [layer.name for layer in layers if layer.routes or layer.expert is not None]
    if config.backend == "kronfluence" and routed:
        raise ModelError(
            "kronfluence knows linear layers only, no fused experts and no routers.",
            have=f"{len(routed)} of them are tracked, first {routed[0]}",
            fix="Leave out --backend kronfluence, or track other layers.",
        )
    surveyed = run.survey(corpus, model)
    identity = {
        **config.identity(),
        "layers": [layer.name for layer in layers],
        "model": model.fingerprint,
        "tokenizer": model.tokenizer_fingerprint,
        "dtype": model.precision,
        "corpus": surveyed.fingerprint,
    }
    folder = Path(out) if out is not None else Path("runs") / f"hessian-{_hash(identity)}"
    if run.claim(folder, "hessian", identity):
        table = run.tokenise(corpus, surveyed, model, config, draw=config.documents, seed=config.seed)
        budget = run.budget(model, table, batch_tokens)
        if config.backend == "kronfluence":
            from influence.engine.kronfluence_fit import fit_with_kronfluence

            alone = budget.batch_tokens == 1
            fit_with_kronfluence(folder, model, layers, table, config, 1 if alone else batch_tokens)
        else:
            fit = Fit(folder, model, layers, table, config, budget, world)
            fit.covariances()
            fit.eigenbases()
            fit.corrected_eigenvalues()
        if world.first and config.covariance_blocks == 1:  # kronfluence knows whole covariances only
            write_kronfluence_arguments(folder, config.empirical)
        summary = run.summary + unreached(layers, folder)
        run.finish(model, budget, corpus_documents=surveyed.documents, summary=summary)
    return open_factors(folder)


def _hash(identity: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=5).hexdigest()


@dataclass(frozen=True)
class Fit:
    """The three parts of a fit in one folder; each returns at once where its result is stored."""

    folder: Path
    model: LanguageModel
    layers: Sequence[TrackedLayer]
    table: DocumentTable
    config: FitConfig
    budget: Budget
    world: World = ALONE

    @property
    def dtype(self) -> torch.dtype:
        """Sums are kept in fp32 at least."""
        return torch.promote_types(self.model.dtype, torch.float32)

    @property
    def _draws(self) -> Draws:
        return Draws(self.table, self.config.seed)

    @cached_property
    def _covariance_tokens(self) -> int:
        """How many tokens the covariances are summed over."""
        drawn = self._draws.count(self.config.covariance_tokens, COVARIANCE_TOKENS)
        if not drawn:
            raise InputError("No token was drawn for the covariances.", fix="Raise --covariance-tokens.")
        return drawn

    def _missing(self, names: Sequence[str]) -> bool:
        stored = self.world.first and all(intact(self._path(name)) for name in names)
        return not self.world.broadcast(stored)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _store(self, name: str, tensors: dict[str, Tensor]) -> None:
        save_tensors(self._path(name), tensors)

    def covariances(self) -> None:
        """Pass 1: `Σ a aᵀ` and `Σ s sᵀ` over tokens, all or those drawn."""
        if not self._missing(COVARIANCES):
            return
        suffixes = self._suffixes
        sums = {
            f"{kind}_covariance/{layer.name}{suffix}": self._zeros(width, width)
            for layer in self.layers
            for kind, size in zip(("gradient", "activation"), layer.shape, strict=True)
            for suffix, width in zip(suffixes, block_sizes(size, len(suffixes)), strict=True)
        }

        def reduce(layer: TrackedLayer, a_BTI: Tensor, s_BTO: Tensor, mask_BT: Tensor) -> None:
            for kind, x_BTN in (("activation", a_BTI), ("gradient", s_BTO)):
                totals = [sums[f"{kind}_covariance/{layer.name}{suffix}"] for suffix in suffixes]
                for total_NN, part_BTN in zip(totals, x_BTN.split([len(t) for t in totals], 2), strict=True):
                    add_covariance(total_NN, part_BTN, mask_BT)

        tokens = torch.tensor([self._covariance_tokens])
        self._accumulate("covariances", COVARIANCE_LABELS, sums, reduce)
        if self.world.first:
            for name in ("activation_covariance", "gradient_covariance"):
                names = [layer.name + suffix for layer in self.layers for suffix in suffixes]
                self._store(name, {n: symmetric(sums[f"{name}/{n}"]) for n in names})
                self._store(f"num_{name}_processed", {layer.name: tokens.clone() for layer in self.layers})
            self._state("covariances").unlink(missing_ok=True)
        self.world.barrier(map(self._path, COVARIANCES))

    def eigenbases(self) -> None:
        """Eigendecomposition of both covariances of each layer, in float64; a finished layer survives a kill."""
        if not self._missing(EIGEN):
            return
        tokens = self._covariance_tokens
        parts = [self.folder / f"eigen-{index}.state.safetensors" for index in range(len(self.layers))]
        covariances = {
            kind: load_tensors(self._path(f"{kind}_covariance")) for kind in ("activation", "gradient")
        }
        costs = [sum(size**3 for size in layer.shape) for layer in self.layers]
        own = shares_of_missing(costs, lambda index: intact(parts[index]), self.world)[self.world.rank]
        with Progress("eigenbases", len(own), unit="layer") as bar:
            for index in own:
                result = {}
                for kind, suffix in itertools.product(covariances, self._suffixes):
                    covariance = covariances[kind][self.layers[index].name + suffix].to(self.model.device)
                    values, vectors = eigenbasis(covariance, tokens)
                    result[f"{kind}_eigenvalues{suffix}"] = values.to(self.dtype)
                    result[f"{kind}_eigenvectors{suffix}"] = vectors.to(self.dtype)
                save_tensors(parts[index], result)
                bar.advance()
        self.world.barrier(parts if self.world.first else ())
        if self.world.first:
            results = [(layer.name, load_tensors(p)) for layer, p in zip(self.layers, parts, strict=True)]
            for name in EIGEN:
                self._store(name, {n + s: found[name + s] for n, found in results for s in self._suffixes})
            for part in parts:
                part.unlink()
        self.world.barrier(map(self._path, EIGEN))

    def corrected_eigenvalues(self) -> None:
        """Pass 2: `Σ (Q_Sᵀ G Q_A)²` over documents."""
        if not self._missing(LAMBDA):
            return
        bases = {
            kind: load_matrices(self._path(f"{kind}_eigenvectors"), self._suffixes, self.model.device)
            for kind in ("activation", "gradient")
        }
        sums = {layer.name: self._zeros(*layer.shape) for layer in self.layers}

        def reduce(layer: TrackedLayer, a_BTI: Tensor, s_BTO: Tensor, mask_BT: Tensor) -> None:
            q_S, q_A = bases["gradient"][layer.name], bases["activation"][layer.name]
            sums[layer.name] += squared_rotated_gradients(s_BTO, a_BTI, q_S, q_A, self.dtype)

        self._accumulate("eigenvalues", EIGENVALUE_LABELS, sums, reduce)
        reached = {name: tensor for name, tensor in sums.items() if tensor.any()}
        if self.world.first:
            if not reached:
                raise ComputeError(
                    f"The gradient of all {len(sums)} tracked layers is zero on every document.",
                    fix="Track other layers: --layers all",
                )
            count = torch.tensor([len(self.table)])
            self._store("lambda_matrix", reached)
            self._store("num_lambda_processed", {name: count.clone() for name in reached})
            self._state("eigenvalues").unlink(missing_ok=True)
        self.world.barrier()

    @property
    def _suffixes(self) -> list[str]:
        return block_suffixes(self.config.covariance_blocks)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=self.dtype, device=self.model.device)

    def _state(self, title: str) -> Path:
        return self.folder / f"{title}.state.safetensors"

    def _accumulate(self, title: str, stream: int, sums: dict[str, Tensor], reduce: _BatchReducer) -> None:
        """Run all documents through `reduce`, storing `sums` each minute."""
        sum_over_documents(
            title,
            self._state(title),
            sums,
            self.table.lengths,
            self.budget,
            self.world,
            run=lambda columns: self._run_batch(title, stream, columns, reduce),
            idle=lambda: idle_pass(self.model, self.layers, self.table),
        )

    def _run_batch(self, title: str, stream: int, columns: Columns, reduce: _BatchReducer) -> None:
        batch = document_batch(self.table, columns, self.model.device)
        if stream == COVARIANCE_LABELS and self.config.covariance_tokens < 1:
            drawn_BT = self._draws.batch(columns, batch, COVARIANCE_TOKENS) < self.config.covariance_tokens
            batch = replace(batch, mask_BT=batch.mask_BT & drawn_BT)

        positions: dict[int, Tensor] = {}

        def consume(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
            mask_BT = batch.mask_BT if index not in positions else batch.mask_at(positions[index])
            reduce(self.layers[index], a_BTI, s_BTO, mask_BT)

        labels = None if self.config.empirical else self._sampled(columns, batch, stream)
        names = describe_documents(self.table.take("id", columns))
        what = f"pass “{title}”, {names}"
        backward(self.model, self.layers, batch, consume, labels=labels, positions=positions, what=what)

    def _sampled(self, columns: Columns, batch: TokenBatch, stream: int) -> Labels:
        """Labels from the model itself."""
        uniform_BT = self._draws.batch(columns, batch, stream)

        def labels(logits_BTV: Tensor) -> Tensor:
            return torch.roll(sample_labels(logits_BTV, uniform_BT), 1, dims=1)

        return labels
