"""How the documents' tokens of one layer meet all queries: `<P_q, G_d>` and `‖G_d‖²`, the inner loop of a scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from influence.curvature.low_rank import LowRank, low_rank_products, squared_norms, token_route
from influence.curvature.vocabulary import embedding_products, embedding_squared_norms
from influence.types import VocabularyTokens

#: `(a_BTI, s_BTO)` of one layer and batch.
TokenPair = tuple[Tensor, Tensor]

#: Elements of the workspace in which gradients are formed, on a CPU and elsewhere: a GPU likes few, large products.
_CPU_WORKSPACE, _WORKSPACE = 1 << 22, 1 << 26
#: Queries of low rank that are made dense at a time.
_STACK = 8


class LayerProducts(Protocol):
    """The queries of one layer, ready to meet documents."""

    @property
    def inputs(self) -> int:
        """Of the layer, `I`."""
        ...

    def add(
        self, tokens: Sequence[TokenPair], workspace: Tensor, dot_BQ: Tensor, squared_norm_B: Tensor
    ) -> None:
        """Add this layer's `<P_q, G_d>` and `‖G_d‖²` to the sums over layers.

        Args:
            tokens: Batches whose documents follow each other in the sums.
            workspace: Of `QueryProducts`.
        """
        ...


@dataclass(frozen=True, slots=True)
class QueryProducts:
    """All queries, ready to meet documents.

    Attributes:
        layers: The queries of each tracked layer.
        nll: `I_q = −log p(completion | prompt)`, nats, `[Q]`, in the dtype of the sums.
    """

    layers: list[LayerProducts]
    nll: Tensor

    def workspace(self, dtype: torch.dtype) -> Tensor:
        """Room for rows of the gradients of some documents in any layer, flat; written over by each `add`."""
        usual = _CPU_WORKSPACE if self.nll.device.type == "cpu" else _WORKSPACE
        return self.nll.new_empty(max(usual, *(layer.inputs for layer in self.layers)), dtype=dtype)


@dataclass(frozen=True, slots=True)
class DenseProducts:
    """Queries as they are, `[Q, O, I]`."""

    p_QOI: Tensor

    @property
    def inputs(self) -> int:
        """Of the layer, `I`."""
        return self.p_QOI.shape[2]

    def add(
        self, tokens: Sequence[TokenPair], workspace: Tensor, dot_BQ: Tensor, squared_norm_B: Tensor
    ) -> None:
        """See `LayerProducts`."""
        for rows, outputs, g_BP in _gradients(tokens, workspace):
            dot_BQ[rows] += g_BP @ self.p_QOI[:, outputs].flatten(1).mT
            squared_norm_B[rows] += _squared(g_BP, dot_BQ.dtype)

    def add_vocabulary(
        self, tokens: Sequence[VocabularyTokens], workspace: Tensor, dot_BQ: Tensor, squared_norm_B: Tensor
    ) -> None:
        """The same of an output head or an embedding, with queries `[Q, V, I]`: the embedding's part by index."""
        head = [part.head for part in tokens if part.head is not None]
        if head:
            self.add(head, workspace, dot_BQ, squared_norm_B)
        start = 0
        for part in tokens:
            if part.embedding is not None:
                g_BTI, token_BT = part.embedding
                rows = slice(start, start + len(g_BTI))
                dot_BQ[rows] += embedding_products(self.p_QOI, g_BTI, token_BT).sum(2, dtype=dot_BQ.dtype).mT
                squared_norm_B[rows] += embedding_squared_norms(part)
                start = rows.stop


@dataclass(frozen=True, slots=True)
class LowRankProducts:
    """Queries of low rank: met token by token, or made dense a few at a time, whichever costs less."""

    queries: LowRank

    @property
    def inputs(self) -> int:
        """Of the layer, `I`."""
        return self.queries.right.shape[1]

    def add(
        self, tokens: Sequence[TokenPair], workspace: Tensor, dot_BQ: Tensor, squared_norm_B: Tensor
    ) -> None:
        """See `LayerProducts`."""
        ranks = self.queries.ranks
        outputs, inputs = self.queries.left.shape[1], self.queries.right.shape[1]
        count = sum(a_BTI.shape[0] * a_BTI.shape[1] for a_BTI, _ in tokens)
        if not token_route(ranks, (outputs, inputs), count, len(dot_BQ)):
            for rows, some_outputs, g_BP in _gradients(tokens, workspace):
                for start in range(0, len(ranks), _STACK):
                    some = slice(start, start + _STACK)
                    p_QoI = self.queries.dense(some, workspace.dtype, some_outputs)
                    dot_BQ[rows, some] += g_BP @ p_QoI.flatten(1).mT
                squared_norm_B[rows] += _squared(g_BP, dot_BQ.dtype)
            return
        start = 0
        for a_BTI, s_BTO in tokens:
            rows = slice(start, start + len(a_BTI))
            dot_BQ[rows] += low_rank_products(self.queries, s_BTO, a_BTI)
            squared_norm_B[rows] += _squared_norms(a_BTI, s_BTO, workspace, dot_BQ.dtype)
            start = rows.stop


def _squared_norms(a_BTI: Tensor, s_BTO: Tensor, workspace: Tensor, dtype: torch.dtype) -> Tensor:
    """`‖G_d‖²`, `[B]`, from pairs of tokens where that costs less than forming `G_d`."""
    tokens, outputs, inputs = s_BTO.shape[1], s_BTO.shape[2], a_BTI.shape[2]
    if tokens * (outputs + inputs) < outputs * inputs:
        return squared_norms(s_BTO, a_BTI)
    squared_B = torch.zeros(len(a_BTI), dtype=dtype, device=a_BTI.device)
    for rows, _, g_BP in _gradients([(a_BTI, s_BTO)], workspace):
        squared_B[rows] += _squared(g_BP, dtype)
    return squared_B


def _squared(g_BP: Tensor, dtype: torch.dtype) -> Tensor:
    squared_B: Tensor = torch.linalg.vector_norm(g_BP, dim=1, dtype=dtype).square()
    return squared_B


def _gradients(tokens: Sequence[TokenPair], workspace: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows of `G_d` of the documents, as many as fit the workspace: `(documents, outputs, [B, o I])`.

    All documents meet some outputs of the queries together, because reading dense queries is what is dear.
    """
    outputs, inputs = tokens[0][1].shape[2], tokens[0][0].shape[2]
    for documents, parts in _stacks(tokens, len(workspace) // inputs):
        count = documents.stop - documents.start
        rows = len(workspace) // (count * inputs)
        for first in range(0, outputs, rows):
            some = slice(first, min(first + rows, outputs))
            g_BoI = workspace[: count * (some.stop - first) * inputs].view(count, -1, inputs)
            for g_boI, (a_bTI, s_bTO) in zip(g_BoI.split([len(a) for a, _ in parts]), parts, strict=True):
                torch.bmm(s_bTO[:, :, some].mT, a_bTI, out=g_boI)
            yield documents, some, g_BoI.flatten(1)


def _stacks(tokens: Sequence[TokenPair], most: int) -> Iterator[tuple[slice, list[TokenPair]]]:
    """Batches together as long as they have at most so many documents; one that has more is cut."""
    begin = end = 0
    parts: list[TokenPair] = []
    for a_BTI, s_BTO in (pair for a, s in tokens for pair in zip(a.split(most), s.split(most), strict=True)):
        if end - begin + len(a_BTI) > most:
            yield slice(begin, end), parts
            begin, parts = end, []
        parts.append((a_BTI, s_BTO))
        end += len(a_BTI)
    yield slice(begin, end), parts
