"""Influence token by token and layer by layer, for the few documents a reader opens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from influence.engine.batching import pad
from influence.engine.passes import backward
from influence.engine.precondition import PreconditionedQueries
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel


def token_scores(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    queries: PreconditionedQueries,
    documents: Sequence[npt.NDArray[np.int32] | list[int]],
) -> Tensor:
    """`s_tᵀ P_q a_t` for each layer, query, document and position: `[L, Q, B, T]`, zero at padding.

    Sums over positions give a layer's score, sums over layers a token's, both together `score[q, d]`. Position `t` is
    where the computation runs, one before the token it helps to predict (Grosse et al., arXiv 2308.03296, token-wise
    attribution).
    """
    batch = pad(documents, model.device)
    result = torch.zeros(len(layers), len(queries.nll), *batch.input_ids.shape, dtype=queries.nll.dtype)

    def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        for query, p_OI in enumerate(queries.gradients[layer]):
            result[layer, query] = ((s_BTO.to(p_OI.dtype) @ p_OI) * a_BTI).sum(-1).cpu()

    backward(model, layers, batch, reduce, what="the documents to decompose")
    return result
