"""The exact oracle for small models: per-document gradients, the dense Fisher, the dense solve.

Everything here is quadratic or cubic in the number of parameters: for tests and for checking an approximation
on a model of a few thousand tracked parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from influence.blocks import dense
from influence.types import LayerFactors


def per_document_gradients(
    loss: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    parameters: Mapping[str, Tensor],
    documents: Tensor,
) -> dict[str, Tensor]:
    """Gradient of `loss(parameters, document)` for each document by `vmap(grad)`: name -> `[D, *shape]`."""
    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(dict(parameters), documents)
    return dict(gradients)


def fisher(g_DP: Tensor) -> Tensor:
    """Dense Fisher of flattened per-document gradients, `mean g gᵀ`: `[P, P]`."""
    return (g_DP.mT @ g_DP) / g_DP.shape[0]


def solve(hessian_PP: Tensor, damping: Tensor | float, g_NP: Tensor) -> Tensor:
    """`(H + damping)⁻¹ g` for each row of `g_NP`."""
    identity = torch.eye(hessian_PP.shape[0], dtype=hessian_PP.dtype, device=hessian_PP.device)
    solution: Tensor = torch.linalg.solve(hessian_PP + damping * identity, g_NP.mT).mT
    return solution


def kfac_matrix(activation_covariance: Tensor, gradient_covariance: Tensor, tokens: float) -> Tensor:
    """K-FAC of one layer as a dense matrix, `tokens × S ⊗ A`, vec row-major: `[O·I, O·I]`.

    `tokens` is the mean number of tokens a document: the covariances are per token, the Fisher per document.
    """
    product: Tensor = torch.kron(gradient_covariance, activation_covariance)
    return tokens * product


def ekfac_matrix(factors: LayerFactors) -> Tensor:
    """EK-FAC of one layer as a dense matrix, `[O·I, O·I]`."""
    basis: Tensor = torch.kron(dense(factors.gradient_eigenvectors), dense(factors.activation_eigenvectors))
    return basis @ torch.diag(factors.lam.flatten()) @ basis.mT
