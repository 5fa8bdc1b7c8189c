"""The queries' side of a score: gradients of the completion, preconditioned once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from influence.curvature.ekfac import precondition
from influence.data.tokens import encode_query
from influence.engine.batching import Columns, batches, length_order, pad
from influence.engine.passes import Budget, backward, is_out_of_memory, progress
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.store.factors import Factors
from influence.types import Query

#: Queries preconditioned at a time: bounds the temporaries.
_STACK = 8


@dataclass(frozen=True, slots=True)
class PreconditionedQueries:
    """`P_q = (H + damping)⁻¹ g_q` of every query.

    Attributes:
        gradients: One `[Q, O, I]` a tracked layer.
        nll: `I_q = −log p(completion | prompt)`, nats, `[Q]`.
    """

    gradients: list[Tensor]
    nll: Tensor


def query_gradients(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    queries: Sequence[Query],
    max_length: int,
    budget: Budget,
) -> PreconditionedQueries:
    """Gradients of the summed NLL of each completion, not yet preconditioned."""
    encoded = [encode_query(model.tokenizer, query, max_length) for query in queries]
    return completion_gradients(model, layers, encoded, [query.id for query in queries], budget)


def completion_gradients(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    encoded: Sequence[tuple[list[int], int]],
    names: Sequence[str],
    budget: Budget,
) -> PreconditionedQueries:
    """The same for token ids, each with the position where its completion begins."""
    lengths = np.array([len(tokens) for tokens, _ in encoded], np.int64)
    dtype = torch.promote_types(model.dtype, torch.float32)
    gradients = [
        torch.empty(len(encoded), *layer.shape, dtype=dtype, device=model.device) for layer in layers
    ]
    nll_Q = torch.empty(len(encoded), dtype=dtype, device=model.device)

    def run(rows_B: Columns) -> None:
        batch = pad([encoded[r][0] for r in rows_B], model.device, [encoded[r][1] for r in rows_B])
        index_B = torch.from_numpy(rows_B).to(model.device)

        def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
            gradients[layer][index_B] = torch.bmm(s_BTO.to(dtype).mT, a_BTI.to(dtype))

        nll_Q[index_B] = backward(
            model, layers, batch, reduce, what="the queries " + ", ".join(names[r] for r in rows_B)
        ).to(dtype)

    with progress("query gradients", len(encoded), unit="query") as bar:
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
            bar.update(len(rows_B))
    return PreconditionedQueries(gradients, nll_Q)


def precondition_queries(
    queries: PreconditionedQueries, layers: Sequence[TrackedLayer], factors: Factors, damping: float
) -> None:
    """Precondition in place, a layer at a time."""
    with progress("preconditioning", len(layers), unit="layer") as bar:
        for layer, g_QOI in zip(layers, queries.gradients, strict=True):
            layer_factors = factors.layer(layer.name)
            for stack in g_QOI.split(_STACK):
                stack.copy_(precondition(stack, layer_factors, damping))
            bar.update()
