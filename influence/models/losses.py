"""The negative log-likelihood, always a sum over tokens (nats)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def token_nll(logits_BTV: Tensor, label_BT: Tensor, counts_BT: Tensor) -> Tensor:
    """`−log p(label at t | tokens before t)`, zero where `counts_BT` is false: `[B, T - 1]`.

    Args:
        logits_BTV: The model's logits; those at `t` predict position `t + 1`.
        label_BT: Token ids; position 0 is never predicted.
        counts_BT: Positions whose loss counts.
    """
    logits, labels, counts = logits_BTV[:, :-1], label_BT[:, 1:], counts_BT[:, 1:]
    labels = labels.masked_fill(~counts, -100)
    nll = F.cross_entropy(logits.flatten(0, 1).to(_at_least_fp32(logits)), labels.flatten(), reduction="none")
    return nll.view(labels.shape)


def _at_least_fp32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
