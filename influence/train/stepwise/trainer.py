"""The training of stages: each optimizer step asks the schedule what is removed now."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import transformers

from influence.errors import ComputeError
from influence.store.formats.records import convert
from influence.store.formats.training import StageFile
from influence.train.core.batches import IGNORED_LABEL, Batch
from influence.train.core.trainer import RunSpec, StepTrainer, step_arguments, train_steps
from influence.train.stepwise.batches import Check, Cut, Forward, check
from influence.train.stepwise.schedule import Linear, Place, Schedule, draw_removed
from influence.train.stepwise.sequences import Int64, Sequences
from influence.train.stepwise.settings import Settings
from influence.train.stepwise.stages import stage_folder, write_stage

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSpec(RunSpec):
    """A run of stages.

    Args:
        about: What each `stage.json` says besides the stage's own.
        check_every: Optimizer steps between checks.
        check_rows: Held-out examples of a check.
    """

    settings: Settings
    schedule: Schedule
    train: Sequences
    valid: Sequences
    cut: Cut
    check_every: int
    check_rows: Int64
    about: dict[str, Any]

    def amounts(self, step: int, place: Place, count: int) -> Int64:
        """How much each example of a step loses, int64 `[count]`; a function of seed, step and place."""
        pure = self.settings.mode != "stepwise" or step < self.schedule.explicit
        return draw_removed(
            np.random.default_rng([self.settings.seed, step, 1]),
            count,
            self.schedule.removed(place),
            self.schedule.total,
            smoothing=None if pure else self.settings.smoothing,
            random_cut=self.settings.random_cut and not pure,
        )


class StageTrainer(StepTrainer):
    """A trainer whose batches lose more of their chains from stage to stage."""

    spec: StageSpec

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerBase,
        arguments: transformers.TrainingArguments,
        spec: StageSpec,
    ) -> None:
        super().__init__(model, arguments, spec)
        self._language = (model, tokenizer)
        self.place = Place()
        self.measured: Check | None = None
        self._forward = Forward(model, self.args.device)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._examples = 0  # trained on
        self._batch = (0, 0, 0)  # examples, padded tokens and predicted tokens of the step

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], int]:
        """The parts of this step's batch, and the tokens all of them predict, by which the loss is divided."""
        step = self.state.global_step
        rows_B = self.spec.order.rows(step)
        amount_B = self.spec.amounts(step, self.place, len(rows_B))
        parts = [
            self.spec.cut.batch(self.spec.train, rows_B[part], amount_B[part])
            for part in np.array_split(np.arange(len(rows_B)), num_batches)
        ]
        predicted = sum(count for _, count in parts)
        self._batch = (len(rows_B), sum(inputs["input_ids"].numel() for inputs, _ in parts), predicted)
        return [inputs for inputs, _ in parts], predicted

    def training_step(
        self, model: torch.nn.Module, inputs: Batch, num_items_in_batch: Any = None
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
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Cross-entropy summed over the part, divided by the predicted tokens of the whole accumulated batch."""
        logits_BKV, labels_BK = self._forward(model, inputs)
        loss = torch.nn.functional.cross_entropy(
            logits_BKV.flatten(0, 1).float(), labels_BK.flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
        )
        self.add_loss(loss)
        return loss / num_items_in_batch

    def after_step(self, step: int, control: transformers.TrainerControl) -> None:
        """Check where it is due, move on in the schedule, and close a stage that is over."""
        spec = self.spec
        examples, tokens, predicted = self._batch
        self._examples += examples
        self._count += predicted
        self.clock.count(tokens)
        due = step % spec.check_every == 0
        if due:
            self._measure()
        accuracy = self.measured.target_accuracy if due and self.measured else None
        place = spec.schedule.advance(self.place, step, accuracy)
        finished = spec.schedule.finished(place, step)
        if finished or place.level != self.place.level:
            if not due:
                self._measure()
            self._close_stage(place)
        elif due:
            self._note_check("check")
        if spec.settings.reset_optimizer and place.level != self.place.level:
            self._reset_optimizer()
        self.place = place
        if self.clock.line_due():
            self._tell()
        control.should_training_stop = finished
        control.should_save = not finished and self.clock.save_due(spec.resume_seconds)

    def _reset_optimizer(self) -> None:
        """Throw AdamW's moments and step counts away: at a removal it begins anew."""
        assert self.optimizer is not None
        self.optimizer.state.clear()

    def _measure(self) -> None:
        """Set `measured`; from here on the mean loss is what its line of metrics reports."""
        spec = self.spec
        removed = spec.schedule.removed(self.place)
        self.measured = check(
            self._language[0], self._forward, spec.valid, spec.check_rows, spec.cut, removed
        )
        if not np.isfinite(self.measured.loss):
            raise ComputeError(
                f"The loss on held-out examples is not finite at step {self.state.global_step:,}.",
                fix="Use a smaller --lr, or --dtype fp32.",
            )

    def _note_check(self, kind: str, **facts: Any) -> dict[str, Any]:
        assert self.measured is not None
        numbers = {
            **dataclasses.asdict(self.measured),
            "removed": self.spec.schedule.removed(self.place),
        }
        return self.note(
            numbers,
            kind=kind,
            examples=self._examples,
            level=self.place.level,
            seconds=round(self.clock.seconds, 1),
            **facts,
        )

    def _close_stage(self, after: Place) -> None:
        """The line of metrics of a stage that is over, and its checkpoint where one is kept."""
        spec, level = self.spec, self.place.level
        steps = self.state.global_step - self.place.since
        line = self._note_check("stage", steps=steps, capped=after.capped)
        del line["seconds"]  # a checkpoint is the same however long it took
        if level % spec.settings.stage_every == 0 or level == spec.schedule.last:
            folder = stage_folder(spec.folder, spec.schedule.removed(self.place))
            write_stage(folder, *self._language, convert({**spec.about, **line}, StageFile))
        self._tell()

    def _tell(self) -> None:
        """A line of progress. Waits for the device."""
        spec, step = self.spec, self.state.global_step
        schedule = spec.schedule
        parts = [
            f"stage {self.place.level + 1}/{len(schedule.levels)}",
            f"{schedule.removed(self.place)} of {schedule.total} removed",
            f"step {step:,}/{spec.steps:,}",
            f"loss {self.mean_loss():.4f}",
        ]
        if self.measured is not None:
            parts.append(
                f"answer {self.measured.answer_accuracy:.1%}, whole target {self.measured.target_accuracy:.1%}"
            )
        at_most = "" if isinstance(schedule.pace, Linear) else "at most "
        parts.append(f"{self.clock.tokens_per_second:,.0f} tokens/s")
        parts.append(f"{at_most}{self.clock.left(spec.steps - step)} left")
        _logger.info(" · ".join(parts))

    def resume_state(self) -> dict[str, Any]:
        """The place in the schedule, and the examples trained on."""
        return {"place": dataclasses.asdict(self.place), "examples": self._examples}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from that place."""
        self.place, self._examples = Place(**state["place"]), state["examples"]


def train_stages(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, spec: StageSpec
) -> tuple[int, float]:
    """Train `model` through all stages, or on from the last state of a killed run.

    Returns:
        The step it went on from, 0 where it began; and the seconds of the whole run.
    """
    settings = spec.settings
    arguments = step_arguments(
        spec,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        bf16=settings.dtype == "bf16",
        torch_compile=settings.compile,
        seed=settings.seed,
    )
    trainer = StageTrainer(model, tokenizer, arguments, spec)
    step = train_steps(trainer)
    return step, trainer.clock.seconds
