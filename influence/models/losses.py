"""The negative log-likelihood, always a sum over tokens (nats)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_IGNORED = -100
#: Logits whose gradient is made at a time, on a CPU and elsewhere: what fits a cache, and what fills a GPU.
_CPU_CHUNK, _CHUNK = 1 << 20, 1 << 26


def token_nll(logits_BTV: Tensor, label_BT: Tensor, counts_BT: Tensor) -> Tensor:
    """`−log p(label at t | tokens before t)`, zero where `counts_BT` is false: `[B, T - 1]`.

    Args:
        logits_BTV: The model's logits; those at `t` predict position `t + 1`.
        label_BT: Token ids; position 0 is never predicted.
        counts_BT: Positions whose loss counts.
    """
    labels_BT = _moved(label_BT, counts_BT)
    logits = logits_BTV.flatten(0, 1).to(_at_least_fp32(logits_BTV))
    nll = F.cross_entropy(logits, labels_BT.flatten(), reduction="none", ignore_index=_IGNORED)
    return nll.view(labels_BT.shape)[:, :-1]


def nll_and_gradient_(logits_BTV: Tensor, label_BT: Tensor, counts_BT: Tensor) -> tuple[Tensor, Tensor]:
    """`token_nll`, and the gradient of its sum with respect to the logits, which takes their place in memory.

    Logits may be most of a pass's memory, and autograd would keep two more of them.

    Returns:
        NLL `[B, T - 1]`, nats, at least fp32, and the gradient `[B, T, V]` in the dtype of the logits.
    """
    labels_BT = _moved(label_BT, counts_BT)
    label_N = labels_BT.flatten()
    gradient_NV = logits_BTV.detach().flatten(0, 1)
    nll_N = torch.empty(label_N.shape, dtype=_at_least_fp32(logits_BTV), device=label_N.device)
    chunk = _CPU_CHUNK if gradient_NV.device.type == "cpu" else _CHUNK
    size = max(1, chunk // gradient_NV.shape[1])
    for label_K, nll_K, g_KV in zip(*(x.split(size) for x in (label_N, nll_N, gradient_NV)), strict=True):
        ignored_K1 = (label_K == _IGNORED)[:, None]
        index_K1 = label_K[:, None].masked_fill(ignored_K1, 0)
        log_p_KV = g_KV.to(nll_N.dtype)  # itself, unless the model computes in less
        log_p_KV -= log_p_KV.logsumexp(1, keepdim=True)
        nll_K.copy_(log_p_KV.gather(1, index_K1).neg_().masked_fill_(ignored_K1, 0).squeeze(1))
        p_KV = log_p_KV.exp_()
        p_KV.scatter_add_(1, index_K1, p_KV.new_full(index_K1.shape, -1))
        g_KV.copy_(p_KV.masked_fill_(ignored_K1, 0))
    return nll_N.view(labels_BT.shape)[:, :-1], gradient_NV.view_as(logits_BTV)


class SummedNll(torch.autograd.Function):
    """`token_nll` `[B, T - 1]` of logits that nobody else reads, for a backward pass of its sum, and of that alone.

    The gradient takes the place of the logits, and goes as soon as the head has read it: both may be most of a pass's
    memory. Let go of the logits before the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, logits_BTV: Tensor, label_BT: Tensor, counts_BT: Tensor) -> Tensor:
        """See `nll_and_gradient_`."""
        nll_BT, ctx.gradient_BTV = nll_and_gradient_(logits_BTV, label_BT, counts_BT)
        return nll_BT

    @staticmethod
    def backward(ctx: Any, ones_BT: Tensor) -> tuple[Tensor, None, None]:
        """What comes from a sum is 1."""
        gradient_BTV, ctx.gradient_BTV = ctx.gradient_BTV, None
        return gradient_BTV, None, None


def _moved(label_BT: Tensor, counts_BT: Tensor) -> Tensor:
    """What each position predicts. The labels are moved, not the logits, of which a slice would be a copy."""
    return F.pad(label_BT[:, 1:].masked_fill(~counts_BT[:, 1:], _IGNORED), (0, 1), value=_IGNORED)


def _at_least_fp32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
