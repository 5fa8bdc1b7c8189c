"""Sums over tokens and documents that a pass accumulates, and the eigenbases of covariances. Pure tensor maths.

Shapes: `a_BTI` activations going into a layer (with a last 1 when the layer has a bias), `s_BTO`
pseudo-gradients (gradient of the summed loss with respect to the layer's output), zero at padding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from influence.blocks import Eigenvectors

#: Elements of one stack of document gradients `[b, O, I]`; bounds memory when documents are many and short.
GRADIENT_STACK_ELEMENTS = 1 << 24
#: Rows of a covariance that are added at a time.
_COVARIANCE_BLOCK = 128


def augment(a_BTI: Tensor, has_bias: bool) -> Tensor:
    """Append the constant input 1 of a bias: `[B, T, I] -> [B, T, I + 1]`."""
    if not has_bias:
        return a_BTI
    return torch.cat([a_BTI, a_BTI.new_ones(*a_BTI.shape[:2], 1)], dim=-1)


def add_covariance(total_NN: Tensor, x_BTN: Tensor, mask_BT: Tensor) -> None:
    """Add `Σ x xᵀ` over real tokens, of activations or pseudo-gradients, to the upper triangle of `total [N, N]`.

    Rows of blocks from the diagonal on: little more than half the products. What lies below it is for `symmetric`.
    """
    x_KN = x_BTN[mask_BT].to(total_NN.dtype)
    for start in range(0, len(total_NN), _COVARIANCE_BLOCK):
        rows = slice(start, start + _COVARIANCE_BLOCK)
        total_NN[rows, start:].addmm_(x_KN[:, rows].mT, x_KN[:, start:])


def symmetric(upper_NN: Tensor) -> Tensor:
    """The symmetric matrix of an upper triangle; what is below it does not count."""
    return upper_NN.triu() + upper_NN.triu(1).mT


def document_gradients(s_BTO: Tensor, a_BTI: Tensor) -> Tensor:
    """Gradient matrix of each document, `G = Σ_t s aᵀ`: `[B, O, I]`."""
    return torch.bmm(s_BTO.mT, a_BTI)


def gradient_stacks(s_BTO: Tensor, a_BTI: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """`document_gradients` in stacks of bounded memory: `(rows of the batch, G_BOI)`."""
    size = max(1, GRADIENT_STACK_ELEMENTS // (s_BTO.shape[2] * a_BTI.shape[2]))
    for start in range(0, s_BTO.shape[0], size):
        rows = slice(start, start + size)
        yield rows, document_gradients(s_BTO[rows], a_BTI[rows])


def rotated_gradient_stacks(
    s_BTO: Tensor, a_BTI: Tensor, q_S: Eigenvectors, q_A: Eigenvectors
) -> Iterator[tuple[slice, Tensor]]:
    """`Q_Sᵀ G Q_A` of each document in stacks of bounded memory: `(rows of the batch, [B, O, I])`.

    Rotates tokens, `T (I² + O²)` products a document, or gradients, `I O (I + O)`, whichever is cheaper.
    """
    tokens, outputs, inputs = s_BTO.shape[1], s_BTO.shape[2], a_BTI.shape[2]
    rotate_tokens = tokens * (inputs**2 + outputs**2) <= inputs * outputs * (inputs + outputs)
    if rotate_tokens:
        s_BTO, a_BTI = s_BTO @ q_S, a_BTI @ q_A
    for rows, g_BOI in gradient_stacks(s_BTO, a_BTI):
        yield rows, g_BOI if rotate_tokens else q_S.mT @ (g_BOI @ q_A)


def squared_rotated_gradients(
    s_BTO: Tensor, a_BTI: Tensor, q_S: Eigenvectors, q_A: Eigenvectors, dtype: torch.dtype
) -> Tensor:
    """`Σ_documents (Q_Sᵀ G Q_A)²`, elementwise: `[O, I]`, the sum behind the corrected eigenvalues.

    Source: George et al., arXiv 1806.03884.
    """
    s_BTO, a_BTI = s_BTO.to(dtype), a_BTI.to(dtype)
    total_OI = s_BTO.new_zeros(s_BTO.shape[2], a_BTI.shape[2])
    for _, rotated_BOI in rotated_gradient_stacks(s_BTO, a_BTI, q_S, q_A):
        total_OI += rotated_BOI.square_().sum(0)
    return total_OI


def sample_labels(logits_BTV: Tensor, uniform_BT: Tensor) -> Tensor:
    """Draw a label at each position from the model's own distribution, by inverse CDF: `[B, T]` int64.

    One uniform number a token, given by the caller, makes the draw independent of how documents are batched.
    """
    label_BT = torch.empty(logits_BTV.shape[:2], dtype=torch.int64, device=logits_BTV.device)
    for row, (logits_TV, uniform_T) in enumerate(zip(logits_BTV, uniform_BT, strict=True)):
        logits_TV = logits_TV.detach().to(torch.promote_types(logits_TV.dtype, torch.float32))
        cdf_TV = (logits_TV - logits_TV.amax(-1, keepdim=True)).exp_().cumsum(-1)
        below_one_T = uniform_T.to(cdf_TV).clamp(max=1 - torch.finfo(cdf_TV.dtype).eps)  # fp32 rounds to 1
        target_T1 = (below_one_T * cdf_TV[:, -1]).unsqueeze(-1)
        label_BT[row] = torch.searchsorted(cdf_TV, target_T1, right=True).squeeze(-1)
    return label_BT.clamp_(max=logits_BTV.shape[-1] - 1)


def eigenbasis(covariance_sum: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues (ascending) `[N]` and eigenvectors (columns) `[N, N]` of `covariance_sum / count`, float64."""
    mean = covariance_sum.double() / count
    eigenvalues, eigenvectors = torch.linalg.eigh((mean + mean.mT) / 2)
    return eigenvalues, eigenvectors.contiguous()
