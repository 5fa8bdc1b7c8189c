"""On-policy context distillation: a model learns to do without the trace what it does with the trace in its context.

In each step the student writes an answer to the question alone. The teacher, the same weights as they were before
training, reads the same answer after System 2's trace. The loss is the reverse divergence at each token of that answer,
`KL(student ‖ teacher) = Σ_v p_s(v) (log p_s(v) − log p_t(v))` (arXiv 2602.12275), so the student is corrected where it
goes itself. No written answer is used.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from influence.data.chats import prompt_ids
from influence.errors import ComputeError, InputError
from influence.models.decode import sampled_ids
from influence.models.load import LanguageModel
from influence.provenance import provenance
from influence.store.artefact import claim
from influence.store.formats.training import read_metrics
from influence.train.core.batches import IGNORED_LABEL, Batch, order_by_examples
from influence.train.core.resume import adapt, publish
from influence.train.core.text import Row, pad_rows
from influence.train.core.trainer import RunSpec, StepTrainer, step_arguments, train_steps
from influence.train.settings import Dtype

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSettings:
    """Settings of a context distillation.

    Attributes:
        epochs: Passes over the questions.
        lr: Learning rate, constant.
        batch_size: Questions of an optimizer step.
        max_tokens: Most tokens of an answer that the student samples.
        temperature: Of these samples.
        lora_rank: Train low-rank adapters only; None trains all weights.
        seed: Seeds order and samples.
        dtype: "bf16" computes in bfloat16 and keeps weights and optimizer in float32.
    """

    epochs: int
    lr: float
    batch_size: int
    max_tokens: int
    temperature: float
    lora_rank: int | None
    seed: int
    dtype: Dtype


@dataclass(frozen=True, kw_only=True)
class ContextSpec(RunSpec):
    """A context distillation: ids of what student and teacher read, and of padding and end."""

    settings: ContextSettings
    prompts: list[list[int]]
    contexts: list[list[int]]
    pad: int
    end: int


def distil_context(
    base: LanguageModel,
    questions: Sequence[tuple[str, str]],
    out: Path,
    settings: ContextSettings,
) -> dict[str, Any]:
    """Train `base` to answer without context as it answers with it.

    Works in `<out>.part/`; `out` appears at the end. The same call after a kill goes on.

    Args:
        base: Changed in place.
        questions: The question alone, and the same with the trace before it; both as the model is asked them.
        out: A folder that does not exist yet.
        settings: All else that determines the run.

    Returns:
        What `training.json` says.

    Raises:
        InputError: The tokenizer has no EOS, or a context with an answer is longer than the model's positions.
        StoreError: `<out>.part/` belongs to another run.
        ComputeError: The divergence is not finite.
    """
    started = time.monotonic()
    fingerprint = base.fingerprint
    part = out.with_name(out.name + ".part")
    texts = hashlib.sha256(json.dumps(questions).encode()).hexdigest()
    claim(part, "tuning", {"settings": asdict(settings), "model": fingerprint, "questions": texts})
    spec = _spec(base, questions, part, settings)
    teacher = copy.deepcopy(base.model).requires_grad_(False).eval()
    transformers.set_seed(settings.seed)
    student = adapt(base.model, settings.lora_rank, gradient_checkpointing=False)
    arguments = step_arguments(
        spec,
        per_device_train_batch_size=1,
        learning_rate=settings.lr,
        weight_decay=0.0,
        bf16=settings.dtype == "bf16",
        seed=settings.seed,
    )
    resumed_at = train_steps(ContextTrainer(student, teacher, arguments, spec))
    record = provenance(
        time.monotonic() - started,
        settings={"way": "context", **asdict(settings)},
        base={"name": base.name, "fingerprint": fingerprint},
        examples=len(questions),
        steps=spec.steps,
        resumed_at_step=resumed_at,
        divergence_nats_per_token=_first_and_last(part),
    )
    publish(part, out, student, base.tokenizer, record)
    return record


def _spec(
    base: LanguageModel,
    questions: Sequence[tuple[str, str]],
    folder: Path,
    settings: ContextSettings,
) -> ContextSpec:
    tokenizer = base.tokenizer
    if not isinstance(tokenizer.eos_token_id, int):
        raise InputError(
            "The tokenizer has no EOS token, which ends an answer.", fix="Use --way answer-only."
        )
    prompts, contexts = ([prompt_ids(tokenizer, pair[side]) for pair in questions] for side in (0, 1))
    positions = getattr(base.model.config, "max_position_embeddings", None)
    longest = max(map(len, [*prompts, *contexts])) + settings.max_tokens
    if positions is not None and longest > positions:
        raise InputError(
            f"A trace with an answer of {settings.max_tokens} tokens does not fit into the model's {positions} "
            "positions.",
            have=f"{longest} tokens",
            fix="Choose a smaller --max-tokens, or leave long traces out.",
        )
    lengths = np.array([len(ids) for ids in contexts], np.int64)
    order = order_by_examples(lengths, settings.batch_size, settings.seed)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return ContextSpec(
        folder=folder,
        order=order,
        steps=settings.epochs * order.steps_per_epoch,
        settings=settings,
        prompts=prompts,
        contexts=contexts,
        pad=int(pad),
        end=int(tokenizer.eos_token_id),
    )


def _first_and_last(folder: Path) -> dict[str, float]:
    """Mean divergence of the first and of the last tenth of the steps."""
    lines = read_metrics(folder)
    count = max(1, len(lines) // 10)
    parts = {"first tenth": lines[:count], "last tenth": lines[-count:]}
    return {name: sum(line["divergence"] for line in part) / count for name, part in parts.items()}


class ContextTrainer(StepTrainer):
    """Samples of the student as they are now, and the divergence from the teacher on them."""

    spec: ContextSpec
    loss_name = "divergence"

    def __init__(
        self, student: Any, teacher: Any, arguments: transformers.TrainingArguments, spec: ContextSpec
    ) -> None:
        super().__init__(student, arguments, spec)
        self._teacher = teacher.to(self.args.device)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], None]:
        """The numbers of the questions of this step."""
        return [{"rows": self.spec.order.rows(self.state.global_step).tolist()}], None

    def _prepare_inputs(self, inputs: Batch) -> Batch:
        return inputs

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean divergence in nats a token of the student's samples."""
        spec = self.spec
        prompts = [spec.prompts[row] for row in inputs["rows"]]
        contexts = [spec.contexts[row] for row in inputs["rows"]]
        answers = self._answers(model, prompts)
        student_NV = self._logits(model, prompts, answers)
        with torch.no_grad():
            teacher_NV = self._logits(self._teacher, contexts, answers)
        loss = reverse_divergence(student_NV, teacher_NV).mean()
        self.add_loss(loss, 1)
        return loss

    def _answers(self, model: Any, prompts: list[list[int]]) -> list[list[int]]:
        """What the student writes now, EOS included; a function of seed, step and weights."""
        settings = self.spec.settings
        seed = int(np.random.default_rng([settings.seed, self.state.global_step, 61]).integers(2**31))
        model.eval()
        answers = sampled_ids(
            model,
            prompts,
            pad=self.spec.pad,
            end=self.spec.end,
            max_new_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=seed,
        )
        model.train()
        return answers

    def _logits(self, model: Any, prompts: list[list[int]], answers: list[list[int]]) -> Tensor:
        """Logits that predict the N tokens of all answers, one answer after the other, `[N, V]`."""
        rows = [
            Row(np.array(prompt + ids, np.int32), len(prompt))
            for prompt, ids in zip(prompts, answers, strict=True)
        ]
        batch = pad_rows(rows, self.spec.pad)
        predicted_BT = (batch["labels"][:, 1:] != IGNORED_LABEL).to(self.args.device)
        logits_BTV: Tensor = model(input_ids=batch["input_ids"].to(self.args.device)).logits.float()
        return logits_BTV[:, :-1][predicted_BT]

    def after_step(self, step: int, control: transformers.TrainerControl) -> None:
        """A line of metrics; say how far it is."""
        spec = self.spec
        self.clock.count(0)
        if not math.isfinite(self.mean_loss()):
            raise ComputeError("The divergence is not finite.", fix="Use a smaller --lr, or --dtype fp32.")
        self.note({})
        if self.clock.line_due() or step == spec.steps:
            _logger.info(f"step {step:,}/{spec.steps:,} · divergence {self.train_loss:.4f} nats a token")
        control.should_save = step < spec.steps and self.clock.save_due(spec.resume_seconds)


def reverse_divergence(student_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """`KL(student ‖ teacher)` at each place in nats, `[N]`, with gradients through the student only."""
    student = student_NV.log_softmax(-1)
    teacher = teacher_NV.detach().log_softmax(-1)
    return (student.exp() * (student - teacher)).sum(-1)
