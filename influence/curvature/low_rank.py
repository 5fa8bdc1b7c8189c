"""Queries of low rank: the few directions of a preconditioned gradient that documents can see. Pure tensor maths.

A document sees `P [O, I]` only through `<P, Σ_t s aᵀ>`. Where its tokens are independent draws of covariance `S ⊗ A`,
the mean square of a token's part is `‖S^½ P A^½‖²`. In that metric a query is cut to rank r, by the leading singular
pairs of `S^½ P A^½`, with the roots undone afterwards. In the eigenbases, with eigenvalues `e_S` and `e_A`,

    M = diag(√e_S) P' diag(√e_A),   P' = Q_Sᵀ P Q_A = (Q_Sᵀ G Q_A) / (lam + damping)

so `P` itself is never formed. The plain metric takes 1 for both roots: the singular pairs of `P`, as kronfluence and
Grosse et al. (arXiv 2308.03296, section 3.2.2) have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.blocks import Eigenvectors

#: Eigenvalues below this part of their mean count as that much: a root must not be divided by zero.
_FLOOR = 1e-6
_FIRST_RANK = 16
#: The largest integer of eight bits that has a negative.
_LARGEST = 127
#: Directions that the search for singular pairs takes beside those it keeps, and how often it improves them.
_OVERSAMPLED, _ITERATIONS = 8, 2


@dataclass(frozen=True, slots=True)
class LowRank:
    """`P_q ≈ Σ_k scale_k left_kᵀ right_k` over the rows `k` of query `q`.

    Attributes:
        left: `[K, O]`, the rows of the first query first; integers of eight bits, or floating point.
        right: `[K, I]`.
        scale: `[K]`, of ones where rows are in floating point.
        ranks: Rows of each query, `Σ ranks = K`.
    """

    left: Tensor
    right: Tensor
    scale: Tensor
    ranks: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        return int(self.left.nbytes + self.right.nbytes + self.scale.nbytes)

    def to(self, dtype: torch.dtype) -> LowRank:
        """The same rows in another floating-point dtype."""
        return LowRank(self.left.to(dtype), self.right.to(dtype), self.scale, self.ranks)

    def in_eight_bits(self) -> LowRank:
        """Each row rounded to integers from -127 to 127 of its own scale."""
        left_KO, left_K = _rounded(self.left)
        right_KI, right_K = _rounded(self.right)
        return LowRank(left_KO, right_KI, self.scale * left_K * right_K, self.ranks)

    def some(self, rows: slice) -> LowRank:
        """Some of the queries, which follow each other."""
        begin, end, _ = rows.indices(len(self.ranks))
        kept = slice(sum(self.ranks[:begin]), sum(self.ranks[:end]))
        return LowRank(self.left[kept], self.right[kept], self.scale[kept], self.ranks[begin:end])

    def apart(self) -> list[LowRank]:
        """Each query by itself."""
        left, right, scale = (rows.split(self.ranks) for rows in (self.left, self.right, self.scale))
        return [LowRank(*one, (len(one[0]),)) for one in zip(left, right, scale, strict=True)]

    def dense(self, rows: slice, dtype: torch.dtype, outputs: slice = slice(None)) -> Tensor:
        """`P` of some of the queries, and of some outputs: `[Q, O, I]`."""
        some = self.some(rows).apart()
        return torch.stack(
            [(one.scale[:, None] * one.left[:, outputs]).to(dtype).mT @ one.right.to(dtype) for one in some]
        )


def _rounded(rows_KN: Tensor) -> tuple[Tensor, Tensor]:
    scale_K = (rows_KN.abs().amax(1) / _LARGEST).clamp(min=torch.finfo(rows_KN.dtype).tiny)
    return (rows_KN / scale_K[:, None]).round().to(torch.int8), scale_K


@dataclass(frozen=True, slots=True)
class Roots:
    """How much documents see of each eigen-direction: `√e_S [O]` and `√e_A [I]`."""

    outputs: Tensor
    inputs: Tensor


def document_roots(gradient_eigenvalues: Tensor, activation_eigenvalues: Tensor) -> Roots:
    """The metric of documents, from the eigenvalues of `S` and of `A`."""
    return Roots(*(_floored(e.double()).sqrt() for e in (gradient_eigenvalues, activation_eigenvalues)))


def plain_roots(outputs: int, inputs: int) -> Roots:
    """The metric of plain singular values."""
    return Roots(torch.ones(outputs, dtype=torch.float64), torch.ones(inputs, dtype=torch.float64))


def _floored(values: Tensor) -> Tensor:
    return values.clamp(min=_FLOOR * float(values.mean()))


def compress(p_OI: Tensor, roots: Roots, q_S: Eigenvectors, q_A: Eigenvectors, error: float) -> LowRank:
    """One query at the least rank that loses at most `error` of `‖M‖²`.

    Args:
        p_OI: `P'`, a preconditioned gradient in the eigenbases.
        q_S, q_A: Eigenvectors in columns.
        error: Share of the squared norm, between 0 and 1; the scores' R is then about `√(1 − error)`.
    """
    root_S, root_A = roots.outputs.to(p_OI), roots.inputs.to(p_OI)
    u_RO, v_RI = leading_pairs(root_S[:, None] * p_OI * root_A, error)
    left_RO, right_RI = (u_RO / root_S) @ q_S.mT, (v_RI / root_A) @ q_A.mT
    return LowRank(left_RO, right_RI, left_RO.new_ones(len(left_RO)), (len(left_RO),))


def joined(parts: Sequence[LowRank]) -> LowRank:
    """All queries of these parts, in this order."""
    return LowRank(
        torch.cat([part.left for part in parts]),
        torch.cat([part.right for part in parts]),
        torch.cat([part.scale for part in parts]),
        tuple(rank for part in parts for rank in part.ranks),
    )


def leading_pairs(m_OI: Tensor, error: float) -> tuple[Tensor, Tensor]:
    """Rows `u [R, O]` (singular values inside) and `v [R, I]` with `‖M − uᵀ v‖² ≤ error ‖M‖²`, R as small as may be.

    Ranks are doubled until one is enough. Source of the search: Halko, Martinsson and Tropp, arXiv 0909.4061.
    """
    total = float(m_OI.square().sum())
    most = min(m_OI.shape)
    rank = min(_FIRST_RANK, most)
    while True:
        values_R, u_RO, v_RI = _search(m_OI, min(rank + _OVERSAMPLED, most))
        lost_R = total - values_R[:rank].double().square().cumsum(0)
        enough = (lost_R <= error * total).nonzero()
        if len(enough) or rank == most:
            kept = int(enough[0]) + 1 if len(enough) else rank
            return u_RO[:kept] * values_R[:kept, None], v_RI[:kept]
        rank = min(2 * rank, most)


def _search(m_OI: Tensor, directions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Leading singular values, nearly, with their left and right vectors as rows."""
    if directions == min(m_OI.shape):
        u, values, vh = torch.linalg.svd(m_OI, full_matrices=False)
        return values, u.mT, vh
    generator = torch.Generator().manual_seed(0)
    start_IR = torch.randn(m_OI.shape[1], directions, generator=generator, dtype=torch.float64).to(m_OI)
    basis_OR = torch.linalg.qr(m_OI @ start_IR).Q
    for _ in range(_ITERATIONS):
        basis_OR = torch.linalg.qr(m_OI @ torch.linalg.qr(m_OI.mT @ basis_OR).Q).Q
    turn_RR, values_R, v_RI = torch.linalg.svd(basis_OR.mT @ m_OI, full_matrices=False)
    return values_R, (basis_OR @ turn_RR).mT, v_RI


def low_rank_products(queries: LowRank, s_BTO: Tensor, a_BTI: Tensor) -> Tensor:
    """`<P_q, G_d>` from tokens, `[B, Q]`: `Σ_k Σ_t (s · left_k)(a · right_k)`; forms neither `P_q` nor `G_d`."""
    part_BTK = (s_BTO @ queries.left.to(s_BTO.dtype).mT).mul_(a_BTI @ queries.right.to(a_BTI.dtype).mT)
    per_BK = part_BTK.sum(1, dtype=torch.promote_types(part_BTK.dtype, torch.float32)) * queries.scale
    owner_K = torch.repeat_interleave(torch.tensor(queries.ranks)).to(per_BK.device)
    return per_BK.new_zeros(len(per_BK), len(queries.ranks)).index_add_(1, owner_K, per_BK)


def squared_norms(s_BTO: Tensor, a_BTI: Tensor) -> Tensor:
    """`‖G_d‖²` without `G_d`, `[B]`: `Σ_tu (s_t · s_u)(a_t · a_u)`; `T (O + I)` products a token instead of `O I`."""
    gram_BTT = torch.bmm(s_BTO, s_BTO.mT).mul_(torch.bmm(a_BTI, a_BTI.mT))
    squared_B: Tensor = gram_BTT.sum((1, 2), dtype=torch.promote_types(gram_BTT.dtype, torch.float32))
    return squared_B.clamp_(min=0)


def token_route(ranks: Sequence[int], shape: tuple[int, int], tokens: int, documents: int) -> bool:
    """Whether products from tokens cost less than forming `P_q` and `G_d` for so many tokens of so many documents."""
    outputs, inputs = shape
    by_tokens = tokens * sum(ranks) * (outputs + inputs)
    by_matrices = outputs * inputs * (tokens + documents * len(ranks) + sum(ranks))
    return by_tokens < by_matrices
