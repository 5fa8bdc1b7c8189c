"""Removal on examples of any shape, against the plainest way to say what it does."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.data.tasks.task import Example, Task
from influence.errors import InputError
from influence.train.core.batches import IGNORED_LABEL, labels_of
from influence.train.stepwise.batches import drop_cot
from influence.train.stepwise.new_model import task_tokenizer
from influence.train.stepwise.sequences import separator, tokenize_task
from influence.train.stepwise.settings import Side

PAD = 0
SEP, EOS = 1, 2

#: prompt, chain and answer lengths, and how much to remove
EXAMPLES = st.lists(st.tuples(*[st.integers(1, 5), st.integers(0, 6), st.integers(1, 4), st.integers(0, 9)]))


def _batch(shapes: list[tuple[int, int, int, int]]) -> tuple[list[list[int]], torch.Tensor]:
    """Rows in which every token is another one, and their padded ids."""
    numbers = iter(range(10, 10_000))
    rows = []
    for prompt, chain, answer, _ in shapes:
        rows.append(
            [next(numbers) for _ in range(prompt)]
            + [SEP]
            + [next(numbers) for _ in range(chain)]
            + [SEP]
            + [next(numbers) for _ in range(answer)]
            + [EOS]
        )
    longest = max(map(len, rows))
    return rows, torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def _bounds(shapes: list[tuple[int, int, int, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    prompt, chain, _, removed = torch.tensor(shapes).T
    return prompt + 1, prompt + 1 + chain, removed


@given(EXAMPLES.filter(bool), st.sampled_from(["left", "right"]))
def test_removal_drops_exactly_so_many_tokens_of_the_chain_and_nothing_else(
    shapes: list[tuple[int, int, int, int]], side: Side
) -> None:
    rows, ids = _batch(shapes)
    starts, ends, removed = _bounds(shapes)
    new_ids, positions = drop_cot(ids, starts, ends, removed, side, pad=PAD)
    lengths = torch.tensor([len(row) for row in rows]) - torch.minimum(removed, ends - starts)
    new_labels = labels_of(new_ids, starts, lengths)
    assert new_ids.shape == ids.shape
    assert torch.equal(positions, torch.arange(ids.shape[1]).expand_as(ids))
    for b, (prompt, chain, _, n) in enumerate(shapes):
        head, middle, tail = (
            rows[b][: prompt + 1],
            rows[b][prompt + 1 :][:chain],
            rows[b][prompt + 1 + chain :],
        )
        middle = middle[n:] if side == "left" else middle[: max(0, chain - n)]
        expected = head + middle + tail
        padding = ids.shape[1] - len(expected)
        assert new_ids[b].tolist() == expected + [PAD] * padding
        assert new_labels[b].tolist() == (
            [IGNORED_LABEL] * len(head) + middle + tail + [IGNORED_LABEL] * padding
        )


@given(EXAMPLES.filter(bool))
def test_left_and_right_mirror_each_other(shapes: list[tuple[int, int, int, int]]) -> None:
    """Removing on the right of a row is removing on the left of the row read backwards."""
    rows, ids = _batch(shapes)
    starts, ends, removed = _bounds(shapes)
    right, *_ = drop_cot(ids, starts, ends, removed, "right", pad=PAD)
    backwards = [row[::-1] + [PAD] * (ids.shape[1] - len(row)) for row in rows]
    lengths = torch.tensor([len(row) for row in rows])
    left, *_ = drop_cot(torch.tensor(backwards), lengths - ends, lengths - starts, removed, "left", pad=PAD)
    for b in range(len(rows)):
        kept = [token for token in left[b].tolist() if token != PAD]
        assert [token for token in right[b].tolist() if token != PAD] == kept[::-1]


@given(EXAMPLES.filter(bool), st.sampled_from(["left", "right"]))
def test_kept_positions_leave_what_follows_where_it_stood(
    shapes: list[tuple[int, int, int, int]], side: Side
) -> None:
    rows, ids = _batch(shapes)
    starts, ends, removed = _bounds(shapes)
    new_ids, positions = drop_cot(
        ids, starts, ends, removed, side, keep_positions=True, pad=PAD, positions=100
    )
    for b, (_, chain, _, n) in enumerate(shapes):
        for token, position in zip(new_ids[b].tolist(), positions[b].tolist(), strict=True):
            if token >= 10 or token == EOS:
                before = rows[b].index(token)
                after_cut = before >= int(starts[b] if side == "left" else ends[b])
                # a chain shorter than the cut shifts by the whole cut, as a generator will
                assert position == before + (max(0, n - chain) if after_cut else 0)


def test_kept_positions_of_padding_stay_below_the_model_s() -> None:
    ids = torch.tensor([[5, SEP, 6, 7, SEP, 8, EOS], [5, SEP, SEP, 8, EOS, PAD, PAD]])
    _, positions = drop_cot(
        ids,
        torch.tensor([2, 2]),
        torch.tensor([4, 2]),
        torch.tensor([2, 2]),
        keep_positions=True,
        positions=7,
    )
    assert positions.max() == 6


TEXTS = st.lists(st.sampled_from("0123456789+()"), min_size=1, max_size=6).map(" ".join)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.one_of(st.just(""), TEXTS), TEXTS), min_size=1, max_size=5))
def test_sequences_hold_the_parts_in_their_places(triples: list[tuple[str, str, str]]) -> None:
    examples = [Example("", *triple) for triple in triples]
    tokenizer = task_tokenizer(examples)
    task = Task("own", "text", {}, step_pattern=r"\S+")
    sequences = tokenize_task(examples, task, tokenizer, by_step=True)
    sep = separator(tokenizer)
    assert len(sequences) == len(examples)
    for i, example in enumerate(examples):
        row = sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]].tolist()
        start, end, answer = sequences.chain_start[i], sequences.chain_end[i], sequences.answer_start[i]
        assert tokenizer.decode(row[: start - 1]) == example.input
        assert row[start - 1] == row[end] == sep
        assert tokenizer.decode(row[start:end]) == example.chain
        assert tokenizer.decode(row[end + 1 : answer]) == "####"
        assert tokenizer.decode(row[answer:-1]) == example.answer
        assert row[-1] == tokenizer.eos_token_id
        # a step is a word is a token here
        assert sequences.step_counts[i] == len(example.chain.split())
    rows = np.arange(len(examples))
    for side in ("left", "right"):
        removed = sequences.tokens_of_steps(rows, np.full(len(examples), 2), side)
        assert removed.tolist() == np.minimum(2, sequences.chain_lengths).tolist()


def test_steps_of_many_tokens_go_whole_from_either_side() -> None:
    examples = [Example("0", "1", "<<1+2=3>> <<3*4=12>> <<9>>", "5"), Example("1", "1", "", "5")]
    letters = [*examples, Example("2", " ".join(map(str, range(5000))), "", "1")]  # so many words: characters
    sequences = tokenize_task(
        examples, Task("own", "text", {}, r"<<.*?>>"), task_tokenizer(letters), by_step=True
    )
    assert sequences.step_counts.tolist() == [3, 0]
    rows = np.array([0, 1])
    # the first token of a part is the blank before it
    for n, left, right in ((0, 0, 0), (1, 10, 6), (2, 21, 17), (3, 27, 27), (9, 27, 27)):
        asked = np.full(2, n)
        assert sequences.tokens_of_steps(rows, asked, "left").tolist() == [left, 0]
        assert sequences.tokens_of_steps(rows, asked, "right").tolist() == [right, 0]


def test_too_long_examples_are_counted_or_refused() -> None:
    numbers = random.Random(0)
    examples = [Example("", "1", " ".join(numbers.choices("12", k=length)), "1") for length in (2, 5, 9)]
    tokenizer, task = task_tokenizer(examples), Task("own", "text", {})
    sequences = tokenize_task(examples, task, tokenizer, max_tokens=11)
    assert len(sequences) == 2
    assert sequences.dropped == {"too long": 1}
    assert sequences.lengths.tolist() == [8, 11]
    with pytest.raises(InputError, match="15 tokens, more than the model's 14 positions"):
        tokenize_task(examples, task, tokenizer, positions=14)
    with pytest.raises(InputError, match="No example is left"):
        tokenize_task(examples, task, tokenizer, max_tokens=3)
