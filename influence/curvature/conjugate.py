"""Conjugate gradients with a preconditioner, to a stated residual. Pure tensor maths.

Solves `(H + damping) x = g` for a symmetric positive definite matrix that is known by its products alone. Source:
Hestenes and Stiefel 1952; with a preconditioner, Saad, Iterative Methods for Sparse Linear Systems, section 9.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Solution:
    """What conjugate gradients ended with.

    Attributes:
        x: `[P]`.
        residual: `‖g − (H + damping) x‖ / ‖g‖`, computed anew from `x`.
        first: The same of the preconditioner's own solution, where the search began.
        steps: Products with the matrix in the search.
    """

    x: Tensor
    residual: float
    first: float
    steps: int


def conjugate_gradients(
    multiply: Operator, g_P: Tensor, precondition: Operator, residual: float, most_steps: int
) -> Solution:
    """Solve from the preconditioner's own solution on, until the residual is reached or the steps are used up.

    Args:
        multiply: `v → (H + damping) v`, symmetric and positive definite.
        g_P: The right-hand side, not zero.
        precondition: `v → M⁻¹ v`, symmetric and positive definite.
        residual: Relative to `‖g‖`.
    """
    size = torch.linalg.vector_norm(g_P)
    x_P = precondition(g_P)
    r_P = g_P - multiply(x_P)
    first = float(torch.linalg.vector_norm(r_P) / size)
    z_P = precondition(r_P)
    direction_P, rz = z_P, torch.dot(r_P, z_P)
    steps = 0
    while float(torch.linalg.vector_norm(r_P) / size) > residual and steps < most_steps:
        image_P = multiply(direction_P)
        length = rz / torch.dot(direction_P, image_P)
        x_P = x_P + length * direction_P
        r_P = r_P - length * image_P
        z_P = precondition(r_P)
        before, rz = rz, torch.dot(r_P, z_P)
        direction_P = z_P + (rz / before) * direction_P
        steps += 1
    left = torch.linalg.vector_norm(g_P - multiply(x_P)) / size
    return Solution(x_P, float(left), first, steps)
