"""What a batch is, and where padding is kept out of the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: The label of a place that is not to be predicted, as transformers has it.
IGNORED_LABEL = -100

#: Named tensors of a batch; an entry may hold a batch itself.
Batch = dict[str, Any]


def labels_of(ids_BT: Tensor, start_B: Tensor, end_B: Tensor) -> Tensor:
    """Labels `[B, T]`: the token itself from `start_B` up to, not including, `end_B`; elsewhere `IGNORED_LABEL`.

    Every trainer's loss comes through here: what stands before `start_B` is given, what stands from `end_B` on is
    padding, and neither is predicted.
    """
    place_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    predicted_BT = (place_T >= start_B[:, None]) & (place_T < end_B[:, None])
    return ids_BT.masked_fill(~predicted_BT, IGNORED_LABEL)


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device, without waiting for it."""
    return {
        name: moved(value, device) if isinstance(value, dict) else _moved(value, device)
        for name, value in batch.items()
    }


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
