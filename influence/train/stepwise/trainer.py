"""The stage loop on transformers' Trainer: each optimizer step asks the schedule what is removed now.

The Trainer runs model, optimizer, clipping, accumulation, precision and checkpoints. Batches are a function of the
step, so its data loader only counts; the place in the schedule lies beside the optimizer in each checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from influence.errors import ComputeError
from influence.store.artefact import write_json
from influence.train.core.text import IGNORED_LABEL
from influence.train.core.trainer import (
    StepTrainer,
    resume_point,
    step_arguments,
    train_from,
)
from influence.train.stepwise.check import Check, check
from influence.train.stepwise.forward import Forward
from influence.train.stepwise.progress import Clock, Progress
from influence.train.stepwise.record import add_metrics, stage_folder, write_stage
from influence.train.stepwise.run_spec import Work
from influence.train.stepwise.schedule import Linear, Place

_PLACE_FILE = "place.json"


@dataclasses.dataclass(slots=True)
class Since:
    """Sums since the last line of metrics: nats, predicted tokens."""

    loss: torch.Tensor
    predicted: int = 0

    def mean(self) -> float:
        """Nats a predicted token. Waits for the device."""
        return float(self.loss) / max(1, self.predicted)


class StageTrainer(StepTrainer):
    """A Trainer whose batches lose more of their chains from stage to stage."""

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerBase,
        arguments: transformers.TrainingArguments,
        work: Work,
    ) -> None:
        super().__init__(model, arguments)
        self.work = work
        self._language = (model, tokenizer)
        self.place = Place()
        self.measured: Check | None = None
        self._forward = Forward(model, self.args.device)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._since = Since(torch.zeros((), dtype=torch.float64, device=self.args.device))
        self._train_loss = float("nan")  # of the last line of metrics
        self._trained_on = 0  # examples
        self._batch = (0, 0, 0)  # examples, padded tokens and predicted tokens of the step
        self._clock = Clock()

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], int]:
        """The parts of this step's batch, and the tokens all of them predict, by which the loss is divided."""
        step = self.state.global_step
        rows_B = self.work.order.rows(step)
        amount_B = self.work.amounts(step, self.place, len(rows_B))
        parts = [
            self.work.cut.batch(self.work.train, rows_B[part], amount_B[part])
            for part in np.array_split(np.arange(len(rows_B)), num_batches)
        ]
        predicted = sum(count for _, count in parts)
        self._batch = (len(rows_B), sum(inputs["input_ids"].numel() for inputs, _ in parts), predicted)
        return [inputs for inputs, _ in parts], predicted

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Forward and backward pass of a part. For a small model what the Trainer does around them takes as long."""
        if not model.training:
            model.train()
        loss: torch.Tensor = self.compute_loss(model, self._forward.moved(inputs), False, num_items_in_batch)
        torch.autograd.backward(loss)
        return loss.detach()

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        return torch.nn.utils.clip_grad_norm_(self._parameters, self.args.max_grad_norm)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Cross-entropy summed over the part, divided by the predicted tokens of the whole accumulated batch."""
        logits_BKV, labels_BK = self._forward(model, inputs)
        loss = torch.nn.functional.cross_entropy(
            logits_BKV.flatten(0, 1).float(), labels_BK.flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
        )
        self._since.loss += loss.detach()
        return loss / num_items_in_batch

    @property
    def seconds(self) -> float:
        """Seconds of the whole run, those before a kill included."""
        return self._clock.seconds

    def after_step(self, control: transformers.TrainerControl) -> None:
        """Check where it is due, move on in the schedule, and close a stage that is over."""
        work, step = self.work, self.state.global_step
        examples, tokens, predicted = self._batch
        self._trained_on += examples
        self._since.predicted += predicted
        self._clock.count(tokens)
        due = step % work.check_every == 0
        if due:
            self._measure()
        accuracy = self.measured.target_accuracy if due and self.measured else None
        place = work.schedule.advance(self.place, step, accuracy)
        finished = work.schedule.finished(place, step)
        if finished or place.level != self.place.level:
            if not due:
                self._measure()
            self._close_stage(place, finished)
        elif due:
            self._note("check")
        if work.settings.reset_optimizer and place.level != self.place.level:
            assert self.optimizer is not None
            self.optimizer.state.clear()  # AdamW begins anew
        self.place = place
        if self._clock.line_due():
            self._tell()
        control.should_training_stop = finished
        control.should_save = not finished and self._clock.save_due(work.resume_seconds)

    def _measure(self) -> None:
        """Sets `measured`; from here on `_since` is what its line of metrics reports."""
        work = self.work
        removed = work.schedule.removed(self.place)
        self.measured = check(
            self._language[0], self._forward, work.valid, work.check_rows, work.cut, removed
        )
        if not np.isfinite(self.measured.loss):
            raise ComputeError(
                f"The loss on held-out examples is not finite at step {self.state.global_step:,}.",
                fix="Use a smaller --lr, or --dtype fp32.",
            )

    def _note(self, kind: str, **more: Any) -> dict[str, Any]:
        """Add a line of metrics, also to TensorBoard, and begin the next sums."""
        assert self.measured is not None
        self._train_loss = self._since.mean()
        numbers = {"train_loss": self._train_loss, **dataclasses.asdict(self.measured)}
        numbers["removed"] = self.work.schedule.removed(self.place)
        line = {
            "kind": kind,
            "step": self.state.global_step,
            "epoch": self.state.global_step / self.work.order.steps_per_epoch,
            "examples": self._trained_on,
            "level": self.place.level,
            **numbers,
            **more,
        }
        add_metrics(self.work.out, {**line, "seconds": round(self._clock.seconds, 1)})
        self.log(numbers)
        self._since.loss.zero_()
        self._since.predicted = 0
        return line

    def _close_stage(self, after: Place, finished: bool) -> None:
        """The line of metrics of a stage that is over, and its checkpoint where one is kept."""
        work, level = self.work, self.place.level
        line = self._note("stage", steps=self.state.global_step - self.place.since, capped=after.capped)
        last = level == work.schedule.last
        if level % work.settings.stage_every == 0 or last:
            folder = stage_folder(work.out, work.schedule.removed(self.place))
            write_stage(folder, *self._language, {**work.about, **line})
        self._tell()

    def _tell(self) -> None:
        """A line of progress. Waits for the device."""
        work, step = self.work, self.state.global_step
        most = work.schedule.most_steps
        self.work.tell(
            Progress(
                level=self.place.level,
                levels=len(work.schedule.levels),
                removed=work.schedule.removed(self.place),
                total=work.schedule.total,
                step=step,
                most_steps=most,
                loss=self._since.mean() if self._since.predicted else self._train_loss,
                check=self.measured,
                tokens_per_second=self._clock.tokens_per_second,
                seconds_left=self._clock.seconds_per_step * (most - step),
                at_most=not isinstance(work.schedule.pace, Linear),
            ).line()
        )

    # The place in the schedule is saved and loaded with the optimizer, before `trainer_state.json` makes a checkpoint
    # whole.

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        state = {
            "place": dataclasses.asdict(self.place),
            "loss": float(self._since.loss),
            "predicted": self._since.predicted,
            "examples": self._trained_on,
            "seconds": self._clock.seconds,
        }
        write_json(Path(output_dir) / _PLACE_FILE, state)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        state = json.loads((Path(checkpoint) / _PLACE_FILE).read_text(encoding="utf-8"))
        self.place = Place(**state["place"])
        self._since.loss.fill_(state["loss"])
        self._since.predicted, self._trained_on = state["predicted"], state["examples"]
        self._clock.resume(state["seconds"])


def train_stages(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, work: Work
) -> tuple[int, float]:
    """Train `model` through all stages, or on from the last state of a killed run.

    Returns:
        The step it went on from, 0 where it began; and the seconds of the whole run.
    """
    resume = work.out / "resume"
    checkpoint, step = resume_point(work.out, resume)
    trainer = StageTrainer(model, tokenizer, _arguments(work, resume), work)
    train_from(trainer, work.out, checkpoint, step)
    return step, trainer.seconds


def _arguments(work: Work, folder: Path) -> transformers.TrainingArguments:
    settings = work.settings
    return step_arguments(
        folder,
        max_steps=work.schedule.most_steps,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        bf16=settings.dtype == "bf16",
        torch_compile=settings.compile,
        seed=settings.seed,
    )
