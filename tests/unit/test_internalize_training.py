"""Training with stages: gradients, masks, checks, checkpoints, and what is refused before it starts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from chain_tasks import sums_task
from tiny import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from influence.data.tasks.folder import read_task
from influence.data.tasks.task import Task
from influence.errors import InputError, ModelError
from influence.train.core.batches import IGNORED_LABEL, order_by_examples
from influence.train.stepwise.batches import Cut, Forward, check
from influence.train.stepwise.new_model import SHAPES, new_model, task_tokenizer
from influence.train.stepwise.run import internalize
from influence.train.stepwise.sequences import Sequences, tokenize_task
from influence.train.stepwise.settings import Settings, checks_every, make_schedule
from influence.train.stepwise.trainer import StageTrainer

CPU = torch.device("cpu")
QUICK = Settings(delta=2, after_epochs=0.5, batch_size=8, lr=1e-2, check_examples=8)


@pytest.fixture(autouse=True)
def _no_bars() -> None:
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return sums_task(tmp_path_factory.mktemp("task") / "sums", digits=(3, 5, 8))


@pytest.fixture(scope="module")
def sequences(task: Task) -> Sequences:
    examples = task.split("train")
    return tokenize_task(examples, task, task_tokenizer(examples))


@pytest.fixture
def model(task: Task) -> PreTrainedModel:
    net = new_model(SHAPES["tiny"], task_tokenizer(task.split("train")), 40, seed=0).double()
    with torch.no_grad():  # away from the beginning, where attention is even
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return net


def _cut(**changes: Any) -> Cut:
    plain = Cut(side="left", by_step=False, keep_positions=False, pad=0, positions=56)
    return replace(plain, **changes)


def test_every_example_comes_once_an_epoch_in_batches_of_like_length(sequences: Sequences) -> None:
    order = order_by_examples(sequences.lengths, 7, seed=0)
    assert order.steps_per_epoch == 7
    epochs = [[order.rows(7 * epoch + step) for step in range(7)] for epoch in range(2)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch).tolist()) == list(range(48))
        assert {len(rows) for rows in epoch} <= {6, 7}
        padding = sum(int((sequences.lengths[rows].max() - sequences.lengths[rows]).sum()) for rows in epoch)
        assert padding < 0.2 * sequences.lengths.sum()
    assert [rows.tolist() for rows in epochs[0]] != [rows.tolist() for rows in epochs[1]]
    assert order.rows(3).tolist() == epochs[0][3].tolist()  # also after a later epoch


@pytest.mark.parametrize("multiple", [1, 16])
def test_a_batch_holds_the_examples_and_labels_what_follows_the_first_separator(
    sequences: Sequences, multiple: int
) -> None:
    rows, amounts = np.arange(9), np.array([0, 1, 2, 3, 4, 5, 6, 7, 99])
    inputs, predicted = _cut(multiple=multiple).batch(sequences, rows, amounts)
    ids, labels = inputs["input_ids"], inputs["labels"]
    assert set(inputs) == {"input_ids", "labels"}
    assert ids.shape[1] % multiple == 0
    assert predicted == int((labels != IGNORED_LABEL).sum())
    first = ids.shape[1] - labels.shape[1]
    for b, (row, amount) in enumerate(zip(rows, amounts, strict=True)):
        whole = sequences.tokens[sequences.starts[row] : sequences.starts[row + 1]].tolist()
        start, end = int(sequences.chain_start[row]), int(sequences.chain_end[row])
        expected = whole[:start] + whole[min(end, start + amount) :]
        assert ids[b].tolist() == expected + [0] * (ids.shape[1] - len(expected))
        labelled = [IGNORED_LABEL] * (start - first) + expected[start:]
        assert labels[b].tolist() == labelled + [IGNORED_LABEL] * (labels.shape[1] - len(labelled))


def test_parts_of_a_batch_add_up_to_the_gradient_of_the_whole(
    model: PreTrainedModel, sequences: Sequences
) -> None:
    """With unequal lengths, means over parts would not."""
    rows = np.arange(20)
    amounts = np.arange(20) % 6
    forward = Forward(model, CPU)

    def gradient(parts: int) -> torch.Tensor:
        model.zero_grad()
        batches = [_cut().batch(sequences, rows[p], amounts[p]) for p in np.array_split(np.arange(20), parts)]
        predicted = sum(count for _, count in batches)
        for inputs, _ in batches:
            logits, labels = forward(model, inputs)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
            (loss / predicted).backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    whole = gradient(1)
    assert whole.norm() > 1e-3
    for parts in (2, 3, 20):
        torch.testing.assert_close(gradient(parts), whole, rtol=1e-9, atol=1e-12)


def test_accumulation_steps_with_the_gradient_of_the_big_batch(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every step of a whole run; the learning rate is so small that the weights stay the same."""
    gradients: list[torch.Tensor] = []
    clip = StageTrainer._clip_grad_norm

    def noted(trainer: StageTrainer, model: torch.nn.Module) -> Any:
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
        return clip(trainer, model)

    monkeypatch.setattr(StageTrainer, "_clip_grad_norm", noted)
    runs = []
    for parts in (1, 3):
        gradients.clear()
        internalize(task, "tiny", tmp_path / str(parts), replace(QUICK, accumulation=parts, lr=1e-12))
        runs.append(torch.stack(gradients))
    one, three = runs
    assert one.norm(dim=1).min() > 0.1
    assert ((three - one).norm(dim=1) / one.norm(dim=1)).max() < 1e-4


@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom", "mistral"])
def test_our_mask_changes_no_logit(family: str) -> None:
    model = tiny_model(family, **({"sliding_window": 4} if family == "mistral" else {})).model
    ids = torch.randint(0, 60, (3, 9))
    labels = ids[:, 4:]
    ours, _ = Forward(model, CPU)(model, {"input_ids": ids, "labels": labels})
    theirs = model(input_ids=ids).logits[:, 3:-1]
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_answer_with_kept_positions_sees_its_prompt(family: str) -> None:
    """Without a mask transformers takes the jump in the positions for the beginning of another sequence."""
    model = tiny_model(family).model
    forward = Forward(model, CPU)
    positions = torch.tensor([[0, 1, 2, 8, 9, 10]])

    def logits(first: int) -> torch.Tensor:
        ids = torch.tensor([[first, 5, 6, 7, 8, 9]])
        inputs = {"input_ids": ids, "labels": ids[:, 3:], "position_ids": positions}
        result, _ = forward(model, inputs)
        return result

    assert (logits(3)[:, -1] - logits(4)[:, -1]).abs().max() > 1e-6


def test_kept_positions_are_those_of_the_whole_sequence(model: PreTrainedModel, sequences: Sequences) -> None:
    rows = np.arange(6)
    inputs, _ = _cut(keep_positions=True).batch(sequences, rows, np.full(6, 2))
    for b in range(6):
        start, length = int(sequences.chain_start[b]), int(sequences.lengths[b])
        kept = [*range(start), *range(start + 2, length)]
        assert inputs["position_ids"][b, : len(kept)].tolist() == kept


@pytest.mark.parametrize("amount", [0, 2, 99])
def test_a_check_is_the_mean_over_examples_asked_one_by_one(
    model: PreTrainedModel, sequences: Sequences, amount: int
) -> None:
    with torch.no_grad():
        model.transformer.wte.weight *= 4  # some right, some wrong
    rows = np.arange(40)
    state = torch.random.get_rng_state()
    model.train()
    measured = check(model, Forward(model, CPU), sequences, rows, _cut(), amount)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)

    losses, right, answers, targets = [], [], [], []
    model.eval()
    for row in rows:
        whole = sequences.tokens[sequences.starts[row] : sequences.starts[row + 1]].tolist()
        start, end = int(sequences.chain_start[row]), int(sequences.chain_end[row])
        ids = torch.tensor([whole[:start] + whole[min(end, start + amount) :]])
        with torch.no_grad():
            logprobs = model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1)
        losses += (-logprobs[torch.arange(len(logprobs)), ids[0, start:]]).tolist()
        good = (logprobs.argmax(-1) == ids[0, start:]).tolist()
        right += good
        targets.append(all(good))
        answers.append(all(good[-(len(whole) - end - 1) :]))
    assert measured.loss == pytest.approx(np.mean(losses))
    assert measured.token_accuracy == pytest.approx(np.mean(right))
    assert measured.answer_accuracy == pytest.approx(np.mean(answers))
    assert measured.target_accuracy == pytest.approx(np.mean(targets))


def test_a_run_leaves_a_checkpoint_for_each_stage_and_says_what_happened(
    task: Task, tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    record = internalize(task, "tiny", tmp_path / "run", replace(QUICK, stage_every=3, max_tokens=17))
    folders = sorted(path.name for path in (tmp_path / "run").glob("stage-*"))
    assert folders == ["stage-000", "stage-003", "stage-004"]  # the longest chain left has 4 tokens
    assert record["dropped"]["train"]["too long"] > 0
    assert f"{record['dropped']['train']['too long']} of train left out: too long" in messages.messages[0]
    assert "stage 5/5 · 4 of 4 removed · step" in messages.messages[-1]
    assert "answer " in messages.messages[-1]
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    stages = [line for line in metrics if line["kind"] == "stage"]
    assert [line["removed"] for line in stages] == [0, 1, 2, 3, 4]
    assert all(0 < line["train_loss"] < 10 and 0 <= line["answer_accuracy"] <= 1 for line in metrics)
    assert any((tmp_path / "run" / "tensorboard").iterdir())

    folder = tmp_path / "run" / "stage-004"
    about = json.loads((folder / "stage.json").read_text())
    assert about["removed"] == about["total"] == 4
    assert (about["side"], about["by_step"], about["keep_positions"], about["mode"]) == (
        "left",
        False,
        False,
        "stepwise",
    )
    net, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert net.config.use_cache  # off in training, but generating is slow without
    ids = tokenizer("1 2 3")["input_ids"]
    assert tokenizer.decode(ids) == "1 2 3"
    assert net(input_ids=torch.tensor([ids])).logits.shape[-1] == len(tokenizer)


@pytest.mark.parametrize(
    "changes",
    [
        {"by_step": True},
        {"geometric": True, "side": "right"},
        {"random_cut": True, "smoothing": None},
        {"keep_positions": True, "remove_all_beyond": 2},
        {"adaptive": True, "cap": 0.4},
        {"dtype": "bf16"},
        {"lora_rank": 2, "gradient_checkpointing": True},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_variants_train_to_their_end(task: Task, tmp_path: Path, changes: dict[str, Any]) -> None:
    record = internalize(task, "tiny", tmp_path / "run", replace(QUICK, **changes))
    stages = sorted(tmp_path.glob("run/stage-*"))
    assert len(stages) == record["levels"]
    about = json.loads((stages[-1] / "stage.json").read_text())
    assert about["removed"] == record["total"]
    AutoModelForCausalLM.from_pretrained(stages[-1])


@pytest.mark.parametrize(("mode", "stage"), [("no-cot", "stage-007"), ("explicit-cot", "stage-000")])
def test_baselines_have_one_stage(task: Task, tmp_path: Path, mode: Any, stage: str) -> None:
    internalize(task, "tiny", tmp_path / "run", replace(QUICK, mode=mode, after_epochs=1.5, check_every=3))
    assert [path.name for path in (tmp_path / "run").glob("stage-*")] == [stage]
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == [3, 6, 9]
    assert json.loads((tmp_path / "run" / stage / "stage.json").read_text())["mode"] == mode


def test_a_pretrained_model_is_trained_on_with_its_own_tokenizer(task: Task, tmp_path: Path) -> None:
    base = tiny_model("llama", dtype=torch.float32)
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.eos_token = base.tokenizer.bos_token
    base.tokenizer.save_pretrained(tmp_path / "base")
    internalize(task, str(tmp_path / "base"), tmp_path / "run", replace(QUICK, mode="no-cot", check_every=5))
    trained = AutoModelForCausalLM.from_pretrained(next(tmp_path.glob("run/stage-*")))
    assert trained.config.model_type == "llama"
    assert not torch.equal(trained.lm_head.weight, base.model.lm_head.weight)


def test_what_cannot_work_is_refused_before_training(task: Task, tmp_path: Path) -> None:
    def refused(message: str, settings: Settings, model: str = "tiny", other: Task = task) -> None:
        with pytest.raises((InputError, ModelError), match=message):
            internalize(other, model, tmp_path / "run", settings)
        assert not (tmp_path / "run").exists()

    refused("--delta is more than 0 and at most the optimizer steps", replace(QUICK, delta=7))
    refused("fewer examples than --accumulation", replace(QUICK, batch_size=20, accumulation=17))
    refused("No example is left", replace(QUICK, max_tokens=3))
    base = tiny_model("gpt2", dtype=torch.float32, n_positions=24, max_position_embeddings=24)
    base.tokenizer.eos_token = base.tokenizer.bos_token
    base.model.save_pretrained(tmp_path / "short")
    base.tokenizer.save_pretrained(tmp_path / "short")
    refused("more than the model's 24 positions", QUICK, str(tmp_path / "short"))
    refused(
        "Dropout is set for models trained from scratch", replace(QUICK, dropout=0.1), str(tmp_path / "short")
    )
    folder = tmp_path / "chainless"
    folder.mkdir()
    (folder / "train.txt").write_text("1|| #### 1\n2|| #### 2\n")
    (folder / "valid.txt").write_text("3|| #### 1\n")
    refused("No example has a chain of thought", QUICK, other=read_task(folder))
    (folder / "valid.txt").unlink()
    refused("no valid split", QUICK, other=read_task(folder))


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"accumulation": 99},
        {"smoothing": -1.0},
        {"smoothing": math.inf},  # exp(-inf * 0) is no number
        {"smoothing": math.nan},
        {"recovered": 0.0},
        {"recovered": 95},
        {"lr": 0.0},
        {"lr": math.nan},
        {"weight_decay": -0.1},
        {"check_every": 0},
        {"max_tokens": 0},
        {"after_epochs": 0.0},
        {"mode": "no-cot", "after_epochs": 0.0},
    ],
)
def test_settings_out_of_range_are_refused_with_their_value(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is out of its range") as refused:
        Settings(**wrong)
    assert refused.value.have == f"{list(wrong.values())[-1]:g}"
    assert refused.value.fix


def test_positions_are_not_kept_where_steps_go() -> None:
    with pytest.raises(InputError, match="only when tokens are removed"):
        Settings(by_step=True, keep_positions=True)


def test_the_last_stage_has_a_step_and_a_checkpoint_however_short(task: Task, tmp_path: Path) -> None:
    internalize(task, "tiny", tmp_path / "run", replace(QUICK, delta=6, after_epochs=1e-9))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    closed = [line["removed"] for line in lines if line["kind"] == "stage"]
    kept = sorted(path.name for path in (tmp_path / "run").glob("stage-*"))
    assert kept == [f"stage-{removed:03d}" for removed in closed]
    assert closed == list(range(max(closed) + 1))
    about = json.loads((tmp_path / "run" / kept[-1] / "stage.json").read_text())
    assert about["removed"] == about["total"]
    assert about["steps"] == 1


def test_schedules_follow_from_the_settings() -> None:
    assert make_schedule(Settings(delta=2, explicit_epochs=2), 5, 10).most_steps == 20 + 25 + 10
    assert make_schedule(Settings(geometric=True), 20, 100).levels == (0, 1, 3, 7, 15, 20)
    assert make_schedule(Settings(remove_all_beyond=39, delta=1), 90, 100).levels[-1] == 39
    assert make_schedule(Settings(mode="no-cot", after_epochs=3), 20, 100).most_steps == 300
    assert checks_every(Settings(check_every=7), 100) == 7
    assert checks_every(Settings(delta=8), 25_250) == 789


@pytest.mark.parametrize("reset", [True, False])
def test_the_optimizer_begins_anew_at_each_removal_and_only_there(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reset: bool
) -> None:
    """AdamW's moments are thrown away where more is removed: the paper's runs fail near 100 tokens without it."""
    steps: list[tuple[int, int]] = []  # level of each step, and the parameters that have moments before it
    batch_of = StageTrainer.get_batch_samples

    def noted(trainer: StageTrainer, *arguments: Any) -> Any:
        assert trainer.optimizer is not None
        steps.append((trainer.place.level, len(trainer.optimizer.state)))
        return batch_of(trainer, *arguments)

    monkeypatch.setattr(StageTrainer, "get_batch_samples", noted)
    internalize(task, "tiny", tmp_path / "run", replace(QUICK, reset_optimizer=reset))
    levels = [level for level, _ in steps]
    removals = {place for place in range(1, len(steps)) if levels[place] > levels[place - 1]}
    assert len(removals) >= 3
    empty = {place for place, (_, count) in enumerate(steps) if count == 0}
    assert empty == ({0} | removals if reset else {0})
