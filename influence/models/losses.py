"""The negative log-likelihood, always a sum over tokens (nats)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_IGNORED = -100


def token_nll(logits_BTV: Tensor, label_BT: Tensor, counts_BT: Tensor) -> Tensor:
    """`−log p(label at t | tokens before t)`, zero where `counts_BT` is false: `[B, T - 1]`.

    Args:
        logits_BTV: The model's logits; those at `t` predict position `t + 1`.
        label_BT: Token ids; position 0 is never predicted.
        counts_BT: Positions whose loss counts.
    """
    # the labels are moved, not the logits: these may be most of a pass's memory, and a slice of them is a copy
    labels_BT = F.pad(label_BT[:, 1:].masked_fill(~counts_BT[:, 1:], _IGNORED), (0, 1), value=_IGNORED)
    logits = logits_BTV.flatten(0, 1).to(_at_least_fp32(logits_BTV))
    nll = F.cross_entropy(logits, labels_BT.flatten(), reduction="none", ignore_index=_IGNORED)
    return nll.view(labels_BT.shape)[:, :-1]


def _at_least_fp32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
