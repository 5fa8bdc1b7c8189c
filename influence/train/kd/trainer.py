"""One of the three trainings on transformers' Trainer; it resumes bit for bit after a kill in any place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_model, save_model

from influence.errors import ComputeError
from influence.files import whole_file
from influence.train.core.trainer import (
    StepTrainer,
    resume_point,
    step_arguments,
    train_from,
)
from influence.train.kd.objectives import Layout, Objective, measure, moved
from influence.train.stepwise.batches import Batch, Order
from influence.train.stepwise.progress import Clock, duration
from influence.train.stepwise.record import METRICS, add_metrics

_WEIGHTS = "model.safetensors"  # where the Trainer looks for a whole checkpoint
#: Inside the folder of a training while it lasts: the best weights, and states to resume from.
BEST, RESUME = "best.safetensors", "resume"
_CHECK_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training needs besides its objective.

    Args:
        name: For people.
        folder: `metrics.jsonl`, checkpoints and the best weights lie here while it lasts.
        steps: Optimizer steps in all.
        resume_seconds: Seconds between two states to resume from, besides those at the end of each epoch.
        tell: Takes lines of progress.
    """

    name: str
    folder: Path
    train: Layout
    valid: Layout
    order: Order
    epochs: int
    lr: float
    dtype: str
    seed: int
    resume_seconds: float
    tell: Callable[[str], None]

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.epochs * self.order.steps_per_epoch


class KdTrainer(StepTrainer):
    """A Trainer whose batches are a function of the step, and whose checkpoints hold what learns and nothing else."""

    def __init__(
        self, objective: Objective, arguments: transformers.TrainingArguments, work: Training
    ) -> None:
        super().__init__(objective, arguments)
        self._objective, self._work, self._clock = objective, work, Clock()
        self._since = torch.zeros((), dtype=torch.float64, device=self.args.device)
        lines = read_metrics(work.folder)
        self._best = min((float(line["loss"]) for line in lines), default=math.inf)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], None]:
        """The batch of this step."""
        rows_B = self._work.order.rows(self.state.global_step)
        return [self._work.train.batch(rows_B)], None

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
        self._since += loss.detach()
        return loss

    def after_step(self, control: transformers.TrainerControl) -> None:
        """Measure at the end of an epoch; say how far it is."""
        step, per_epoch = self.state.global_step, self._work.order.steps_per_epoch
        self._clock.count(0)
        over = step % per_epoch == 0
        if over:
            self._end_epoch(step // per_epoch)
        elif self._clock.line_due():
            self._work.tell(f"{self._head(step)} · {self._left(step)} left")
        control.should_save = over or self._clock.save_due(self._work.resume_seconds)

    def _end_epoch(self, epoch: int) -> None:
        """A line of metrics; the weights are kept if no epoch before was better."""
        work, step = self._work, self.state.global_step
        measures = measure(self._objective, work.valid, _CHECK_BATCH, self.args.device)
        if not math.isfinite(measures["loss"]):
            raise ComputeError(
                f"The loss on held-out examples is not finite ({work.name}, epoch {epoch}).",
                fix="Use a smaller --lr, or --dtype fp32.",
            )
        best = measures["loss"] < self._best
        if best:
            self._best = measures["loss"]
            with whole_file(work.folder / BEST) as part:
                save_model(self._objective.learner, str(part))
        train_loss = float(self._since) / work.order.steps_per_epoch
        add_metrics(work.folder, {"step": step, "epoch": epoch, "train_loss": train_loss, **measures})
        self.log({"train_loss": train_loss, **measures})
        self._since.zero_()
        shown = " · ".join(
            f"{name.replace('_', ' ')} {value:.4f}"
            if name == "loss"
            else f"{name.replace('_', ' ')} {value:.1%}"
            for name, value in measures.items()
        )
        work.tell(f"{self._head(step)} · {shown}{' · best' if best else ''} · {self._left(step)} left")

    def _head(self, step: int) -> str:
        epoch = -(-step // self._work.order.steps_per_epoch)
        return f"{self._work.name} · epoch {epoch}/{self._work.epochs} · step {step:,}/{self._work.steps:,}"

    def _left(self, step: int) -> str:
        return duration(self._clock.seconds_per_step * (self._work.steps - step))

    # What learns may hold a weight under two names, which the Trainer's own way of saving refuses.

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        assert output_dir is not None
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_model(self._objective.learner, str(Path(output_dir) / _WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_model(self._objective.learner, str(Path(resume_from_checkpoint) / _WEIGHTS))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        torch.save(self._since.cpu(), Path(output_dir) / "since.pt")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._since.copy_(torch.load(Path(checkpoint) / "since.pt"))


def train(objective: Objective, work: Training) -> list[dict[str, Any]]:
    """Train `objective.learner`, which ends with the weights of its best epoch; the lines of metrics.

    Raises:
        ComputeError: A loss on held-out examples is not finite.
    """
    resume = work.folder / RESUME
    checkpoint, step = resume_point(work.folder, resume)
    trainer = KdTrainer(objective, _arguments(work, resume), work)
    if step < work.steps:
        train_from(trainer, work.folder, checkpoint, step)
    load_model(objective.learner, str(work.folder / BEST))
    return read_metrics(work.folder)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, one an epoch; none where there is no file."""
    path = folder / METRICS
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _arguments(work: Training, folder: Path) -> transformers.TrainingArguments:
    return step_arguments(
        folder,
        max_steps=work.steps,
        learning_rate=work.lr,
        weight_decay=0.01,
        bf16=work.dtype == "bf16",
        seed=work.seed,
    )
