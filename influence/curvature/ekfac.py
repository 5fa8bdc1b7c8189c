"""The EK-FAC inverse: damping and the preconditioned gradient. Pure tensor maths.

Per layer, `H = (Q_S ⊗ Q_A) diag(lam) (Q_S ⊗ Q_A)ᵀ` acts on the gradient matrix `G [O, I]` (vec is row-major), so

    P = Q_S P' Q_Aᵀ,   P' = (Q_Sᵀ G Q_A) / (lam + damping)

Source: George et al., arXiv 1806.03884; damping as in Grosse et al., arXiv 2308.03296.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.blocks import Eigenvectors
from influence.curvature.statistics import rotated_gradient_stacks
from influence.types import LayerFactors


def damping(lam_OI: Tensor, relative: float) -> Tensor:
    """`relative × mean(lam)` of one layer, a scalar in float64."""
    return relative * lam_OI.double().mean()


def damped_eigenvalues(lam_OI: Tensor, relative_damping: float) -> Tensor:
    """`lam + damping`, `[O, I]` in float64."""
    return lam_OI.to(torch.float64, copy=True).add_(damping(lam_OI, relative_damping))


@dataclass(frozen=True, slots=True)
class Inverse:
    """`(H + damping)⁻¹` of one layer, in the dtype and on the device of the gradients it is applied to.

    Attributes:
        q_S, q_A: Eigenvectors `[O, O]` and `[I, I]` in columns.
        inverse_OI: `1 / (lam + damping)`.
    """

    q_S: Eigenvectors
    q_A: Eigenvectors
    inverse_OI: Tensor

    @staticmethod
    def of(factors: LayerFactors, relative_damping: float, like: Tensor) -> Inverse:
        """Return the inverse of one layer for gradients with the dtype and device of `like`."""
        return Inverse(
            factors.gradient_eigenvectors.to(like),
            factors.activation_eigenvectors.to(like),
            damped_eigenvalues(factors.lam, relative_damping).reciprocal_().to(like),
        )

    def rotated(self, s_BTO: Tensor, a_BTI: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """`P'` of gradients `G = Σ_t s aᵀ` in stacks of bounded memory: `(rows of the batch, [B, O, I])`."""
        for rows, rotated_BOI in rotated_gradient_stacks(s_BTO, a_BTI, self.q_S, self.q_A):
            yield rows, rotated_BOI.mul_(self.inverse_OI)

    def squared_norms(self, s_BTO: Tensor, a_BTI: Tensor) -> Tensor:
        """`gᵀ (H + damping)⁻¹ g` of gradients `G = Σ_t s aᵀ`, `[B]`, in this layer; at least 0."""
        total_B = s_BTO.new_zeros(len(s_BTO))
        for rows, rotated_BOI in rotated_gradient_stacks(s_BTO, a_BTI, self.q_S, self.q_A):
            total_B[rows] = rotated_BOI.square_().mul_(self.inverse_OI).sum((1, 2))
        return total_B

    def precondition(self, s_BTO: Tensor, a_BTI: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The same of `P`."""
        for rows, p_BOI in self.rotated(s_BTO, a_BTI):
            yield rows, self.q_S @ (p_BOI @ self.q_A.mT)
