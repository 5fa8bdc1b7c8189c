"""What a batch of examples looks like once its chains are cut, and the forward pass over it.

A batch is made by numpy and one gather on the CPU; the forward pass computes only the logits that are needed. Nothing
here waits for the device.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from influence.train.core.batches import Batch, labels_of, moved
from influence.train.stepwise.removal import drop_cot
from influence.train.stepwise.sequences import Int64, Sequences
from influence.train.stepwise.settings import Side


@dataclass(frozen=True)
class Cut:
    """How chains are cut, the same for every batch of a run.

    Args:
        side: Which end of a chain goes first.
        by_step: Amounts count whole steps of the chain, not tokens.
        keep_positions: What follows keeps its positions.
        pad: Id of padding.
        positions: Positions of the model.
        multiple: Batches are padded to a multiple of so many tokens, where static shapes pay.
    """

    side: Side
    by_step: bool
    keep_positions: bool
    pad: int
    positions: int | None
    multiple: int = 1

    def batch(self, sequences: Sequences, rows_B: Int64, amount_B: Int64) -> tuple[Batch, int]:
        """The inputs of a causal language model for these examples, and the number of tokens it is to predict.

        `input_ids` `[B, T]` is right-padded, which a causal model needs no mask to ignore. `labels` `[B, K]` are those
        of the last K places, the only ones with logits: place t is predicted from the logits at t − 1, so they belong
        to the logits at `-K - 1 : -1`. `position_ids` come only where positions are kept.
        """
        start_B, length_B = sequences.chain_start[rows_B], sequences.lengths[rows_B]
        chain_B = sequences.chain_lengths[rows_B]
        if self.by_step:
            amount_B = sequences.tokens_of_steps(rows_B, amount_B, self.side)
        left_B = length_B - np.minimum(amount_B, chain_B)
        place_T = np.arange(length_B.max())
        there_BT = place_T < length_B[:, None]
        source_BT = np.where(there_BT, sequences.starts[rows_B][:, None] + place_T, 0)
        ids_BT = np.where(there_BT, sequences.tokens[source_BT].astype(np.int64), self.pad)
        ids, position_ids = drop_cot(
            torch.from_numpy(ids_BT),
            torch.from_numpy(start_B.astype(np.int64)),
            torch.from_numpy(sequences.chain_end[rows_B].astype(np.int64)),
            torch.from_numpy(amount_B),
            self.side,
            keep_positions=self.keep_positions,
            pad=self.pad,
            positions=self.positions,
        )
        width = self._width(int(left_B.max()))
        ids = self._fit(ids, width, self.pad)
        labels = labels_of(ids, torch.from_numpy(start_B), torch.from_numpy(left_B))
        inputs: Batch = {"input_ids": ids, "labels": labels[:, int(start_B.min()) :]}
        if self.keep_positions:
            inputs["position_ids"] = self._fit(position_ids, width, 0)
        return inputs, int((left_B - start_B).sum())

    def _width(self, longest: int) -> int:
        width = -(-longest // self.multiple) * self.multiple
        return width if self.positions is None else max(longest, min(width, self.positions))

    @staticmethod
    def _fit(values_BT: torch.Tensor, width: int, fill: int) -> torch.Tensor:
        """Cut off columns, or add some."""
        missing = width - values_BT.shape[1]
        return torch.nn.functional.pad(values_BT, (0, missing), value=fill)


def takes(model: Any, argument: str) -> bool:
    """Whether the forward pass of a model, inside LoRA's wrapper, has this argument."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return argument in inspect.signature(inner.forward).parameters


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
        return moved(inputs, self._device)

    def __call__(self, model: torch.nn.Module, inputs: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `[B, K, V]` and the labels `[B, K]` they are to predict, of a batch that was moved."""
        length = inputs["input_ids"].shape[1]
        if self._own_mask and (self._window is None or length <= self._window):
            inputs = {**inputs, "attention_mask": self._mask(length)}
        elif "position_ids" in inputs:
            inputs = {**inputs, "attention_mask": torch.ones_like(inputs["input_ids"])}
        labels_BK = inputs["labels"]
        given = {name: value for name, value in inputs.items() if name != "labels"}
        if self._only_needed:
            given["logits_to_keep"] = labels_BK.shape[1] + 1
        logits_BKV: torch.Tensor = model(**given).logits[:, -labels_BK.shape[1] - 1 : -1]
        return logits_BKV, labels_BK

    def _causal_mask(self, length: int) -> torch.Tensor:
        """What is added to attention scores, `[1, 1, T, T]`."""
        never = torch.full((length, length), torch.finfo(self._dtype).min, dtype=self._dtype)
        return never.triu(1).to(self._device)[None, None]
