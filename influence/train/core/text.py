"""Training on rows of tokens, what pretraining and fine-tuning share: batches, the trainer, and the loss at the end."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from influence.errors import ComputeError
from influence.train.core.batches import IGNORED_LABEL, Batch, Order, labels_of, moved
from influence.train.core.resume import KEPT, save_plain
from influence.train.core.trainer import RunSpec, StepTrainer, step_arguments, train_steps
from influence.train.settings import Dtype

if TYPE_CHECKING:
    import transformers
    from transformers import PreTrainedModel

_logger = logging.getLogger(__name__)

Tokens = npt.NDArray[np.int32]

_LOSS_BATCH = 16
#: Lines of metrics of a run.
_LINES = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """The tokens of one training example; those from position `start` on are predicted."""

    tokens: Tokens
    start: int = 0


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 over the tokens of all rows, their ends and starts."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(len(row.tokens).to_bytes(4, "little") + row.start.to_bytes(4, "little"))
        sha.update(row.tokens.tobytes())
    return sha.hexdigest()


def lengths_of(rows: Sequence[Row]) -> npt.NDArray[np.int64]:
    """Tokens of each row, int64 `[N]`."""
    return np.array([len(row.tokens) for row in rows], np.int64)


def pad_rows(rows: Sequence[Row], pad: int) -> Batch:
    """`input_ids` and `labels`, int64 `[B, T]`, padded on the right, where a causal model ignores it."""
    ids_BT = torch.full((len(rows), max(len(row.tokens) for row in rows)), pad)
    for number, row in enumerate(rows):
        ids_BT[number, : len(row.tokens)] = torch.from_numpy(row.tokens)
    start_B = torch.tensor([row.start for row in rows])
    return {"input_ids": ids_BT, "labels": labels_of(ids_BT, start_B, torch.from_numpy(lengths_of(rows)))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSpec(RunSpec):
    """A run over rows of tokens; `pad` is the id of padding, `kept` are the steps after which the model is kept."""

    rows: Sequence[Row]
    pad: int
    kept: frozenset[int] = frozenset()


class TextTrainer(StepTrainer):
    """Minimises the mean loss a predicted token of each batch, by the model's own loss function."""

    spec: TextSpec

    def __init__(
        self, model: PreTrainedModel, arguments: transformers.TrainingArguments, spec: TextSpec
    ) -> None:
        super().__init__(model, arguments, spec)
        self._sizes = (0, 0)  # predicted tokens of the step, and all of them with padding

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Any]:
        """The batch of this step, and the tokens it predicts, by which the loss is divided."""
        rows = [self.spec.rows[row] for row in self.spec.order.rows(self.state.global_step)]
        batch = pad_rows(rows, self.spec.pad)
        predicted = int((batch["labels"][:, 1:] != IGNORED_LABEL).sum())
        self._sizes = (predicted, batch["input_ids"].numel())
        return [batch], self._get_num_items_in_batch([batch], device)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The model's mean loss a predicted token."""
        loss: torch.Tensor = super().compute_loss(*args, **kwargs)  # type: ignore[assignment]  # no outputs asked for
        self.add_loss(loss * self._sizes[0], self._sizes[0])
        return loss

    def after_step(self, step: int, control: transformers.TrainerControl) -> None:
        """A line of metrics every fiftieth of the run; a state to resume from where one is due."""
        spec = self.spec
        self.clock.count(self._sizes[1])
        finished = step >= spec.steps
        if finished or self.clock.line_due():
            loss, speed = self.mean_loss(), self.clock.tokens_per_second
            left = self.clock.left(spec.steps - step)
            _logger.info(
                f"step {step:,}/{spec.steps:,} · loss {loss:.4f} · {speed:,.0f} tokens/s · {left} left"
            )
        if finished or step % max(1, spec.steps // _LINES) == 0:
            self.note({"learning_rate": self._get_learning_rate()})
        if step in spec.kept:
            save_plain(cast("PreTrainedModel", self.model), spec.folder / KEPT / f"checkpoint-{step}")
        control.should_save = not finished and self.clock.save_due(spec.resume_seconds)


def train_rows(
    model: PreTrainedModel,
    rows: Sequence[Row],
    order: Order,
    folder: Path,
    *,
    pad: int,
    lr: float,
    dtype: Dtype,
    seed: int,
    resume_seconds: float,
    keep: int = 0,
) -> int:
    """Train `model` in place on the batches of `order`, once each; the step it resumed from.

    AdamW (β₂ 0.95, weight decay 0.1), a short warm-up, then cosine decay to 0. The same call after a kill goes on from
    the newest whole state in `folder`.

    Args:
        keep: Models to keep on the way, at equal distances, the last at the end.
    """
    steps = order.steps_per_epoch
    spec = TextSpec(
        folder=folder,
        order=order,
        steps=steps,
        resume_seconds=resume_seconds,
        rows=rows,
        pad=pad,
        kept=frozenset(max(1, round(steps * number / keep)) for number in range(1, keep + 1)),
    )
    arguments = step_arguments(
        spec,
        learning_rate=lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, min(200, steps // 20)),
        weight_decay=0.1,
        adam_beta2=0.95,
        bf16=dtype == "bf16",
        save_total_limit=2,
        dataloader_pin_memory=False,
        seed=seed,
    )
    return train_steps(TextTrainer(model, arguments, spec))


@torch.no_grad()
def mean_loss(model: PreTrainedModel, rows: Sequence[Row], pad: int) -> float:
    """Mean negative log-likelihood in nats a target token over all rows, without gradients, in float32.

    Raises:
        ComputeError: It is not finite.
    """
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    ordered = sorted(rows, key=lambda row: len(row.tokens))
    for start in range(0, len(ordered), _LOSS_BATCH):
        batch = pad_rows(ordered[start : start + _LOSS_BATCH], pad)
        targets = int((batch["labels"][:, 1:] != IGNORED_LABEL).sum())
        total += float(model(**moved(batch, model.device)).loss) * targets
        count += targets
    model.train(was_training)
    if not math.isfinite(total):
        raise ComputeError("Training ended with a loss that is not finite.", fix="Use --dtype fp32.")
    return total / count
