"""How the documents' tokens of one layer meet all queries: `<P_q, G_d>` and `‖G_d‖²`, the inner loop of a scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from influence.curvature.low_rank import LowRank, low_rank_products, squared_norms, token_route

#: `(a_BTI, s_BTO)` of one layer and batch.
TokenPair = tuple[Tensor, Tensor]

#: Elements of the workspace in which gradients are formed; a single gradient may be larger.
_WORKSPACE_ELEMENTS = 1 << 23
#: Queries of low rank that are made dense at a time.
_STACK = 8


class LayerProducts(Protocol):
    """The queries of one layer, ready to meet documents."""

    @property
    def matrix_elements(self) -> int:
        """Elements of one gradient matrix, `O I`."""
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
        """Room for the gradients of some documents in any of the layers, flat; written over by each `add`."""
        largest = max(layer.matrix_elements for layer in self.layers)
        return self.nll.new_empty(max(_WORKSPACE_ELEMENTS, largest), dtype=dtype)


@dataclass(frozen=True, slots=True)
class DenseProducts:
    """Queries as they are, `[Q, O, I]`."""

    p_QOI: Tensor

    @property
    def matrix_elements(self) -> int:
        """Elements of one gradient matrix, `O I`."""
        return self.p_QOI[0].numel()

    def add(
        self, tokens: Sequence[TokenPair], workspace: Tensor, dot_BQ: Tensor, squared_norm_B: Tensor
    ) -> None:
        """See `LayerProducts`."""
        p_PQ = self.p_QOI.flatten(1).mT
        for rows, g_BP in _gradients(tokens, workspace):
            dot_BQ[rows] += g_BP @ p_PQ
            squared_norm_B[rows] += _squared(g_BP, dot_BQ.dtype)


@dataclass(frozen=True, slots=True)
class LowRankProducts:
    """Queries of low rank: met token by token, or made dense a few at a time, whichever costs less."""

    queries: LowRank

    @property
    def matrix_elements(self) -> int:
        """Elements of one gradient matrix, `O I`."""
        return self.queries.left.shape[1] * self.queries.right.shape[1]

    def add(
        self, tokens: Sequence[TokenPair], workspace: Tensor, dot_BQ: Tensor, squared_norm_B: Tensor
    ) -> None:
        """See `LayerProducts`."""
        ranks = self.queries.ranks
        outputs, inputs = self.queries.left.shape[1], self.queries.right.shape[1]
        count = sum(a_BTI.shape[0] * a_BTI.shape[1] for a_BTI, _ in tokens)
        if not token_route(ranks, (outputs, inputs), count, len(dot_BQ)):
            for rows, g_BP in _gradients(tokens, workspace):
                for start in range(0, len(ranks), _STACK):
                    some = slice(start, start + _STACK)
                    dot_BQ[rows, some] += g_BP @ self.queries.dense(some, workspace.dtype).flatten(1).mT
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
    return torch.cat([_squared(g_BP, dtype) for _, g_BP in _gradients([(a_BTI, s_BTO)], workspace)])


def _squared(g_BP: Tensor, dtype: torch.dtype) -> Tensor:
    squared_B: Tensor = torch.linalg.vector_norm(g_BP, dim=1, dtype=dtype).square()
    return squared_B


def _gradients(tokens: Sequence[TokenPair], workspace: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """`G_d` of the documents in order, flat, in stacks that fit the workspace: `(rows, [B, O I])`."""
    outputs, inputs = tokens[0][1].shape[2], tokens[0][0].shape[2]
    size = len(workspace) // (outputs * inputs)
    pieces = [pair for a, s in tokens for pair in zip(a.split(size), s.split(size), strict=True)]
    begin = end = 0
    parts: list[TokenPair] = []
    for a_BTI, s_BTO in pieces:
        if end - begin + len(a_BTI) > size:
            yield slice(begin, end), _stack(parts, workspace)
            begin, parts = end, []
        parts.append((a_BTI, s_BTO))
        end += len(a_BTI)
    yield slice(begin, end), _stack(parts, workspace)


def _stack(parts: Sequence[TokenPair], workspace: Tensor) -> Tensor:
    shape = (parts[0][1].shape[2], parts[0][0].shape[2])
    documents = sum(len(a_BTI) for a_BTI, _ in parts)
    g_BOI = workspace[: documents * shape[0] * shape[1]].view(documents, *shape)
    for g_bOI, (a_BTI, s_BTO) in zip(g_BOI.split([len(a) for a, _ in parts]), parts, strict=True):
        torch.bmm(s_BTO.mT, a_BTI, out=g_bOI)
    return g_BOI.flatten(1)
