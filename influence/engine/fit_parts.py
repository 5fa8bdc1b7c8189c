"""The three parts of a fit, each a resumable pass or computation: covariances, eigenbases, corrected eigenvalues."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from influence.blocks import block_sizes, block_suffixes
from influence.config import FitConfig
from influence.curvature.statistics import (
    add_covariance,
    eigenbasis,
    sample_labels,
    squared_rotated_gradients,
    symmetric,
)
from influence.curvature.vocabulary import add_squared_rotated, weighted_inputs
from influence.engine.batching import Budget, Columns, TokenBatch
from influence.engine.loops import sum_over_documents
from influence.engine.parallel.distributed import ALONE, World, shares_of_missing
from influence.engine.passes import (
    Labels,
    backward,
    describe_documents,
    document_batch,
    idle_pass,
)
from influence.errors import ComputeError, InputError, ModelError
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.progress import Progress
from influence.store.documents import DocumentTable
from influence.store.factors import COVARIANCES, EIGEN, LAMBDA, load_matrices, load_tensors, save_tensors
from influence.store.journal import intact
from influence.types import VocabularyTokens

#: Streams: the labels of both passes, and the tokens of the covariances.
COVARIANCE_LABELS, EIGENVALUE_LABELS, COVARIANCE_TOKENS = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Draws:
    """Numbers drawn uniformly between 0 and 1, one a token, for some documents and a seed."""

    table: DocumentTable
    seed: int

    def document(self, column: int, stream: int) -> npt.NDArray[np.float64]:
        """Those of one document, `[T]`."""
        (name,) = self.table.take("id", [column])
        identity = hashlib.blake2b(name.encode(), digest_size=8).digest()
        key = [self.seed * 4 + stream, int.from_bytes(identity, "little")]
        return np.random.Generator(np.random.Philox(key=key)).random(int(self.table.lengths[column]))

    def batch(self, columns: Columns, batch: TokenBatch, stream: int) -> Tensor:
        """Those of a batch, `[B, T]`, zero at padding."""
        uniform_BT = np.zeros(batch.input_ids.shape)
        for row, column in enumerate(columns):
            uniform_BT[row, : self.table.lengths[column]] = self.document(int(column), stream)
        return torch.from_numpy(uniform_BT).to(batch.input_ids.device)

    def count(self, share: float, stream: int) -> int:
        """How many tokens of all documents draw a number below `share`."""
        if share >= 1:
            return int(self.table.lengths.sum())
        return sum(int((self.document(column, stream) < share).sum()) for column in range(len(self.table)))


#: Reducers that also see which rows are tokens that count: `(layer, a_BTI, s_BTO, mask_BT)`, and of the vocabulary.
_BatchReducer = Callable[[TrackedLayer, Tensor, Tensor, Tensor], None]
_VocabularyReducer = Callable[[TrackedLayer, VocabularyTokens, Tensor], None]
_Reducers = tuple[_BatchReducer, _VocabularyReducer]


def require_something_to_share(config: FitConfig, layers: Sequence[TrackedLayer]) -> None:
    """Raise ModelError where experts are to share covariances and none is tracked."""
    if config.expert_covariances == "shared" and all(layer.expert is None for layer in layers):
        raise ModelError(
            "No tracked layer is an expert, so that there are no covariances to share.",
            have=f"{len(layers)} tracked, first {layers[0].name}",
            fix="Leave out --expert-covariances shared.",
        )


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

    @cached_property
    def _bases(self) -> dict[str, TrackedLayer]:
        """The names of covariances and eigenbases, each with a layer that has them."""
        return {self._basis(layer): layer for layer in self.layers}

    def _basis(self, layer: TrackedLayer) -> str:
        return layer.basis(self.config.expert_covariances == "shared")

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
            f"{kind}_covariance/{basis}{suffix}": self._zeros(width, width)
            for basis, layer in self._bases.items()
            for kind, size in layer.covariances.items()
            for suffix, width in zip(suffixes, block_sizes(size, len(suffixes)), strict=True)
        }

        def add(name: str, x_BTN: Tensor, mask_BT: Tensor) -> None:
            totals = [sums[name + suffix] for suffix in suffixes]
            for total_NN, part_BTN in zip(totals, x_BTN.split([len(t) for t in totals], 2), strict=True):
                add_covariance(total_NN, part_BTN, mask_BT)

        def reduce(layer: TrackedLayer, a_BTI: Tensor, s_BTO: Tensor, mask_BT: Tensor) -> None:
            add(f"activation_covariance/{self._basis(layer)}", a_BTI, mask_BT)
            add(f"gradient_covariance/{self._basis(layer)}", s_BTO, mask_BT)

        def reduce_vocabulary(layer: TrackedLayer, tokens: VocabularyTokens, mask_BT: Tensor) -> None:
            for x_BTI in weighted_inputs(tokens, self._zeros()):
                add(f"activation_covariance/{layer.name}", x_BTI, mask_BT)

        tokens = torch.tensor([self._covariance_tokens])
        self._accumulate("covariances", COVARIANCE_LABELS, sums, reduce, reduce_vocabulary)
        if self.world.first:
            for kind in ("activation", "gradient"):
                name = f"{kind}_covariance"
                bases = [basis for basis, layer in self._bases.items() if kind in layer.covariances]
                names = [basis + suffix for basis in bases for suffix in suffixes]
                self._store(name, {n: symmetric(sums[f"{name}/{n}"]) for n in names})
                self._store(f"num_{name}_processed", {basis: tokens.clone() for basis in bases})
            self._state("covariances").unlink(missing_ok=True)
        self.world.barrier(map(self._path, COVARIANCES))

    def eigenbases(self) -> None:
        """Eigendecomposition of both covariances of each layer, in float64; a finished layer survives a kill."""
        if not self._missing(EIGEN):
            return
        tokens = self._covariance_tokens
        parts = [self.folder / f"eigen-{index}.state.safetensors" for index in range(len(self._bases))]
        covariances = {
            kind: load_tensors(self._path(f"{kind}_covariance")) for kind in ("activation", "gradient")
        }
        costs = [sum(size**3 for size in layer.covariances.values()) for layer in self._bases.values()]
        own = shares_of_missing(costs, lambda index: intact(parts[index]), self.world)[self.world.rank]
        with Progress("eigenbases", len(own), unit="layer") as bar:
            for index in own:
                result = {}
                basis, layer = list(self._bases.items())[index]
                for kind, suffix in itertools.product(layer.covariances, self._suffixes):
                    covariance = covariances[kind][basis + suffix].to(self.model.device)
                    values, vectors = eigenbasis(covariance, tokens)
                    result[f"{kind}_eigenvalues{suffix}"] = values.to(self.dtype)
                    result[f"{kind}_eigenvectors{suffix}"] = vectors.to(self.dtype)
                save_tensors(parts[index], result)
                bar.advance()
        self.world.barrier(parts if self.world.first else ())
        if self.world.first:
            results = [(basis, load_tensors(p)) for basis, p in zip(self._bases, parts, strict=True)]
            for name in EIGEN:
                parts_of = itertools.product(results, self._suffixes)
                self._store(name, {n + s: found[name + s] for (n, found), s in parts_of if name + s in found})
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
            q_S, q_A = (bases[kind][self._basis(layer)] for kind in ("gradient", "activation"))
            sums[layer.name] += squared_rotated_gradients(s_BTO, a_BTI, q_S, q_A, self.dtype)

        def reduce_vocabulary(layer: TrackedLayer, tokens: VocabularyTokens, _: Tensor) -> None:
            add_squared_rotated(sums[layer.name], tokens, bases["activation"][layer.name])

        self._accumulate("eigenvalues", EIGENVALUE_LABELS, sums, reduce, reduce_vocabulary)
        reached = {name: tensor for name, tensor in sums.items() if tensor.any()}
        if self.world.first:
            if not reached:
                raise ComputeError(
                    f"The gradient of all {len(sums)} tracked layers is zero on every document.",
                    fix="Track other layers of the model.",
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
        return torch.zeros(shape, dtype=self.dtype, device=self.model.device)

    def _state(self, title: str) -> Path:
        return self.folder / f"{title}.state.safetensors"

    def _accumulate(self, title: str, stream: int, sums: dict[str, Tensor], *reducers: *_Reducers) -> None:
        """Run all documents through the reducers, storing `sums` each minute."""
        sum_over_documents(
            title,
            self._state(title),
            sums,
            self.table.lengths,
            self.budget,
            self.world,
            run=lambda columns: self._run_batch(title, stream, columns, *reducers),
            idle=lambda: idle_pass(self.model, self.layers, self.table),
        )

    def _run_batch(self, title: str, stream: int, columns: Columns, *reducers: *_Reducers) -> None:
        reduce, reduce_vocabulary = reducers
        batch = document_batch(self.table, columns, self.model.device)
        if stream == COVARIANCE_LABELS and self.config.covariance_tokens < 1:
            drawn_BT = self._draws.batch(columns, batch, COVARIANCE_TOKENS) < self.config.covariance_tokens
            batch = replace(batch, mask_BT=batch.mask_BT & drawn_BT)

        positions: dict[int, Tensor] = {}

        def consume(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
            mask_BT = batch.mask_BT if index not in positions else batch.mask_at(positions[index])
            reduce(self.layers[index], a_BTI, s_BTO, mask_BT)

        def vocabulary(index: int, tokens: VocabularyTokens) -> None:
            reduce_vocabulary(self.layers[index], tokens, batch.mask_BT)

        labels = None if self.config.empirical else self._sampled(columns, batch, stream)
        names = describe_documents(self.table.take("id", columns))
        what = f"pass “{title}”, {names}"
        backward(
            self.model,
            self.layers,
            batch,
            consume,
            vocabulary=vocabulary,
            labels=labels,
            positions=positions,
            what=what,
        )

    def _sampled(self, columns: Columns, batch: TokenBatch, stream: int) -> Labels:
        """Labels from the model itself."""
        uniform_BT = self._draws.batch(columns, batch, stream)

        def labels(logits_BTV: Tensor) -> Tensor:
            return torch.roll(sample_labels(logits_BTV, uniform_BT), 1, dims=1)

        return labels
