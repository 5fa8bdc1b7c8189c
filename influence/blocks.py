"""Block-diagonal matrices: covariances of which only the blocks on the diagonal are kept, and their eigenvectors.

A matrix of one block is an ordinary tensor. `x @ Q`, `Q.mT @ x`, `Q.to(...)` and `len(Q)` read the same for either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from influence.errors import InputError


@dataclass(frozen=True, slots=True)
class BlockDiagonal:
    """`diag(Q_1, …, Q_n)` of square blocks, never formed: n blocks take 1/n of the numbers and of the products."""

    blocks: tuple[Tensor, ...]

    def __rmatmul__(self, x_XN: Tensor) -> Tensor:
        """`x @ Q`, `[..., X, N]`."""
        parts = x_XN.split([len(block) for block in self.blocks], dim=-1)
        return torch.cat([part @ block for part, block in zip(parts, self.blocks, strict=True)], dim=-1)

    def __matmul__(self, x_NX: Tensor) -> Tensor:
        """`Q @ x`, `[..., N, X]`."""
        parts = x_NX.split([len(block) for block in self.blocks], dim=-2)
        return torch.cat([block @ part for block, part in zip(self.blocks, parts, strict=True)], dim=-2)

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(N, N)`."""
        return tuple(sum(sizes) for sizes in zip(*(block.shape for block in self.blocks), strict=False))

    @property
    def mT(self) -> BlockDiagonal:
        """Transposed."""
        return BlockDiagonal(tuple(block.mT for block in self.blocks))

    def to(self, *args: Any) -> BlockDiagonal:
        """As `Tensor.to`."""
        return BlockDiagonal(tuple(block.to(*args) for block in self.blocks))

    def double(self) -> BlockDiagonal:
        """In float64."""
        return self.to(torch.float64)


#: Eigenvectors of a covariance, in columns: `[N, N]`.
Eigenvectors: TypeAlias = Tensor | BlockDiagonal


def block_diagonal(blocks: Sequence[Tensor]) -> Eigenvectors:
    """The matrix of these square blocks; a single one is the matrix itself."""
    return blocks[0] if len(blocks) == 1 else BlockDiagonal(tuple(blocks))


def dense(matrix: Eigenvectors) -> Tensor:
    """The whole matrix `[N, N]`, for small ones."""
    return torch.block_diag(*matrix.blocks) if isinstance(matrix, BlockDiagonal) else matrix


def block_sizes(size: int, count: int) -> list[int]:
    """Rows of each of `count` blocks of a matrix `[size, size]`; the first ones have one more where need be.

    Raises:
        InputError: there are more blocks than rows.
    """
    if count > size:
        raise InputError(
            f"A covariance of {size} rows has no {count} blocks.",
            fix=f"Use at most {size} covariance blocks.",
        )
    least, more = divmod(size, count)
    return [least + (number < more) for number in range(count)]


def block_suffixes(count: int) -> list[str]:
    """What follows the name of a matrix in those of its stored blocks: nothing, or `/0`, `/1`, …."""
    return [""] if count == 1 else [f"/{number}" for number in range(count)]
