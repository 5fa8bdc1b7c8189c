"""The forward pass of training and checks: only the logits that are needed, and nothing that waits for the device."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from influence.train.stepwise.batches import Batch, logits_of, takes


class Forward:
    """Calls a causal language model on the batches of `Cut`.

    It gives the causal mask itself, one for each length. Without a mask transformers looks in each forward pass for
    padding and for a jump in the positions, which it takes for the beginning of another sequence: the first waits for
    the device, and the second would hide the prompt from an answer with kept positions.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self._device = device
        self._only_needed = takes(model, "logits_to_keep")
        self._window = getattr(model.config, "sliding_window", None)
        self._own_mask = model.config._attn_implementation == "sdpa" and not getattr(
            model.config, "alibi", False
        )
        self._dtype = next(model.parameters()).dtype
        self._mask = lru_cache(maxsize=64)(self._causal_mask)

    def moved(self, inputs: Batch) -> Batch:
        """The batch on the device, without waiting for it."""
        if self._device.type != "cuda":
            return {name: value.to(self._device) for name, value in inputs.items()}
        return {
            name: value.pin_memory().to(self._device, non_blocking=True) for name, value in inputs.items()
        }

    def __call__(self, model: torch.nn.Module, inputs: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `[B, K, V]` and the labels `[B, K]` they are to predict, of a batch that was moved."""
        length = inputs["input_ids"].shape[1]
        if self._own_mask and (self._window is None or length <= self._window):
            inputs = {**inputs, "attention_mask": self._mask(length)}
        elif "position_ids" in inputs:
            inputs = {**inputs, "attention_mask": torch.ones_like(inputs["input_ids"])}
        return logits_of(model, inputs, self._only_needed)

    def _causal_mask(self, length: int) -> torch.Tensor:
        """What is added to attention scores, `[1, 1, T, T]`."""
        never = torch.full((length, length), torch.finfo(self._dtype).min, dtype=self._dtype)
        return never.triu(1).to(self._device)[None, None]
