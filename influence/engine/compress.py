"""Queries cut to low rank a layer at a time, and how well their scores then agree with the exact ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from influence.blocks import Eigenvectors
from influence.curvature.low_rank import compress, document_roots, joined
from influence.curvature.statistics import rotated_gradient_stacks
from influence.engine.batching import Columns, batches, pad
from influence.engine.memory import return_freed_memory
from influence.engine.passes import Budget, backward, describe_documents, progress
from influence.engine.precondition import QueryGradients
from influence.engine.products import LowRankProducts, QueryProducts, TokenPair
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.store.documents import DocumentTable
from influence.store.factors import Factors

#: Documents that agreement is measured on: drawn until they have so many tokens, or there are so many.
_SAMPLE_TOKENS, _SAMPLE_DOCUMENTS = 1 << 13, 64


@dataclass(frozen=True, slots=True)
class Compression:
    """What the cut to low rank did.

    Attributes:
        error: Asked for: most share of the squared norm that a query may lose in a layer.
        mean_rank: Of a query in a layer.
        numbers: Kept, as a share of those of whole gradients.
        documents: Drawn to measure agreement on.
        r_mean, r_least: Pearson's R between compressed and exact scores over these documents: mean over queries, and
            the worst. None where there are fewer than three documents.
    """

    error: float
    mean_rank: float
    numbers: float
    documents: int
    r_mean: float | None
    r_least: float | None


def compress_queries(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    gradients: QueryGradients,
    factors: Factors,
    damping: float,
    error: float,
    table: DocumentTable,
    budget: Budget,
) -> tuple[QueryProducts, Compression]:
    """Precondition and compress all queries, a layer at a time: no dense query is kept. Uses `gradients` up."""
    columns = _sample(table.lengths)
    sample = _tokens(model, layers, table, columns, budget)
    exact_DQ = gradients.nll.new_zeros(len(columns), len(gradients.nll))
    cut_DQ, ignored_D = torch.zeros_like(exact_DQ), exact_DQ.new_zeros(len(columns))
    products = QueryProducts([], gradients.nll)
    with progress("compressing queries", len(layers), unit="layer") as bar:
        for index, layer in enumerate(layers):
            found = factors.layer(layer.name)
            roots = document_roots(*factors.token_eigenvalues(layer.name))
            q_S, q_A = (
                q.to(gradients.nll) for q in (found.gradient_eigenvectors, found.activation_eigenvectors)
            )
            cut: dict[int, tuple[Tensor, Tensor]] = {}
            for rows_B, p_BOI in gradients.rotated(index, found, damping):
                if len(columns):
                    exact_DQ[:, rows_B] += _rotated_products(p_BOI, sample[index], q_S, q_A)
                for row, p_OI in zip(rows_B.tolist(), p_BOI, strict=True):
                    cut[row] = compress(p_OI, roots, q_S, q_A, error)
            gradients.tokens[index].clear()
            return_freed_memory()
            queries = joined([cut[row] for row in sorted(cut)], model.dtype)
            products.layers.append(LowRankProducts(queries))
            if len(columns):  # a piece of a corpus may hold no text
                workspace = products.workspace(model.dtype)
                products.layers[index].add(sample[index], workspace, cut_DQ, ignored_D)
                sample[index].clear()
            bar.update()
    return products, _compression(products, layers, error, exact_DQ, cut_DQ)


def _sample(lengths: Columns) -> Columns:
    """Documents drawn for measuring, longest first."""
    drawn = np.random.default_rng(0).permutation(len(lengths))[:_SAMPLE_DOCUMENTS]
    within = np.cumsum(lengths[drawn]) <= _SAMPLE_TOKENS
    drawn = drawn[: max(3, int(within.sum()))]
    return drawn[np.argsort(-lengths[drawn], kind="stable")]


def _tokens(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    table: DocumentTable,
    columns: Columns,
    budget: Budget,
) -> list[list[TokenPair]]:
    """`(a_BTI, s_BTO)` of these documents, in batches, for each layer."""
    tokens: list[list[TokenPair]] = [[] for _ in layers]
    for part in batches(columns, table.lengths, budget.batch_tokens):
        batch = pad([table.tokens(column) for column in part], model.device)
        backward(
            model,
            layers,
            batch,
            lambda layer, a_BTI, s_BTO: tokens[layer].append((a_BTI, s_BTO)),
            what=describe_documents(table.take("id", part)),
        )
    return tokens


def _rotated_products(
    p_QOI: Tensor, sample: Sequence[TokenPair], q_S: Eigenvectors, q_A: Eigenvectors
) -> Tensor:
    """`<P', Q_Sᵀ G_d Q_A>`, which is `<P, G_d>`, of the sampled documents, `[D, Q]`."""
    parts = [
        g_BOI.flatten(1) @ p_QOI.flatten(1).mT
        for a_BTI, s_BTO in sample
        for _, g_BOI in rotated_gradient_stacks(s_BTO.to(p_QOI), a_BTI.to(p_QOI), q_S, q_A)
    ]
    return torch.cat(parts)


def _compression(
    products: QueryProducts, layers: Sequence[TrackedLayer], error: float, exact_DQ: Tensor, cut_DQ: Tensor
) -> Compression:
    ranks = [sum(layer.queries.ranks) for layer in products.layers if isinstance(layer, LowRankProducts)]
    queries = len(products.nll)
    kept = sum(rank * sum(layer.shape) for rank, layer in zip(ranks, layers, strict=True))
    whole = queries * sum(layer.shape[0] * layer.shape[1] for layer in layers)
    pairs = zip(exact_DQ.mT.double().cpu().numpy(), cut_DQ.mT.double().cpu().numpy(), strict=True)
    r_Q = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs] if len(exact_DQ) > 2 else []
    return Compression(
        error=error,
        mean_rank=round(sum(ranks) / (queries * len(layers)), 2),
        numbers=round(kept / whole, 4),
        documents=len(exact_DQ),
        r_mean=round(float(np.mean(r_Q)), 6) if r_Q else None,
        r_least=round(min(r_Q), 6) if r_Q else None,
    )
