"""From a step to its batch: which examples, and what they look like once the chain is cut.

The examples of a step depend on the seed and the step alone, so a run goes on with the very next batch after a kill.
Everything here is numpy and one gather over the batch on the CPU: nothing waits for the device.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from influence.train.core.text import IGNORED_LABEL
from influence.train.stepwise.removal import Side, drop_cot
from influence.train.stepwise.sequences import Int64, Sequences

Batch = dict[str, Any]


class Order:
    """The examples of every step of every epoch; in each epoch every example comes once.

    Examples of similar length share a batch: they are sorted by length with a tenth of noise, so that each epoch has
    other neighbours, cut into batches as equal as they go, and the batches shuffled. Where all lengths are equal that
    is a shuffle.
    """

    def __init__(self, lengths_N: Int64, batch_size: int, seed: int) -> None:
        self._lengths_N, self._batch_size, self._seed = lengths_N, batch_size, seed
        self._epoch = lru_cache(maxsize=1)(self._laid_out)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return -(-len(self._lengths_N) // self._batch_size)

    @property
    def smallest(self) -> int:
        """Examples of the smallest batch."""
        return len(self._lengths_N) // self.steps_per_epoch

    def rows(self, step: int) -> Int64:
        """Numbers of the examples of a step, int64 `[B]`; B is the batch size or a little less."""
        epoch, at = divmod(step, self.steps_per_epoch)
        return self._epoch(epoch)[at]

    def _laid_out(self, epoch: int) -> list[Int64]:
        rng = np.random.default_rng([self._seed, epoch])
        order = np.argsort(self._lengths_N * rng.uniform(1.0, 1.1, len(self._lengths_N)))
        batches = np.array_split(order, self.steps_per_epoch)
        return [batches[i] for i in rng.permutation(len(batches))]


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
        labels_BT = np.where(there_BT & (place_T >= start_B[:, None]), ids_BT, IGNORED_LABEL)
        cut = drop_cot(
            torch.from_numpy(ids_BT),
            torch.from_numpy(labels_BT),
            torch.from_numpy(start_B.astype(np.int64)),
            torch.from_numpy(sequences.chain_end[rows_B].astype(np.int64)),
            torch.from_numpy(amount_B),
            self.side,
            keep_positions=self.keep_positions,
            pad=self.pad,
            positions=self.positions,
        )
        width = self._width(int(left_B.max()))
        ids, labels, position_ids = (
            self._fit(t, width, fill) for t, fill in zip(cut, self._fills, strict=True)
        )
        first = int(start_B.min())
        inputs: Batch = {"input_ids": ids, "labels": labels[:, first:]}
        if self.keep_positions:
            inputs["position_ids"] = position_ids
        return inputs, int((left_B - start_B).sum())

    def _width(self, longest: int) -> int:
        width = -(-longest // self.multiple) * self.multiple
        return width if self.positions is None else max(longest, min(width, self.positions))

    @property
    def _fills(self) -> tuple[int, int, int]:
        return self.pad, IGNORED_LABEL, 0

    @staticmethod
    def _fit(values_BT: torch.Tensor, width: int, fill: int) -> torch.Tensor:
        """Cut off columns, or add some."""
        missing = width - values_BT.shape[1]
        return torch.nn.functional.pad(values_BT, (0, missing), value=fill)


def takes(model: Any, argument: str) -> bool:
    """Whether the forward pass of a model, inside LoRA's wrapper, has this argument."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return argument in inspect.signature(inner.forward).parameters


def logits_of(model: torch.nn.Module, inputs: Batch, only_needed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `[B, K, V]` and the labels `[B, K]` they are to predict.

    Args:
        only_needed: The model has `logits_to_keep`: leave out the logits of the prompt.
    """
    labels_BK = inputs["labels"]
    given = {name: value for name, value in inputs.items() if name != "labels"}
    if only_needed:
        given["logits_to_keep"] = labels_BK.shape[1] + 1
    logits_BKV: torch.Tensor = model(**given).logits[:, -labels_BK.shape[1] - 1 : -1]
    return logits_BKV, labels_BK
