"""Queries cut to low rank a layer at a time, and how well their scores then agree with the exact ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from influence.blocks import Eigenvectors
from influence.config import ScoreConfig
from influence.curvature.low_rank import LowRank, compress, document_roots, joined
from influence.curvature.statistics import rotated_gradient_stacks
from influence.data.query_tokens import encode_query
from influence.engine.batching import Budget, batches, return_freed_memory
from influence.engine.passes import backward, describe_documents, document_batch
from influence.engine.products import LowRankProducts, QueryProducts, TokenPair
from influence.engine.query import query_gradients
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.progress import Progress
from influence.store.documents import DocumentTable
from influence.store.factors import Factors
from influence.types import Query

#: Documents that agreement is measured on, their tokens, and the bytes of these in all layers and of the gradients in
#: the largest one. Where layers are wide the beginnings of few documents must do.
_SAMPLE_DOCUMENTS, _SAMPLE_TOKENS, _SAMPLE_BYTES = 64, 1 << 13, 1 << 30
#: From this error on, what is kept is rounded to eight bits, which changes scores far less: docs/performance.md.
_EIGHT_BITS_FROM = 0.005
#: Bytes that the tokens of queries may take in all layers before they are compressed; one query may take more.
GROUP_BYTES = 1 << 32


@dataclass(frozen=True, slots=True)
class Compression:
    """What the cut to low rank did.

    Attributes:
        error: Asked for: most share of the squared norm that a query may lose in a layer.
        mean_rank: Of a query in a layer.
        numbers: Kept, as a share of those of whole gradients.
        bits: Of each of them.
        documents: Drawn to measure agreement on.
        r_mean, r_least: Pearson's R between compressed and exact scores over these documents: mean over queries, and
            the worst. None where there are fewer than three documents.
    """

    error: float
    mean_rank: float
    numbers: float
    bits: int
    documents: int
    r_mean: float | None
    r_least: float | None


def compress_queries(
    model: LanguageModel,
    asked: LanguageModel,
    layers: Sequence[TrackedLayer],
    query_layers: Sequence[TrackedLayer],
    queries: Sequence[Query],
    factors: Factors,
    config: ScoreConfig,
    table: DocumentTable,
    budget: Budget,
) -> tuple[QueryProducts, Compression]:
    """Gradients of the queries, preconditioned and compressed a layer at a time: no dense query is kept.

    Args:
        model, layers: Of the documents.
        asked, query_layers: Of the queries.
        config: With a `query_error`.
        table: Documents to measure agreement on.
    """
    assert config.query_error is not None
    in_eight_bits = config.query_error >= _EIGHT_BITS_FROM
    sample = _Sample.drawn(model, layers, table, budget)
    groups = _groups(asked, query_layers, queries, config.max_length)
    cut: list[list[LowRank]] = [[] for _ in layers]
    exact, nll = [], []
    with Progress("compressing queries", len(layers) * len(groups), unit="layer") as bar:
        for group in groups:
            gradients = query_gradients(asked, query_layers, group, config.max_length, budget)
            exact_DQ = gradients.nll.new_zeros(sample.documents, len(group))
            for index, layer in enumerate(layers):
                found = factors.layer(layer.name)
                roots = document_roots(*factors.token_eigenvalues(layer.name))
                q_S, q_A = (
                    q.to(gradients.nll) for q in (found.gradient_eigenvectors, found.activation_eigenvectors)
                )
                seen_DP = sample.rotated(index, q_S, q_A, gradients.nll)
                kept: dict[int, LowRank] = {}
                for rows_B, p_BOI in gradients.rotated(index, found, config.damping):
                    exact_DQ[:, rows_B] += seen_DP @ p_BOI.flatten(1).mT
                    for row, p_OI in zip(rows_B.tolist(), p_BOI, strict=True):
                        one = compress(p_OI, roots, q_S, q_A, config.query_error)
                        kept[row] = one.in_eight_bits() if in_eight_bits else one.to(model.dtype)
                cut[index] += [kept[row] for row in sorted(kept)]
                return_freed_memory()
                bar.advance()
            exact.append(exact_DQ)
            nll.append(gradients.nll)
    products = QueryProducts([LowRankProducts(joined(parts)) for parts in cut], torch.cat(nll))
    cut_DQ = sample.products(products, model.dtype)
    return products, _compression(products, layers, config.query_error, torch.cat(exact, 1), cut_DQ)


def _groups(
    asked: LanguageModel, layers: Sequence[TrackedLayer], queries: Sequence[Query], max_length: int
) -> list[list[Query]]:
    """Queries in their order, as many at a time as their tokens leave room for."""
    each = asked.dtype.itemsize * sum(sum(layer.shape) for layer in layers)
    groups: list[list[Query]] = []
    used = GROUP_BYTES
    for query in queries:
        size = each * len(encode_query(asked.tokenizer, query, max_length)[0])
        if used + size > GROUP_BYTES:
            groups.append([])
            used = 0
        groups[-1].append(query)
        used += size
    return groups


@dataclass(frozen=True, slots=True)
class _Sample:
    """Documents drawn, or their beginnings: `(a_BTI, s_BTO)` in batches, for each layer."""

    documents: int
    tokens: list[list[TokenPair]]

    @staticmethod
    def drawn(
        model: LanguageModel, layers: Sequence[TrackedLayer], table: DocumentTable, budget: Budget
    ) -> _Sample:
        each = model.dtype.itemsize * sum(sum(layer.shape) for layer in layers)
        largest = 4 * max(outputs * inputs for outputs, inputs in (layer.shape for layer in layers))
        room = min(_SAMPLE_TOKENS, _SAMPLE_BYTES // each)
        longest = max(2, room // 8)
        columns = np.random.default_rng(0).permutation(len(table))[:_SAMPLE_DOCUMENTS]
        within = int((np.cumsum(np.minimum(table.lengths[columns], longest)) <= room).sum())
        columns = columns[: max(3, min(within, _SAMPLE_BYTES // largest))]
        columns = columns[np.argsort(-table.lengths[columns], kind="stable")]
        tokens: list[list[TokenPair]] = [[] for _ in layers]
        for part in batches(columns, np.minimum(table.lengths, longest), budget.batch_tokens):
            backward(
                model,
                layers,
                document_batch(table, part, model.device, longest),
                lambda layer, a_BTI, s_BTO: tokens[layer].append((a_BTI, s_BTO)),
                what=describe_documents(table.take("id", part)),
            )
        return _Sample(len(columns), tokens)

    def rotated(self, index: int, q_S: Eigenvectors, q_A: Eigenvectors, like: Tensor) -> Tensor:
        """`Q_Sᵀ G_d Q_A` of one layer, `[D, O I]`, with the dtype and device of `like`."""
        seen_DP = like.new_empty(self.documents, len(q_S) * len(q_A))
        start = 0
        for a_BTI, s_BTO in self.tokens[index]:
            for _, g_BOI in rotated_gradient_stacks(s_BTO.to(like), a_BTI.to(like), q_S, q_A):
                seen_DP[start : start + len(g_BOI)] = g_BOI.flatten(1)
                start += len(g_BOI)
        return seen_DP

    def products(self, queries: QueryProducts, dtype: torch.dtype) -> Tensor:
        """`<P_q, G_d>` over all layers, `[D, Q]`."""
        dot_DQ = queries.nll.new_zeros(self.documents, len(queries.nll))
        ignored_D, workspace = dot_DQ.new_zeros(self.documents), queries.workspace(dtype)
        for layer, tokens in zip(queries.layers, self.tokens, strict=True):
            if tokens:  # a piece of a corpus may hold no text
                layer.add(tokens, workspace, dot_DQ, ignored_D)
        return dot_DQ


def _compression(
    products: QueryProducts, layers: Sequence[TrackedLayer], error: float, exact_DQ: Tensor, cut_DQ: Tensor
) -> Compression:
    cut = [layer.queries for layer in products.layers if isinstance(layer, LowRankProducts)]
    ranks = [sum(one.ranks) for one in cut]
    queries = len(products.nll)
    kept = sum(rank * sum(layer.shape) for rank, layer in zip(ranks, layers, strict=True))
    whole = queries * sum(layer.shape[0] * layer.shape[1] for layer in layers)
    pairs = zip(exact_DQ.mT.double().cpu().numpy(), cut_DQ.mT.double().cpu().numpy(), strict=True)
    r_Q = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs] if len(exact_DQ) > 2 else []
    return Compression(
        error=error,
        mean_rank=round(sum(ranks) / (queries * len(layers)), 2),
        numbers=round(kept / whole, 4),
        bits=8 * cut[0].left.dtype.itemsize,
        documents=len(exact_DQ),
        r_mean=round(float(np.mean(r_Q)), 6) if r_Q else None,
        r_least=round(min(r_Q), 6) if r_Q else None,
    )
