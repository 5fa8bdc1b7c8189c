"""Random numbers of a fit: each document has its own, whatever batch it is in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from influence.engine.batching import Columns, TokenBatch
from influence.store.documents import DocumentTable

#: Streams: the labels of both passes, and the tokens of the covariances.
COVARIANCE_LABELS, EIGENVALUE_LABELS, COVARIANCE_TOKENS = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Draws:
    """Numbers drawn uniformly between 0 and 1, one a token, for some documents and a seed."""

    table: DocumentTable
    seed: int

    def document(self, column: int, stream: int) -> npt.NDArray[np.float64]:
        """Those of one document, `[T]`."""
        (name,) = self.table.take("id", [column])
        identity = hashlib.blake2b(name.encode(), digest_size=8).digest()
        key = [self.seed * 4 + stream, int.from_bytes(identity, "little")]
        return np.random.Generator(np.random.Philox(key=key)).random(int(self.table.lengths[column]))

    def batch(self, columns: Columns, batch: TokenBatch, stream: int) -> Tensor:
        """Those of a batch, `[B, T]`, zero at padding."""
        uniform_BT = np.zeros(batch.input_ids.shape)
        for row, column in enumerate(columns):
            uniform_BT[row, : self.table.lengths[column]] = self.document(int(column), stream)
        return torch.from_numpy(uniform_BT).to(batch.input_ids.device)

    def count(self, share: float, stream: int) -> int:
        """How many tokens of all documents draw a number below `share`."""
        if share >= 1:
            return int(self.table.lengths.sum())
        return sum(int((self.document(column, stream) < share).sum()) for column in range(len(self.table)))
