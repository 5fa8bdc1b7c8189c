"""Greedy decoding with explicit positions: those of training, whatever the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from position_model import position_model
from tiny import tiny_model

from influence.errors import ModelError
from influence.models.decode import Marks, Prompt, decode_at_positions
from influence.train.stepwise.batches import drop_cot
from influence.train.stepwise.settings import Side

SEP, END = 5, 6
MARKS = Marks(SEP, END)


def watched(model: Any) -> list[torch.Tensor]:
    """The position ids of every call from now on."""
    seen: list[torch.Tensor] = []
    model.register_forward_pre_hook(
        lambda _module, _args, inputs: seen.append(inputs["position_ids"].clone()), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("removed", [0, 2, 4, 6])  # 6: more than the chain has
@pytest.mark.parametrize("positions", [32, 12])  # 12: a gap of 6 leads past them
def test_positions_are_those_of_training(side: Side, removed: int, positions: int) -> None:
    """Decoding a sequence meets every token at the position that `drop_cot` gave it in training."""
    head, chain, tail = [1, 2, SEP], [11, 12, 13, 14], [SEP, 9, 15, 16, END]
    start, end = len(head), len(head) + len(chain)
    ids_BT = torch.tensor([head + chain + tail])
    there = torch.tensor([start]), torch.tensor([end]), torch.tensor([removed])
    ids_BT, position_BT = drop_cot(
        ids_BT,
        *there,
        side,
        keep_positions=True,
        positions=positions,
    )
    length = start + max(len(chain) - removed, 0) + len(tail)
    ids, trained = ids_BT[0, :length].tolist(), position_BT[0, :length].tolist()
    says = {trained[place]: ids[place + 1] for place in range(start - 1, length - 1)}
    model = position_model(says, 20, positions)
    seen = watched(model)
    (said,) = decode_at_positions(
        model, [Prompt(tuple(head), removed, side == "right")], MARKS, length - start
    )
    met = torch.cat(seen, dim=1)[0].tolist()
    assert met == trained[: len(met)]
    assert len(met) > start + 1
    if positions == 32:  # no two tokens at one position: the model knows each; the end is never read
        assert said == ids[start:]
        assert met == trained[:-1]


def test_wrong_positions_say_something_else() -> None:
    says = {2: 11, 5: SEP, 6: 9, 7: END}
    model = position_model(says, 20)
    assert decode_at_positions(model, [Prompt((1, 2, SEP), gap=2)], MARKS, 8) == [[11, SEP, 9, END]]
    assert decode_at_positions(model, [Prompt((1, 2, SEP), gap=0)], MARKS, 8) != [[11, SEP, 9, END]]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_a_batch_changes_nothing(family: str) -> None:
    model = tiny_model(family).model
    prompts = [Prompt((7, 8, 9, SEP), 3), Prompt((10, SEP), 3), Prompt((11, 12, 13, 14, 15, SEP), 0)]
    alone = [decode_at_positions(model, [prompt], MARKS, 10)[0] for prompt in prompts]
    assert decode_at_positions(model, prompts, MARKS, 10) == alone


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_decoding_is_teacher_forcing(family: str) -> None:
    """With the cache or in one pass, at kept positions, the same tokens are the most likely ones."""
    model = tiny_model(family).model
    prompt = Prompt((7, 8, 9, SEP), 5)
    (said,) = decode_at_positions(model, [prompt], Marks(SEP, 66), 8)
    ids = torch.tensor([[*prompt.tokens, *said]])
    positions = torch.tensor([[0, 1, 2, 3, *range(9, 9 + len(said))]])
    logits = model(input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids)).logits
    assert logits[0, 3:-1].argmax(-1).tolist() == said


def test_one_token_as_separator_and_end() -> None:
    """As in the released format of GPT-2: the first one ends the chain, the second the answer."""
    model = position_model({2: 11, 3: END, 4: 9, 5: END, 6: 12}, 20)
    (said,) = decode_at_positions(model, [Prompt((1, 2, END))], Marks(END, END), 10)
    assert said == [11, END, 9, END]


def test_a_generation_that_never_ends_is_cut() -> None:
    model = position_model({}, 20)
    assert decode_at_positions(model, [Prompt((1, SEP))], MARKS, 7) == [[0] * 7]


def test_what_does_not_fit_is_refused() -> None:
    model = position_model({}, 20, positions=16)
    assert decode_at_positions(model, [Prompt((1, SEP), gap=6)], MARKS, 15)  # positions 0 … 15
    with pytest.raises(ModelError, match="do not fit into the model's context"):
        decode_at_positions(model, [Prompt((1, SEP), gap=6)], MARKS, 16)


def test_kept_positions_need_a_model_that_takes_them() -> None:
    model = tiny_model("bloom").model
    assert decode_at_positions(model, [Prompt((7, SEP))], MARKS, 3)
    with pytest.raises(ModelError, match="takes no position ids"):
        decode_at_positions(model, [Prompt((7, SEP), gap=1)], MARKS, 3)
