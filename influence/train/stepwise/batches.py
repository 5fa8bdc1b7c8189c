"""What a batch of examples looks like once its chains are cut, the forward pass over it, and measures on held-out ones.

A batch is right-padded; example b is `input SEP chain SEP #### answer EOS`, its chain the tokens
`chain_start_B[b]:chain_end_B[b]`. Both separators, input and answer stay whatever is removed. A batch is made by numpy
and one gather on the CPU; the forward pass computes only the logits that are needed. Nothing here waits for the device.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from influence.train.core.batches import IGNORED_LABEL, Batch, labels_of, moved
from influence.train.stepwise.sequences import Int64, Sequences
from influence.train.stepwise.settings import Side


def drop_cot(
    ids_BT: torch.Tensor,
    chain_start_B: torch.Tensor,
    chain_end_B: torch.Tensor,
    removed_B: torch.Tensor,
    side: Side = "left",
    *,
    keep_positions: bool = False,
    pad: int = 0,
    positions: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Remove `min(removed, chain)` tokens of each chain; what follows moves up and padding takes the end.

    No loop over examples and no device sync: shapes stay `[B, T]`, the caller cuts off columns of padding.

    Args:
        ids_BT: Token ids, int64.
        chain_start_B: Place of each chain's first token.
        chain_end_B: Place after each chain's last token.
        removed_B: How many tokens to remove, at least 0.
        side: "left" removes the first tokens of the chain, "right" the last.
        keep_positions: What follows the cut is `removed` positions further than its place: where it stood before, for
            a chain that long. A shorter chain shifts by `removed` too, so that a generator, which cannot know the
            length of the chain that is not written, puts its tokens at the same positions.
        pad: Id of padding.
        positions: With `keep_positions`, the number of positions of the model; padding is kept below it.

    Returns:
        `ids_BT` and `position_ids_BT`. Give a model kept positions only together with an attention mask:
        without one, transformers takes a jump in the positions for the beginning of another sequence.
    """
    place_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    gone_B = torch.minimum(removed_B, chain_end_B - chain_start_B)
    cut_B = chain_start_B if side == "left" else chain_end_B - gone_B
    after_BT = place_T >= cut_B[:, None]
    source_BT = place_T + gone_B[:, None] * after_BT
    there_BT = source_BT < ids_BT.shape[1]
    source_BT = source_BT.clamp(max=ids_BT.shape[1] - 1)
    position_ids_BT = place_T + removed_B[:, None] * after_BT if keep_positions else place_T.expand_as(ids_BT)
    if keep_positions and positions is not None:
        position_ids_BT = position_ids_BT.clamp(max=positions - 1)
    return ids_BT.gather(1, source_BT).masked_fill(~there_BT, pad), position_ids_BT


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


_BATCH = 128


@dataclass(frozen=True, slots=True)
class Check:
    """What a check measured, over the examples with exactly the scheduled amount removed.

    Args:
        loss: Mean nats a predicted token.
        token_accuracy: Share of predicted tokens that are the most likely one.
        answer_accuracy: Share of examples with every token from the second separator's successor on right.
        target_accuracy: Share of examples with every predicted token right: what is left of the chain, and the answer.
    """

    loss: float
    token_accuracy: float
    answer_accuracy: float
    target_accuracy: float


@torch.no_grad()
def check(
    model: torch.nn.Module, forward: Forward, sequences: Sequences, rows: Int64, cut: Cut, amount: int
) -> Check:
    """Measure the model on these rows. Draws no random numbers, and asks the device for the result once."""
    was_training = model.training
    model.eval()
    sums_4: torch.Tensor | None = None
    tokens = 0
    by_length = rows[np.argsort(sequences.lengths[rows], kind="stable")]
    for start in range(0, len(by_length), _BATCH):
        rows_B = by_length[start : start + _BATCH]
        inputs, count = cut.batch(sequences, rows_B, np.full(len(rows_B), amount, np.int64))
        inputs["answer"] = torch.from_numpy(_answer_tokens(sequences, rows_B))
        inputs = forward.moved(inputs)
        answer_B = inputs.pop("answer")
        batch_4 = _sums(*forward(model, inputs), answer_B)
        sums_4 = batch_4 if sums_4 is None else sums_4 + batch_4
        tokens += count
    model.train(was_training)
    assert sums_4 is not None
    loss, right, answers, targets = sums_4.tolist()
    return Check(loss / tokens, right / tokens, answers / len(rows), targets / len(rows))


def _answer_tokens(sequences: Sequences, rows_B: Int64) -> Int64:
    """How many of the last tokens of each example are its mark, answer and EOS."""
    count: Int64 = sequences.lengths[rows_B] - sequences.chain_end[rows_B] - 1
    return count


def _sums(logits_BKV: torch.Tensor, labels_BK: torch.Tensor, answer_B: torch.Tensor) -> torch.Tensor:
    """Sums of loss, right tokens, right answers and right targets, float64 `[4]`."""
    asked_BK = labels_BK != IGNORED_LABEL
    loss = torch.nn.functional.cross_entropy(
        logits_BKV.flatten(0, 1).float(), labels_BK.flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
    )
    right_BK = logits_BKV.argmax(-1) == labels_BK
    wrong_BK = asked_BK & ~right_BK
    to_come_BK = asked_BK.flip(1).cumsum(1).flip(1)  # labelled tokens from here to the end
    in_answer_BK = to_come_BK <= answer_B[:, None]
    return torch.stack(
        [
            loss.double(),
            (right_BK & asked_BK).sum().double(),
            (~(wrong_BK & in_answer_BK).any(1)).sum().double(),
            (~wrong_BK.any(1)).sum().double(),
        ]
    )
