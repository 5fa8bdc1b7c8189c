"""The queries' side of a score: gradients of the completion, preconditioned once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from influence.curvature.ekfac import Inverse
from influence.curvature.statistics import gradient_stacks
from influence.curvature.vocabulary import VocabularyInverse, vocabulary_gradients
from influence.data.query_tokens import encode_contrast, encode_query
from influence.engine.batching import (
    Budget,
    Columns,
    batches,
    is_out_of_memory,
    length_order,
    pad,
    return_freed_memory,
)
from influence.engine.loops import SECONDS_BETWEEN_SAVES
from influence.engine.passes import backward
from influence.engine.products import DenseProducts, QueryProducts
from influence.errors import InputError
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.losses import token_nll
from influence.progress import Progress
from influence.store.factors import Factors, load_tensors, save_tensors
from influence.store.journal import intact
from influence.types import LayerFactors, Query, VocabularyFactors, VocabularyTokens

#: Queries that are only asked for their losses at a time.
_BATCH = 32


@dataclass(frozen=True, slots=True)
class QueryGradients:
    """Gradients of the queries' completions as the tokens that make them: `G_q = Σ_t s aᵀ` has at most T directions.

    A layer can be read once: its tokens go as they are read.

    Attributes:
        tokens: For each tracked layer, batches of `(rows of the queries, s_BTO, a_BTI)`.
        nll: `I_q = −log p(completion | prompt)`, nats, `[Q]`.
        vocabulary: For each output head or embedding, by its number, batches of `(rows of the queries, tokens)`.
    """

    tokens: list[list[tuple[Tensor, Tensor, Tensor]]]
    nll: Tensor
    vocabulary: dict[int, list[tuple[Tensor, VocabularyTokens]]] = field(default_factory=dict)

    def layer(self, index: int) -> Tensor:
        """`G_q` of one layer, `[Q, O, I]`."""
        if index in self.vocabulary:
            return self._over_vocabulary(
                index, lambda tokens: torch.cat([g_BvI for _, g_BvI in vocabulary_gradients(tokens)], 1)
            )
        (_, s_BTO, a_BTI), *_ = self.tokens[index]
        g_QOI = self.nll.new_empty(len(self.nll), s_BTO.shape[2], a_BTI.shape[2])
        for rows_B, s_BTO, a_BTI in self._stacks(index):
            for rows, g_BOI in gradient_stacks(s_BTO, a_BTI):
                g_QOI[rows_B[rows]] = g_BOI
        return g_QOI

    def drop(self, index: int) -> None:
        """Let go of the tokens of a layer."""
        self.tokens[index].clear()
        self.vocabulary.pop(index, None)

    def rotated(self, index: int, factors: LayerFactors, damping: float) -> Iterator[tuple[Tensor, Tensor]]:
        """`P' = (Q_Sᵀ G Q_A) / (lam + damping)` of one layer, a few queries at a time: `(rows, [B, O, I])`."""
        inverse = Inverse.of(factors, damping, self.nll)
        for rows_B, s_BTO, a_BTI in self._stacks(index):
            for rows, p_BOI in inverse.rotated(s_BTO, a_BTI):
                yield rows_B[rows], p_BOI

    def preconditioned(self, index: int, factors: LayerFactors, damping: float) -> Tensor:
        """`P` of one layer, `[Q, O, I]`: see `influence.curvature.ekfac`."""
        inverse = Inverse.of(factors, damping, self.nll)
        p_QOI = self.nll.new_empty(len(self.nll), len(inverse.q_S), len(inverse.q_A))
        for rows_B, s_BTO, a_BTI in self._stacks(index):
            for rows, p_BOI in inverse.precondition(s_BTO, a_BTI):
                p_QOI[rows_B[rows]] = p_BOI
        return p_QOI

    def preconditioned_vocabulary(self, index: int, factors: VocabularyFactors, damping: float) -> Tensor:
        """`P` of an output head or embedding, `[Q, V, I]`: see `influence.curvature.vocabulary`."""
        inverse = VocabularyInverse.of(factors, damping, self.nll)
        return self._over_vocabulary(index, inverse.precondition)

    def _over_vocabulary(self, index: int, made: Callable[[VocabularyTokens], Tensor]) -> Tensor:
        """What is made of the tokens of each query, `[Q, V, I]`, a query at a time; batches that were read are gone."""
        result: Tensor | None = None
        while self.vocabulary[index]:
            rows_B, tokens = self.vocabulary[index].pop()
            for row, query in enumerate(rows_B.tolist()):
                one_1VI = made(tokens.documents(slice(row, row + 1)).to(self.nll))
                if result is None:
                    result = self.nll.new_empty(len(self.nll), *one_1VI.shape[1:])
                result[query] = one_1VI[0]
        assert result is not None, "a layer is read once"
        return result

    def _stacks(self, index: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The tokens of a layer in the dtype of the sums, a query at a time: bounds what is made of them.

        A batch that was read is gone: what it leaves free is wanted for the result.
        """
        while self.tokens[index]:
            for rows_B, s_BTO, a_BTI in zip(
                *(part.split(1) for part in self.tokens[index].pop()), strict=True
            ):
                yield rows_B, s_BTO.to(self.nll), a_BTI.to(self.nll)


@dataclass(frozen=True, slots=True)
class PreconditionedQueries:
    """`P_q = (H + damping)⁻¹ g_q` of every query.

    Attributes:
        gradients: One `[Q, O, I]` a tracked layer, in the dtype the model computes in.
        nll: `I_q = −log p(completion | prompt)`, nats, `[Q]`.
    """

    gradients: list[Tensor]
    nll: Tensor

    def products(self) -> QueryProducts:
        """What meets the documents of a scan."""
        return QueryProducts([DenseProducts(p_QOI) for p_QOI in self.gradients], self.nll)


def query_gradients(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    queries: Sequence[Query],
    max_length: int,
    budget: Budget,
) -> QueryGradients:
    """Gradients of what is measured of each query: the summed NLL of its completion, less that of its contrast.

    `nll` is the completion's alone, also where there is a contrast.
    """
    encoded = [encode_query(model.tokenizer, query, max_length) for query in queries]
    contrasts = {
        row: encode_contrast(model.tokenizer, query, max_length)
        for row, query in enumerate(queries)
        if query.contrast
    }
    return completion_gradients(model, layers, encoded, [query.id for query in queries], budget, contrasts)


def completion_gradients(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    encoded: Sequence[tuple[list[int], int]],
    names: Sequence[str],
    budget: Budget,
    contrasts: Mapping[int, tuple[list[int], int]] = MappingProxyType({}),
) -> QueryGradients:
    """`query_gradients` of texts that are tokens already.

    Args:
        encoded: Tokens of each query, and the place where its completion begins.
        contrasts: The same of the other completion, for the rows that have one.
    """
    model.require_causal()
    lengths = np.array([len(tokens) for tokens, _ in encoded], np.int64)
    dtype = torch.promote_types(model.dtype, torch.float32)
    tokens: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in layers]
    vocabulary: dict[int, list[tuple[Tensor, VocabularyTokens]]] = {}
    nll_Q = torch.empty(len(encoded), dtype=dtype, device=model.device)

    def completions(
        rows: Sequence[tuple[list[int], int]], what: str
    ) -> tuple[dict[int, tuple[Tensor, Tensor]], dict[int, VocabularyTokens], Tensor]:
        """Of each layer `(s_BTO, a_BTI)` or, where it has one, the vocabulary; and the NLL of each completion."""
        batch = pad([tokens for tokens, _ in rows], model.device, [start for _, start in rows])
        seen: dict[int, tuple[Tensor, Tensor]] = {}
        words: dict[int, VocabularyTokens] = {}

        def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
            seen[layer] = (s_BTO, a_BTI)

        nll_B = backward(model, layers, batch, reduce, vocabulary=words.__setitem__, what=what)
        return seen, words, nll_B

    def run(rows_B: Columns) -> None:
        what = "the queries " + ", ".join(names[r] for r in rows_B)
        index_B = torch.from_numpy(rows_B).to(model.device)
        seen, words, nll_B = completions([encoded[r] for r in rows_B], what)
        compared = [place for place, row in enumerate(rows_B.tolist()) if row in contrasts]
        if compared and words:
            raise InputError(
                f"Query {names[int(rows_B[compared[0]])]} has a contrast, and layers over the vocabulary take none.",
                fix="Fit a Hessian without the output head and the embeddings, or ask without the contrast.",
            )
        if compared:  # their tokens follow those of the completion, with the other sign
            pairs = [contrasts[int(rows_B[place])] for place in compared]
            others, _, _ = completions(pairs, f"contrasts of {what}")
            for layer, (s_BTO, a_BTI) in others.items():
                both = (_joined(x, y, compared) for x, y in zip(seen[layer], (-s_BTO, a_BTI), strict=True))
                seen[layer] = (next(both), next(both))
        nll_Q[index_B] = nll_B.to(dtype)
        for layer, (s_BTO, a_BTI) in seen.items():
            tokens[layer].append((index_B, s_BTO, a_BTI))
        for layer, found in words.items():
            vocabulary.setdefault(layer, []).append((index_B, found))

    with Progress("query gradients", len(encoded), unit="query") as bar:
        rest = length_order(lengths)
        while len(rest):
            rows_B = next(batches(rest, lengths, budget.batch_tokens))
            try:
                run(rows_B)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                budget.shrink(int(lengths.max()), error)
                continue
            rest = rest[len(rows_B) :]
            bar.advance(len(rows_B))
    return QueryGradients(tokens, nll_Q, vocabulary)


def _joined(x_BTN: Tensor, y_CUN: Tensor, places: Sequence[int]) -> Tensor:
    """`[B, T + U, N]`: the tokens of `y` after those of the rows of `x` that are its `places`, zeros after others."""
    after_BUN = x_BTN.new_zeros(len(x_BTN), *y_CUN.shape[1:])
    after_BUN[list(places)] = y_CUN
    return torch.cat([x_BTN, after_BUN], 1)


@torch.no_grad()
def completion_losses(model: LanguageModel, queries: Sequence[Query], max_length: int) -> list[float]:
    """`−log p(completion | prompt)` of each query, in nats, summed over the tokens of the completion."""
    encoded = [encode_query(model.tokenizer, query, max_length) for query in queries]
    losses: list[float] = []
    for start in range(0, len(encoded), _BATCH):
        part = encoded[start : start + _BATCH]
        batch = pad([tokens for tokens, _ in part], model.device, [begin for _, begin in part])
        logits_BTV = model.model(input_ids=batch.input_ids).logits
        losses += token_nll(logits_BTV, batch.input_ids, batch.loss_BT).sum(dim=1).tolist()
    return losses


def precondition_queries(
    queries: QueryGradients,
    layers: Sequence[TrackedLayer],
    factors: Factors | None,
    damping: float,
    dtype: torch.dtype,
    folder: Path | None = None,
) -> PreconditionedQueries:
    """Precondition a layer at a time; without factors the gradients stay as they are. Uses `queries` up.

    Args:
        dtype: Of the result: what the model computes in.
        folder: Of an unfinished run. What takes over a minute is stored there, and read by the run that resumes it.
    """
    files = (
        [folder / f"query-{index:06d}.state.safetensors" for index in range(len(layers))] if folder else []
    )
    gradients: list[Tensor] = []
    stored, saved = 0, time.monotonic()
    with Progress("preconditioning", len(layers), unit="layer") as bar:
        for index, layer in enumerate(layers):
            if files and intact(files[index]):
                p_QOI = load_tensors(files[index])["gradient"].to(queries.nll.device)
                queries.drop(index)
                stored = index + 1
            elif factors is None:
                p_QOI = queries.layer(index)
            elif layer.vocabulary is not None:
                p_QOI = queries.preconditioned_vocabulary(
                    index, factors.vocabulary_layer(layer.name), damping
                )
            else:
                p_QOI = queries.preconditioned(index, factors.layer(layer.name), damping)
            gradients.append(p_QOI.to(dtype))
            if files and time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                for number in range(stored, index + 1):
                    save_tensors(files[number], {"gradient": gradients[number]})
                stored, saved = index + 1, time.monotonic()
            return_freed_memory()
            bar.advance()
    return PreconditionedQueries(gradients, queries.nll)
