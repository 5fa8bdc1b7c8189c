"""One of the three trainings of ICoT-KD: its checks, and the weights of its best epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_model, save_model

from influence.errors import ComputeError
from influence.files import whole_file
from influence.store.formats.metrics import read_metrics
from influence.train.core.batches import Batch, moved
from influence.train.core.trainer import RunSpec, StepTrainer, step_arguments, train_steps
from influence.train.kd.objectives import Layout, Objective, measure

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
            spec.tell(
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
