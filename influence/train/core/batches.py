"""What a batch is, where padding is kept out of the loss, and which examples each optimizer step sees.

In each epoch every example comes once. Examples are sorted by length with up to a tenth of noise, so that each epoch
has other neighbours and little padding, cut into batches, and the batches are shuffled. A step's examples depend on the
seed and the step only, so a run goes on with the very next batch after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
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


Int64 = npt.NDArray[np.int64]


class Order:
    """The examples of every step.

    Args:
        batches_of: Gives the batches of an epoch, each int64 `[B]`.
        steps_per_epoch: Batches of every epoch.
    """

    def __init__(self, batches_of: Callable[[int], Sequence[Int64]], steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._batches_of = batches_of

    def rows(self, step: int) -> Int64:
        """Numbers of the examples of a step, int64 `[B]`."""
        epoch, at = divmod(step, self.steps_per_epoch)
        return self._batches_of(epoch)[at]


def order_by_examples(lengths_N: Int64, batch_size: int, seed: int) -> Order:
    """Batches of `batch_size` examples or a little less, as equal as they go, for as many epochs as are asked for."""
    steps_per_epoch = -(-len(lengths_N) // batch_size)

    @lru_cache(maxsize=1)
    def batches_of(epoch: int) -> list[Int64]:
        rng = np.random.default_rng([seed, epoch])
        return _shuffled(np.array_split(_by_length(lengths_N, rng), steps_per_epoch), rng)

    return Order(batches_of, steps_per_epoch)


def order_by_tokens(lengths_N: Int64, batch_tokens: int, epochs: int, seed: int) -> Order:
    """Batches of at most `batch_tokens` tokens, counted with padding; a longer example is a batch of its own.

    Epochs may differ in their number of batches, so all of them are laid out at once and `steps_per_epoch` of the
    result counts the steps of the whole run.
    """
    rng = np.random.default_rng(seed)
    batches: list[Int64] = []
    for _ in range(epochs):
        batches += _shuffled(_cut_by_tokens(_by_length(lengths_N, rng), lengths_N, batch_tokens), rng)
    return Order(lambda _: batches, len(batches))


def _by_length(lengths_N: Int64, rng: np.random.Generator) -> Int64:
    return np.argsort(lengths_N * rng.uniform(1.0, 1.1, len(lengths_N)))


def _shuffled(batches: list[Int64], rng: np.random.Generator) -> list[Int64]:
    return [batches[i] for i in rng.permutation(len(batches))]


def _cut_by_tokens(order_N: Int64, lengths_N: Int64, batch_tokens: int) -> list[Int64]:
    starts, longest = [0], 0
    for place, length in enumerate(lengths_N[order_N].tolist()):
        longest = max(longest, length)
        if place > starts[-1] and longest * (place + 1 - starts[-1]) > batch_tokens:
            starts.append(place)
            longest = length
    return np.split(order_N, starts[1:])
