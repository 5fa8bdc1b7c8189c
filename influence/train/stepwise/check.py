"""Teacher-forced measures on held-out examples: what a stage knows, in one pass and without generating."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from influence.train.core.batches import IGNORED_LABEL
from influence.train.stepwise.batches import Cut, Forward
from influence.train.stepwise.sequences import Int64, Sequences

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
