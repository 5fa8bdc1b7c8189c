"""Eigenbases of the covariances, in float64 whatever the covariances were accumulated in."""

from __future__ import annotations

import torch
from torch import Tensor


def eigenbasis(covariance_sum: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues (ascending) `[N]` and eigenvectors (columns) `[N, N]` of `covariance_sum / count`, float64."""
    mean = covariance_sum.double() / count
    eigenvalues, eigenvectors = torch.linalg.eigh((mean + mean.mT) / 2)
    return eigenvalues, eigenvectors.contiguous()
