"""A Trainer whose batches are a function of the step, and how it goes on after a kill: for stages and for ICoT-KD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from influence.train.core.loop import last_checkpoint
from influence.train.stepwise.record import cut_metrics


class StepTrainer(transformers.Trainer):
    """Runs optimizer, clipping, accumulation, precision and checkpoints; a subclass gives the batch of each step.

    Its data loader only counts, and `after_step` says what is measured, saved and when it ends.
    """

    def __init__(self, model: torch.nn.Module, arguments: transformers.TrainingArguments) -> None:
        super().__init__(model=model, args=arguments)
        self.remove_callback(transformers.PrinterCallback)
        self.add_callback(_AfterStep(self))

    def after_step(self, control: transformers.TrainerControl) -> None:
        """What follows an optimizer step."""
        raise NotImplementedError

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Counts micro-batches; its own generator leaves the random state of dropout alone."""
        count: Any = range(self.args.max_steps * self.args.gradient_accumulation_steps)
        return torch.utils.data.DataLoader(count, batch_size=1, generator=torch.Generator())

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it would walk over all parameters at each step."""
        return 0


class _AfterStep(transformers.TrainerCallback):
    """Hands each finished step to the trainer."""

    def __init__(self, trainer: StepTrainer) -> None:
        self._trainer = trainer

    def on_step_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._trainer.after_step(control)


def step_arguments(folder: Path, **own: Any) -> transformers.TrainingArguments:
    """Arguments of a `StepTrainer` with checkpoints in `folder`: constant learning rate, AdamW, norm at most 1."""
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        use_cpu=not torch.cuda.is_available(),
        ignore_data_skip=True,  # batches are a function of the step
        logging_strategy="no",
        save_strategy="no",  # `after_step` says when
        save_total_limit=1,
        logging_nan_inf_filter=False,  # it would wait for the device at each step
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        **own,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs would split batches behind our back
    return arguments


def resume_point(run: Path, states: Path) -> tuple[Path | None, int]:
    """The newest whole checkpoint in `states` and its step (None and 0 at the start); later metrics are forgotten."""
    checkpoint = last_checkpoint(states)
    step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    cut_metrics(run, step)
    return checkpoint, step


def train_from(trainer: StepTrainer, run: Path, checkpoint: Path | None, step: int) -> None:
    """Train on from `resume_point`, with what is logged in `run/tensorboard`."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    with SummaryWriter(run / "tensorboard", purge_step=step + 1 if step else None) as writer:
        trainer.add_callback(TensorBoardCallback(writer))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
