"""The EK-FAC inverse: damping and the preconditioned gradient.

Per layer, `H = (Q_S ⊗ Q_A) diag(lam) (Q_S ⊗ Q_A)ᵀ` acts on the gradient matrix `G [O, I]` (vec is row-major).
Source: George et al., arXiv 1806.03884; damping as in Grosse et al., arXiv 2308.03296.
"""

from __future__ import annotations

import torch
from torch import Tensor

from influence.types import LayerFactors


def damping(lam_OI: Tensor, relative: float) -> Tensor:
    """`relative × mean(lam)` of one layer, a scalar in float64."""
    return relative * lam_OI.double().mean()


def inverse_eigenvalues(lam_OI: Tensor, relative_damping: float) -> Tensor:
    """`1 / (lam + damping)`, `[O, I]` in float64."""
    shifted_OI = lam_OI.to(torch.float64, copy=True).add_(damping(lam_OI, relative_damping))
    return shifted_OI.reciprocal_()


def precondition(g_QOI: Tensor, factors: LayerFactors, relative_damping: float) -> Tensor:
    """`P = Q_S ((Q_Sᵀ G Q_A) / (lam + damping)) Q_Aᵀ` for each gradient matrix, `[Q, O, I]`, dtype of `G`."""
    q_S = factors.gradient_eigenvectors.to(g_QOI)
    q_A = factors.activation_eigenvectors.to(g_QOI)
    rotated_QOI = q_S.mT @ (g_QOI @ q_A)
    return q_S @ (rotated_QOI.mul_(inverse_eigenvalues(factors.lam, relative_damping).to(g_QOI)) @ q_A.mT)
