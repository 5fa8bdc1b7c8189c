"""States of a teacher along the diagonal, put into a student; an emulator in one pass; both as one model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model
from torch import nn

from influence.data.tasks.task import Example, Task
from influence.errors import ModelError
from influence.models.decode import Marks, Prompt, decode_at_positions
from influence.train.kd.models import Carry, Coupled, Emulator, Student, load, save
from influence.train.kd.objectives import (
    Coupling,
    Emulation,
    Layout,
    MindReading,
    Objective,
)
from influence.train.kd.states import changed_inputs, diagonal, put, teacher_states
from influence.train.stepwise.batches import Cut
from influence.train.stepwise.new_model import task_tokenizer
from influence.train.stepwise.sequences import tokenize_task

FAMILIES = ["gpt2", "llama", "gpt_neox"]
IDS_BT = torch.arange(30).reshape(2, 15) % 60
PLACE_B = torch.tensor([4, 6])


def _base(family: str = "gpt2", **settings: Any) -> Any:
    return tiny_model(family, dtype=torch.float32, **settings).model


def test_the_diagonal_goes_from_one_separator_to_the_other() -> None:
    separator_B, end_B = torch.tensor([3, 5]), torch.tensor([9, 6])
    assert diagonal(separator_B, end_B, 4).tolist() == [[3, 5, 7, 9], [5, 5, 6, 6]]
    assert diagonal(separator_B, end_B, 4, delta=1).tolist() == [[3, 4, 5, 6], [5, 6, 6, 6]]
    assert diagonal(separator_B, end_B, 1).tolist() == [[3], [5]]


@pytest.mark.parametrize("family", FAMILIES)
def test_teacher_states_are_the_normalised_inputs_of_the_blocks(family: str) -> None:
    teacher = _base(family)
    place_BL = torch.tensor([[2, 7], [3, 9]])
    states_BLD = teacher_states(teacher, IDS_BT, place_BL)
    hidden = teacher(IDS_BT, output_hidden_states=True).hidden_states
    for example in range(2):
        for layer in range(2):
            raw_D = hidden[layer][example, place_BL[example, layer]]
            expected_D = (raw_D - raw_D.mean()) / (raw_D.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(states_BLD[example, layer], expected_D)
    assert not states_BLD.requires_grad


@pytest.mark.parametrize("family", FAMILIES)
def test_its_own_states_put_in_place_change_nothing(family: str) -> None:
    model = _base(family)
    hidden = model(IDS_BT, output_hidden_states=True)
    rows = torch.arange(2)
    with changed_inputs(model, lambda layer, h: put(h, PLACE_B, hidden.hidden_states[layer][rows, PLACE_B])):
        torch.testing.assert_close(model(IDS_BT).logits, hidden.logits)
    other = torch.ones(2, 16)
    with changed_inputs(model, lambda layer, h: put(h, PLACE_B, other)):
        changed = model(IDS_BT).logits
    assert not torch.allclose(changed[:, 6:], hidden.logits[:, 6:], atol=1e-3)
    torch.testing.assert_close(changed[:, :4], hidden.logits[:, :4])  # before the place nothing changes
    torch.testing.assert_close(model(IDS_BT).logits, hidden.logits)  # and nothing stays behind


def test_a_student_computes_what_its_blocks_do_with_the_states_by_hand() -> None:
    student = Student(_base()).eval()
    states_BLD = torch.randn(2, 2, 16)
    inputs = {"input_ids": IDS_BT, "labels": IDS_BT[:, 9:]}
    logits_BKV, labels_BK = student(inputs, PLACE_B, states_BLD)

    inner = student.base.transformer
    h_BTD = inner.wte(IDS_BT) + inner.wpe(torch.arange(15))
    mask = torch.full((15, 15), -torch.inf).triu(1)[None, None]
    for layer, block in enumerate(inner.h):
        for example in range(2):
            h_BTD[example, PLACE_B[example]] = student.readers[layer](states_BLD[example, layer])
        h_BTD = block(h_BTD, attention_mask=mask)
    logits_BTV = student.base.lm_head(inner.ln_f(h_BTD))
    torch.testing.assert_close(logits_BKV, logits_BTV[:, 8:14])
    assert torch.equal(labels_BK, IDS_BT[:, 9:])


def test_the_emulator_sees_the_input_only_and_predicts_from_below_upward() -> None:
    emulator = Emulator(_base()).eval()
    states_BLD, logits = emulator(IDS_BT, PLACE_B)
    assert states_BLD.shape == (2, 2, 16)
    assert logits is None
    after = IDS_BT.clone()
    after[0, 5:] = 1
    after[1, 7:] = 1
    torch.testing.assert_close(emulator(after, PLACE_B)[0], states_BLD)
    # layer 1 reads a state that the carried prediction of layer 0 replaced
    with torch.no_grad():
        emulator.out.bias += 1
    other_BLD, _ = emulator(IDS_BT, PLACE_B)
    torch.testing.assert_close(other_BLD[:, 0], states_BLD[:, 0])
    assert not torch.allclose(other_BLD[:, 1], states_BLD[:, 1], atol=1e-3)


def test_a_mixture_uses_the_component_it_is_given_or_the_likeliest() -> None:
    emulator = Emulator(_base(), components=5).eval()
    given_BL = torch.tensor([[1, 2], [3, 4]])
    states_BLD, logits_BLC = emulator(IDS_BT, PLACE_B, given_BL)
    assert logits_BLC is not None
    assert logits_BLC.shape == (2, 2, 5)
    own_BD = emulator.base.transformer.wte(IDS_BT)[range(2), PLACE_B] + emulator.base.transformer.wpe(PLACE_B)
    expected_BD = emulator.heads[0](torch.cat([own_BD, emulator.components(given_BL[:, 0])], -1))
    torch.testing.assert_close(states_BLD[:, 0], expected_BD)
    torch.testing.assert_close(logits_BLC[:, 0], own_BD @ emulator.components.weight.T)
    with torch.no_grad():
        emulator.components.weight[2] = 100 * own_BD[0]  # by far the likeliest of the first example
    chosen_BLD, _ = emulator(IDS_BT, PLACE_B)
    sure_BLD, _ = emulator(IDS_BT, PLACE_B, torch.full((2, 2), 2))
    torch.testing.assert_close(chosen_BLD[0, 0], sure_BLD[0, 0])


def test_components_are_chosen_at_the_published_temperature() -> None:
    """The softmax over components has temperature 0.05, that of the code released with ICoT-KD."""
    emulator = Emulator(_base(), components=3).eval()
    state_BD = torch.zeros(1, 16)
    state_BD[0, 0] = 1.0
    with torch.no_grad():
        emulator.components.weight.zero_()
        emulator.components.weight[:, 0] = torch.tensor([0.0, 0.05, 0.1])  # these are the logits
        emulator.components.weight[:, 1] = torch.tensor(
            [0.0, 0.0, 1.0]
        )  # and this reads the share of the last
    chosen_BD, _ = emulator._component(state_BD, None)
    share = math.exp(2) / (1 + math.exp(1) + math.exp(2))
    assert chosen_BD[0, 1].item() == pytest.approx(share, rel=1e-5)


def test_what_is_carried_upward_attends_to_the_layers_below() -> None:
    emulator = Emulator(_base()).eval()
    steps = torch.randn(3, 1, 16)
    with torch.no_grad():
        carry = Carry(emulator)
        found = [carry.step(one_BD) for one_BD in steps]
        state, keys, context = None, [], torch.zeros(1, 16)
        for one_BD, found_BD in zip(steps, found, strict=True):
            state = emulator.upward(one_BD + context, state)
            if keys:
                query_D = emulator.query(state[0])[0]
                weights = torch.tensor([float(key @ query_D) for key in keys]).softmax(0)
                context = sum(weight * key for weight, key in zip(weights, keys, strict=True))[None]
            keys.append(emulator.key(state[0])[0])
            torch.testing.assert_close(found_BD, emulator.out(torch.cat([state[0], context], -1)))


def _layout() -> tuple[Layout, Any]:
    examples = [
        Example("0", "1 2 * 3", "3 6 + 0", "3 6"),
        Example("1", "4 * 2", "8 + 0 + 1", "8"),
        Example("2", "7 * 7 7", "4 9", "9 4 5"),
    ]
    tokenizer = task_tokenizer(examples)
    task = Task("own", "text", {})
    cut = Cut(side="left", by_step=False, keep_positions=False, pad=0, positions=None)
    return Layout(tokenize_task(examples, task, tokenizer), cut), tokenizer


def test_a_batch_has_whole_and_plain_sequences_and_both_separators() -> None:
    layout, tokenizer = _layout()
    batch = layout.batch(np.arange(3))
    separator = tokenizer.sep_token_id
    rows = torch.arange(3)
    assert (batch["whole_ids"][rows, batch["separator_B"]] == separator).all()
    assert (batch["whole_ids"][rows, batch["end_B"]] == separator).all()
    plain = batch["plain"]["input_ids"]
    assert tokenizer.decode(plain[0, :10]).split() == [
        "1",
        "2",
        "*",
        "3",
        "<sep>",
        "<sep>",
        "####",
        "3",
        "6",
        "<eos>",
    ]
    assert (plain[rows, batch["separator_B"]] == separator).all()
    assert batch["prompt_ids"].shape[1] == batch["separator_B"].max() + 1


@pytest.mark.parametrize("components", [1, 67])
def test_gradients_flow_into_what_learns_and_nothing_else(components: int) -> None:
    layout, _ = _layout()
    batch = layout.batch(np.arange(3))
    teacher = _base(seed=1)
    student, emulator = Student(_base()), Emulator(_base(), components)
    trainings: list[Objective] = [
        MindReading(student, teacher, None),
        Emulation(emulator, teacher, None),
        Coupling(Coupled(emulator, student), None, None),
    ]
    for objective in trainings:
        objective.zero_grad()
        objective.train()
        assert not objective.training  # no dropout
        total, count = objective(batch)["loss"]
        (total / count).backward()
        assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
        moved = {name for name, p in objective.learner.named_parameters() if p.grad is not None}
        still = {name for name, p in objective.learner.named_parameters()} - moved
        # the emulator's last layers, above the last prediction, have no part in it; the student's all have
        if isinstance(objective, MindReading):
            assert not still
        assert any("readers" in name or "heads" in name for name in moved)
    assert isinstance(trainings[2].learner, Coupled)
    assert trainings[2].learner.emulator.base.transformer.h[0].attn.c_attn.weight.grad is not None


def test_an_emulator_that_is_right_has_no_loss() -> None:
    layout, _ = _layout()
    batch = layout.batch(np.arange(3))
    teacher = _base(seed=1)

    class Right(nn.Module):
        def forward(self, *_: Any) -> Any:
            return states_BLD + offset, None

    objective = Emulation(Right(), teacher, None)  # type: ignore[arg-type]
    states_BLD, offset = objective.read_teacher(batch)[0], torch.zeros(())
    assert float(objective(batch)["loss"][0]) == 0.0
    offset = torch.ones(())
    total, count = objective(batch)["loss"]
    assert float(total / count) == pytest.approx(0.5 * 2 * 16)
    offset = states_BLD.mean(0) - states_BLD  # the mean of the states, whatever the example
    error, variance = objective(batch)["unexplained"]
    assert float(error / variance) == pytest.approx(2 / 3)  # fitted to the 3 examples it is measured on


def test_coupled_generates_what_its_teacher_forced_logits_say(tmp_path: Any) -> None:
    coupled: Any = Coupled(Emulator(_base()), Student(_base(seed=2))).eval()
    prompts = [Prompt((5, 6, 7, 8)), Prompt((9, 10, 11, 12, 13, 14, 8))]
    marks = Marks(separator=8, end=66)
    together = decode_at_positions(coupled, prompts, marks, 6)
    alone = [decode_at_positions(coupled, [prompt], marks, 6)[0] for prompt in prompts]
    assert together == alone
    for prompt, said in zip(prompts, alone, strict=True):
        ids_BT = torch.tensor([[*prompt.tokens, *said]])
        place_B = torch.tensor([len(prompt.tokens) - 1])
        inputs = {"input_ids": ids_BT, "labels": ids_BT[:, len(prompt.tokens) :]}
        logits_BKV, labels_BK = coupled.answer_logits(inputs, ids_BT[:, : len(prompt.tokens)], place_B)
        assert torch.equal(logits_BKV.argmax(-1), labels_BK)


@pytest.mark.parametrize("kind", ["student", "emulator"])
def test_what_is_saved_loads_again_and_as_a_plain_model(tmp_path: Any, kind: str) -> None:
    from transformers import AutoModelForCausalLM

    made = Student(_base()) if kind == "student" else Emulator(_base(), 5)
    save(made, tmp_path)
    found = load(tmp_path, device="cpu")
    before, after = made.state_dict(), found.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(plain.eval()(IDS_BT).logits, made.base.eval()(IDS_BT).logits)


def test_tf32_needs_a_gpu(tmp_path: Any) -> None:
    save(Student(_base()), tmp_path)
    with pytest.raises(ModelError, match="NVIDIA"):
        load(tmp_path, "tf32", device="cpu")
