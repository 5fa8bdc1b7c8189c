"""Blocks and batches cover every document once, longest first, within the budget; borders do not move."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from influence.engine.batching import batches, blocks, length_order, pad

Lengths = st.lists(st.integers(2, 60), min_size=1, max_size=80).map(lambda n: np.array(n, np.int64))


@given(Lengths, st.integers(1, 400))
def test_blocks_are_a_longest_first_partition(lengths: np.ndarray, block_tokens: int) -> None:
    plan = blocks(lengths, block_tokens)
    order = np.concatenate(plan)
    assert sorted(order) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) <= 0).all()
    for one, two in pairwise(order):
        assert lengths[one] > lengths[two] or one < two  # equal lengths stay in document order
    for block in plan:
        assert len(block) > 0
        # A block holds the documents that begin within its stretch of tokens.
        assert lengths[block[:-1]].sum() < block_tokens


@given(Lengths, st.integers(1, 400), st.integers(0, 90))
def test_what_is_done_moves_no_border(lengths: np.ndarray, block_tokens: int, done: int) -> None:
    """A resumed run sums the same blocks as one that was not disturbed: else the last bits of its sums differ."""
    plain, resumed = (
        set(np.cumsum([len(block) for block in plan]).tolist())
        for plan in (blocks(lengths, block_tokens), blocks(lengths, block_tokens, done))
    )
    assert resumed == plain | ({done} if 0 < done < len(lengths) else set())


@given(Lengths, st.integers(1, 400), st.integers(1, 300))
def test_batches_partition_a_block_within_the_budget(
    lengths: np.ndarray, block_tokens: int, batch_tokens: int
) -> None:
    for block in blocks(lengths, block_tokens):
        cut = list(batches(block, lengths, batch_tokens))
        np.testing.assert_array_equal(np.concatenate(cut), block)
        for batch in cut:
            assert len(batch) * lengths[batch].max() <= batch_tokens or len(batch) == 1
        for batch, _ in pairwise(cut):  # no batch is smaller than it must be
            assert (len(batch) + 1) * lengths[batch[0]] > batch_tokens


@given(Lengths, st.integers(1, 400), st.integers(1, 300), st.integers(1, 300))
def test_a_smaller_budget_moves_no_border(lengths: np.ndarray, block_tokens: int, one: int, two: int) -> None:
    """Blocks stored under one budget are valid under any other."""
    for block in blocks(lengths, block_tokens):
        joined = [np.concatenate(list(batches(block, lengths, budget))) for budget in (one, two)]
        np.testing.assert_array_equal(*joined)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1, max_size=8), st.data())
def test_padding_marks_what_is_real_and_what_counts(tokens: list[list[int]], data: st.DataObject) -> None:
    starts = [data.draw(st.integers(1, len(row))) for row in tokens]
    batch = pad(tokens, torch.device("cpu"), starts)
    assert batch.input_ids.shape == (len(tokens), max(map(len, tokens)))
    for row, (ids, start) in enumerate(zip(tokens, starts, strict=True)):
        assert batch.input_ids[row, : len(ids)].tolist() == ids
        assert batch.mask_BT[row].tolist() == [t < len(ids) for t in range(batch.input_ids.shape[1])]
        assert batch.loss_BT[row].tolist() == [start <= t < len(ids) for t in range(batch.input_ids.shape[1])]
    plain = pad(tokens, torch.device("cpu"))
    assert torch.equal(plain.loss_BT[:, 1:], plain.mask_BT[:, 1:])
    assert not plain.loss_BT[:, 0].any()


@pytest.mark.parametrize("lengths", [[5, 5, 5], [1, 9, 9, 3]])
def test_length_order_is_stable(lengths: list[int]) -> None:
    expected = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    assert length_order(np.array(lengths)).tolist() == expected
