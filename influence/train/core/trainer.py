"""The one training loop: transformers' Trainer with batches that are a function of the step, resumed bit for bit.

A training leaves in its folder `metrics.jsonl`, `tensorboard/`, and while it runs `resume/` with the last state.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from influence.stopping import stopping
from influence.store.artefact import write_json
from influence.store.formats.training import add_metrics, cut_metrics
from influence.train.core.batches import Order
from influence.train.core.resume import TENSORBOARD, last_checkpoint

_BETWEEN_LINES = 10.0


class Clock:
    """Time, steps and tokens of this process; seconds of the processes before it are added to `seconds`."""

    def __init__(self) -> None:
        self._started = self._saved = self._told = time.monotonic()
        self._before = 0.0
        self._steps = self._tokens = 0

    def resume(self, seconds: float) -> None:
        """Count on from the seconds of the process that was killed."""
        self._before = seconds

    def count(self, tokens: int) -> None:
        """A step is done, of so many tokens with padding."""
        self._steps += 1
        self._tokens += tokens

    @property
    def seconds(self) -> float:
        """Seconds of the whole run."""
        return self._before + self._here

    @property
    def _here(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)

    @property
    def tokens_per_second(self) -> float:
        """Trained tokens a second, checks and checkpoints included in the time."""
        return self._tokens / self._here

    def left(self, steps: int) -> str:
        """The time that so many more steps take at the mean pace of this process."""
        return duration(self._here / max(1, self._steps) * steps)

    def line_due(self) -> bool:
        """Whether it is time for a line of progress; true once every ten seconds."""
        now = time.monotonic()
        due = now - self._told >= _BETWEEN_LINES
        self._told = now if due else self._told
        return due

    def save_due(self, every: float) -> bool:
        """Whether it is time for a state to resume from: once every so many seconds, and when the program is to end."""
        now = time.monotonic()
        due = stopping.asked or now - self._saved >= every
        self._saved = now if due else self._saved
        return due


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )


#: Seconds between two states to resume from.
RESUME_SECONDS = 300.0
#: Inside the folder of a training while it lasts.
RESUME = "resume"

_STATE = "step.json"


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What is fixed before the first step of any training; a trainer adds what it needs besides.

    Args:
        folder: Metrics, TensorBoard and states to resume from lie here.
        order: The examples of each step.
        steps: Optimizer steps of the run; the most there can be where a schedule waits for the model.
        resume_seconds: Seconds between two states to resume from; irrelevant to the result.
    """

    folder: Path
    order: Order
    steps: int
    resume_seconds: float = RESUME_SECONDS


class StepTrainer(transformers.Trainer):
    """Runs optimizer, clipping, accumulation, precision and checkpoints of every training.

    A subclass gives the batch of each step by `get_batch_samples` and its loss by `compute_loss`, which adds it up by
    `add_loss`; `after_step` says what is measured and saved and when the training ends.
    """

    #: What the mean loss since the last line of metrics is called there.
    loss_name = "train_loss"

    def __init__(
        self, model: torch.nn.Module, arguments: transformers.TrainingArguments, spec: RunSpec
    ) -> None:
        super().__init__(model=model, args=arguments)
        self.remove_callback(transformers.PrinterCallback)
        self.add_callback(_AfterStep(self))
        self.spec = spec
        self.clock = Clock()
        self.train_loss = float("nan")  # of the last line of metrics
        self._loss = torch.zeros((), dtype=torch.float64, device=self.args.device)
        self._count = 0

    # -- what a subclass says

    def after_step(self, step: int, control: transformers.TrainerControl) -> None:
        """What follows optimizer step `step`, counted from 1."""
        raise NotImplementedError

    def resume_state(self) -> dict[str, Any]:
        """What a killed run must know to go on, besides model, optimizer and sums, as JSON."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `resume_state` gave."""

    # -- what a subclass calls

    def add_loss(self, total: torch.Tensor, count: int = 0) -> None:
        """Add a loss to the sums since the last line of metrics. Does not wait for the device."""
        self._loss += total.detach()
        self._count += count

    def mean_loss(self) -> float:
        """The mean since the last line of metrics, or that line's. Waits for the device."""
        return float(self._loss) / self._count if self._count else self.train_loss

    def note(self, numbers: Mapping[str, float], **facts: Any) -> dict[str, Any]:
        """Add a line of metrics, its numbers also to TensorBoard, and begin the next sums."""
        self.train_loss = self.mean_loss()
        step = self.state.global_step
        numbers = {self.loss_name: self.train_loss, **numbers}
        line = {"step": step, "epoch": step / self.spec.order.steps_per_epoch, **numbers, **facts}
        add_metrics(self.spec.folder, line)
        self.log(dict(numbers))
        self._loss.zero_()
        self._count = 0
        return line

    # -- transformers' own hooks

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Counts micro-batches; its own generator leaves the random state of dropout alone."""
        count: Any = range(self.args.max_steps * self.args.gradient_accumulation_steps)
        return torch.utils.data.DataLoader(count, batch_size=1, generator=torch.Generator())

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it would walk over all parameters at each step."""
        return 0

    # Our own state is saved and loaded with the optimizer, before `trainer_state.json` makes a checkpoint whole.

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        sums = {"loss": float(self._loss), "count": self._count, "train_loss": self.train_loss}
        state = {**sums, "seconds": self.clock.seconds, "own": self.resume_state()}
        write_json(Path(output_dir) / _STATE, state)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        state = json.loads((Path(checkpoint) / _STATE).read_text(encoding="utf-8"))
        self._loss.fill_(state["loss"])
        self._count, self.train_loss = state["count"], state["train_loss"]
        self.clock.resume(state["seconds"])
        self.restore(state["own"])


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
        self._trainer.after_step(state.global_step, control)

    def on_save(self, *_: Any, **__: Any) -> None:
        """End with the state of the step if the program is to end; after the last step the run ends by itself."""
        stopping.stop_if_asked()


def step_arguments(spec: RunSpec, **changes: Any) -> transformers.TrainingArguments:
    """Arguments of a `StepTrainer`: AdamW, gradients of norm at most 1, constant learning rate unless changed."""
    settings: dict[str, Any] = {
        "output_dir": str(spec.folder / RESUME),
        "max_steps": spec.steps,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "use_cpu": not torch.cuda.is_available(),
        "ignore_data_skip": True,  # batches are a function of the step
        "logging_strategy": "no",
        "save_strategy": "no",  # `after_step` says when
        "save_total_limit": 1,
        "logging_nan_inf_filter": False,  # it would wait for the device at each step
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
    arguments = transformers.TrainingArguments(**{**settings, **changes})
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs would split batches behind our back
    return arguments


def train_steps(trainer: StepTrainer) -> int:
    """Train to the end, from the newest whole state in `resume/` if there is one.

    Lines of metrics after that state are forgotten; they come again.

    Returns:
        The step it went on from, 0 where it began.
    """
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    folder = trainer.spec.folder
    checkpoint = last_checkpoint(folder / RESUME)
    step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    cut_metrics(folder, step)
    if step < trainer.spec.steps:
        events = SummaryWriter(folder / TENSORBOARD, purge_step=step + 1 if step else None)
        with events as writer, stopping.looked_at():
            trainer.add_callback(TensorBoardCallback(writer))
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return step
