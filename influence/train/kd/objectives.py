"""What each of the three trainings of ICoT-KD minimises, the batches it sees, its checks and its best epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from influence.errors import ComputeError
from influence.files import whole_file
from influence.store.formats.training import read_metrics
from influence.train.core.batches import IGNORED_LABEL, Batch, moved
from influence.train.core.trainer import RunSpec, StepTrainer, step_arguments, train_steps
from influence.train.kd.models import Coupled, Emulator, Student
from influence.train.kd.states import blocks, diagonal, teacher_states
from influence.train.stepwise.batches import Cut
from influence.train.stepwise.sequences import Int64, Sequences

_logger = logging.getLogger(__name__)

#: Name of a measure -> its sum over examples or tokens and their number, each a scalar. "loss" is what is minimised.
Sums = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Layout:
    """Makes batches: the same examples with their whole chain, without it, and up to the separator."""

    sequences: Sequences
    cut: Cut

    def batch(self, rows_B: Int64) -> Batch:
        """`whole_ids` `[B, T]`, `plain` (ids and labels without a chain), `prompt_ids`, places of both separators."""
        none_B, all_B = np.zeros(len(rows_B), np.int64), self.sequences.chain_lengths[rows_B].astype(np.int64)
        whole, _ = self.cut.batch(self.sequences, rows_B, none_B)
        plain, _ = self.cut.batch(self.sequences, rows_B, all_B)
        start_B = self.sequences.chain_start[rows_B].astype(np.int64)
        return {
            "whole_ids": whole["input_ids"],
            "plain": plain,
            "prompt_ids": plain["input_ids"][:, : int(start_B.max())],
            "separator_B": torch.from_numpy(start_B - 1),
            "end_B": torch.from_numpy(self.sequences.chain_end[rows_B].astype(np.int64)),
        }


class Objective(nn.Module):
    """A training: what learns, and the teacher, if it takes part, frozen.

    It stays in evaluation mode: no dropout, as in the released code.
    """

    def __init__(self, learner: nn.Module, teacher: PreTrainedModel | None, delta: int | None) -> None:
        super().__init__()
        self.learner = learner
        self.teacher = None if teacher is None else teacher.requires_grad_(False)
        self._delta = delta
        self.eval()

    def train(self, mode: bool = True) -> Objective:
        """Keeps evaluation mode."""
        return super().train(False)

    def forward(self, batch: Batch) -> Sums:
        """The measures of a batch; `loss` with gradients."""
        raise NotImplementedError

    def read_teacher(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The teacher's states along the diagonal, `[B, L, D]`, and the tokens there, `[B, L]`."""
        assert self.teacher is not None
        layers = len(blocks(self.teacher))
        place_BL = diagonal(batch["separator_B"], batch["end_B"], layers, self._delta)
        states_BLD = teacher_states(self.teacher, batch["whole_ids"], place_BL)
        return states_BLD, batch["whole_ids"].gather(1, place_BL)


class MindReading(Objective):
    """Section 3.1: −log P(answer | input, states of the teacher)."""

    learner: Student

    def forward(self, batch: Batch) -> Sums:
        """Loss in nats a token; tokens and whole answers that are right, teacher-forced."""
        states_BLD, _ = self.read_teacher(batch)
        return _answer_sums(*self.learner(batch["plain"], batch["separator_B"], states_BLD))


class Emulation(Objective):
    """Section 3.2: ½‖z − ẑ‖² over all layers and, with a mixture, −log P(token of the chain) of each."""

    learner: Emulator

    def forward(self, batch: Batch) -> Sums:
        """Loss an example; `unexplained`: squared error as a share of the variance of the teacher's states.

        The variance is taken within batches; predicting the mean of the states gives 1.
        """
        states_BLD, tokens_BL = self.read_teacher(batch)
        emulated_BLD, logits_BLC = self.learner(batch["prompt_ids"], batch["separator_B"], tokens_BL)
        error_B = (states_BLD - emulated_BLD).square().sum((1, 2))
        count = torch.tensor(len(error_B), device=error_B.device)
        sums = {
            "loss": (0.5 * error_B.sum(), count),
            "unexplained": (error_B.sum().detach(), _variance(states_BLD)),
        }
        if logits_BLC is not None:
            chosen = nn.functional.cross_entropy(
                logits_BLC.flatten(0, 1).float(), tokens_BL.flatten(), reduction="sum"
            )
            right = (logits_BLC.argmax(-1) == tokens_BL).sum()
            sums["loss"] = (sums["loss"][0] + chosen, count)
            sums["chain_token_accuracy"] = (right, torch.tensor(tokens_BL.numel(), device=right.device))
        return sums


class Coupling(Objective):
    """Section 3.3: −log P(answer | input, states that the emulator predicts); the teacher takes no part."""

    learner: Coupled

    def forward(self, batch: Batch) -> Sums:
        """Loss in nats a token; tokens and whole answers that are right, teacher-forced."""
        logits = self.learner.answer_logits(batch["plain"], batch["prompt_ids"], batch["separator_B"])
        return _answer_sums(*logits)


def _variance(states_BLD: Tensor) -> Tensor:
    """Sum of the squared distances to the mean, as unbiased as for one batch of all examples."""
    count = len(states_BLD)
    return (states_BLD - states_BLD.mean(0)).square().sum() * (count / max(1, count - 1)) + 1e-12


def _answer_sums(logits_BKV: Tensor, labels_BK: Tensor) -> Sums:
    asked_BK = labels_BK != IGNORED_LABEL
    loss = nn.functional.cross_entropy(
        logits_BKV.flatten(0, 1).float(), labels_BK.flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
    )
    wrong_BK = asked_BK & (logits_BKV.argmax(-1) != labels_BK)
    tokens = asked_BK.sum()
    examples = torch.tensor(len(labels_BK), device=tokens.device)
    return {
        "loss": (loss, tokens),
        "token_accuracy": (tokens - wrong_BK.sum(), tokens),
        "answer_accuracy": ((~wrong_BK.any(1)).sum(), examples),
    }


@torch.no_grad()
def measure(objective: Objective, layout: Layout, batch_size: int, device: Any) -> dict[str, float]:
    """The mean of each measure over all examples."""
    totals: dict[str, Tensor] = {}
    order_N = np.argsort(layout.sequences.lengths, kind="stable")
    for start in range(0, len(order_N), batch_size):
        batch = moved(layout.batch(order_N[start : start + batch_size]), device)
        for name, (total, count) in objective(batch).items():
            pair = torch.stack([total.double(), count.double()])
            totals[name] = totals[name] + pair if name in totals else pair
    return {name: float(pair[0] / pair[1]) for name, pair in totals.items()}


_WEIGHTS = "model.safetensors"  # where the Trainer looks for a whole checkpoint
#: Inside the folder of a training while it lasts: the best weights.
BEST = "best.safetensors"
_CHECK_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class KdSpec(RunSpec):
    """One of the three trainings; `name` is for people, `epochs` how often it sees the examples of `train`."""

    name: str
    train: Layout
    valid: Layout
    epochs: int


class KdTrainer(StepTrainer):
    """A trainer whose checkpoints hold what learns and nothing else."""

    spec: KdSpec

    def __init__(self, objective: Objective, arguments: transformers.TrainingArguments, spec: KdSpec) -> None:
        super().__init__(objective, arguments, spec)
        self._objective = objective

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], None]:
        """The batch of this step."""
        return [self.spec.train.batch(self.spec.order.rows(self.state.global_step))], None

    def _prepare_inputs(self, inputs: Batch) -> Batch:
        return moved(inputs, self.args.device)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The objective's mean loss."""
        total, count = model(inputs)["loss"]
        loss = total / count
        self.add_loss(loss, 1)
        return loss

    def after_step(self, step: int, control: transformers.TrainerControl) -> None:
        """Measure at the end of an epoch; say how far it is."""
        spec = self.spec
        self.clock.count(0)
        over = step % spec.order.steps_per_epoch == 0
        measured = self._end_epoch(step // spec.order.steps_per_epoch) if over else ""
        if over or self.clock.line_due():
            epoch = -(-step // spec.order.steps_per_epoch)
            _logger.info(
                f"{spec.name} · epoch {epoch}/{spec.epochs} · step {step:,}/{spec.steps:,}{measured} · "
                f"{self.clock.left(spec.steps - step)} left"
            )
        control.should_save = over or self.clock.save_due(spec.resume_seconds)

    def _end_epoch(self, epoch: int) -> str:
        """A line of metrics; the weights are kept if no epoch before was better. What was measured, for people."""
        spec = self.spec
        measures = measure(self._objective, spec.valid, _CHECK_BATCH, self.args.device)
        if not math.isfinite(measures["loss"]):
            raise ComputeError(
                f"The loss on held-out examples is not finite ({spec.name}, epoch {epoch}).",
                fix="Use a smaller --lr, or --dtype fp32.",
            )
        best = all(measures["loss"] < line["loss"] for line in read_metrics(spec.folder))
        if best:
            with whole_file(spec.folder / BEST) as part:
                save_model(self._objective.learner, str(part))
        self.note(measures, epoch=epoch)
        shown = [
            f"{name.replace('_', ' ')} " + (f"{value:.4f}" if name == "loss" else f"{value:.1%}")
            for name, value in measures.items()
        ]
        return "".join(f" · {part}" for part in [*shown, *(["best"] if best else [])])

    # What learns may hold a weight under two names, which the Trainer's own way of saving refuses.

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        assert output_dir is not None
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_model(self._objective.learner, str(Path(output_dir) / _WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_model(self._objective.learner, str(Path(resume_from_checkpoint) / _WEIGHTS))


def train_objective(
    objective: Objective, spec: KdSpec, *, lr: float, dtype: str, seed: int
) -> list[dict[str, Any]]:
    """Train `objective.learner`, which ends with the weights of its best epoch; the lines of metrics.

    Raises:
        ComputeError: A loss on held-out examples is not finite.
    """
    arguments = step_arguments(spec, learning_rate=lr, weight_decay=0.01, bf16=dtype == "bf16", seed=seed)
    train_steps(KdTrainer(objective, arguments, spec))
    load_model(objective.learner, str(spec.folder / BEST))
    return read_metrics(spec.folder)
