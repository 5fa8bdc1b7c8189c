"""Unrolling against central differences in float64, and its steps against our own trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dense_world import world
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import Trainer, get_cosine_schedule_with_warmup

from influence.models.losses import token_nll
from influence.train.core.batches import order_by_tokens
from influence.train.core.text import Row, lengths_of, pad_rows, train_rows
from influence.train.unrolling import AdamW, Step, train, unrolled_influence

EXAMPLES, BATCH_TOKENS, EPOCHS, LR = 6, 40, 1, 4e-3


def rows(family: str) -> list[Row]:
    return [Row(np.array(tokens, np.int32)) for tokens in world(family).tokens[:EXAMPLES]]


def make_steps(family: str, dtype: torch.dtype) -> tuple[dict[str, Tensor], list[Step], AdamW, object]:
    """The steps that `train_rows` takes, for a copy of the tiny model."""
    import copy

    model = copy.deepcopy(world(family).model.model).to(dtype)
    examples = rows(family)
    order = order_by_tokens(lengths_of(examples), BATCH_TOKENS, EPOCHS, 0)
    total = order.steps_per_epoch
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    schedule = get_cosine_schedule_with_warmup(optimizer, max(1, min(200, total // 20)), total)
    steps = []
    for number in range(total):
        chosen = order.rows(number)
        batch = pad_rows([examples[row] for row in chosen], 0)
        counts_BT = batch["labels"] != -100

        def losses(
            values: dict[str, Tensor], batch: dict[str, Tensor] = batch, counts: Tensor = counts_BT
        ) -> Tensor:
            inputs = {"input_ids": batch["input_ids"], "use_cache": False}
            logits = functional_call(model, dict(values), (), inputs).logits
            return token_nll(logits, batch["input_ids"], counts).sum(1)

        predicted = int(counts_BT[:, 1:].sum())
        steps.append(Step(losses, torch.from_numpy(chosen), predicted, schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    decayed = frozenset(Trainer.get_decay_parameter_names(None, model))  # type: ignore[arg-type]
    values = {name: value.detach().clone() for name, value in model.named_parameters()}
    return values, steps, AdamW(decayed), model


def test_unrolling_is_the_derivative_of_the_training() -> None:
    values, steps, optimizer, _ = make_steps("gpt2", torch.float64)

    def log_p(values: dict[str, Tensor]) -> Tensor:
        return -torch.stack([steps[0].losses(values)[0], steps[1].losses(values).sum()])

    with sdpa_kernel(SDPBackend.MATH):
        ones_N = torch.ones(EXAMPLES, dtype=torch.float64)
        states = train(values, steps, optimizer, ones_N)
        found_QN = unrolled_influence(states, steps, optimizer, log_p, EXAMPLES)
        for example in (0, 3):
            moved = []
            for sign in (1, -1):
                weight_N = ones_N.clone()
                weight_N[example] += sign * 1e-4
                moved.append(log_p(train(values, steps, optimizer, weight_N)[-1].values))
            expected_Q = (moved[0] - moved[1]) / 2e-4
            torch.testing.assert_close(found_QN[:, example], expected_Q.detach(), rtol=2e-3, atol=2e-5)


def test_the_steps_are_those_of_our_trainer(tmp_path: Path) -> None:
    values, steps, optimizer, model = make_steps("llama", torch.float32)
    found = train(values, steps, optimizer, torch.ones(EXAMPLES))[-1].values
    examples = rows("llama")
    order = order_by_tokens(lengths_of(examples), BATCH_TOKENS, EPOCHS, 0)
    train_rows(
        model,  # type: ignore[arg-type]
        examples,
        order,
        tmp_path,
        pad=0,
        lr=LR,
        dtype="fp32",
        seed=0,
        resume_seconds=100,
    )
    for name, value in model.named_parameters():  # type: ignore[attr-defined]
        ours, trainers = found[name] - values[name], value.detach() - values[name]
        assert float(trainers.abs().max()) > 1e-4, name
        assert float(torch.cosine_similarity(ours.flatten(), trainers.flatten(), 0)) > 0.999, name
        assert float(ours.norm() / trainers.norm()) == pytest.approx(1.0, abs=0.01), name
