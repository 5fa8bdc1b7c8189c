"""On-policy context distillation: a model learns to do without the trace what it does with the trace in its context.

In each step the student writes an answer to the question alone. The teacher, the same weights as they were before
training, reads the same answer after System 2's trace. The loss is the reverse divergence at each token of that answer,
`KL(student ‖ teacher) = Σ_v p_s(v) (log p_s(v) − log p_t(v))` (arXiv 2602.12275), so the student is corrected where it
goes itself. Nothing of the lesson's own answer is used.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from influence.distill.internalisers.lesson import Lesson, digest
from influence.distill.internalisers.settings import TuneSettings
from influence.errors import ComputeError, InputError
from influence.models.generate import prompt_ids
from influence.models.load import LanguageModel
from influence.provenance import provenance
from influence.store.artefact import claim
from influence.train.core.adapt import adapt
from influence.train.core.loop import publish
from influence.train.core.trainer import StepTrainer, resume_point, step_arguments, train_from
from influence.train.stepwise.batches import Order
from influence.train.stepwise.progress import Clock
from influence.train.stepwise.record import METRICS, add_metrics

if TYPE_CHECKING:
    from torch import Tensor

_RESUME_SECONDS = 300.0


@dataclass(frozen=True)
class _Work:
    """What is fixed before the first step: ids of what student and teacher read, and in which order."""

    folder: Path
    settings: TuneSettings
    prompts: list[list[int]]
    contexts: list[list[int]]
    order: Order
    pad: int
    end: int
    tell: Callable[[str], None]

    @property
    def steps(self) -> int:
        return self.settings.epochs * self.order.steps_per_epoch


def distil_context(
    base: LanguageModel,
    lessons: Sequence[Lesson],
    out: Path,
    settings: TuneSettings,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Train a copy of `base` to answer without context as it answers with it; `out` appears at the end."""
    started = time.time()
    fingerprint = base.fingerprint
    part = out.with_name(out.name + ".part")
    claim(part, "tuning", {"settings": asdict(settings), "model": fingerprint, "lessons": digest(lessons)})
    work = _work(base, lessons, part, settings, tell)
    teacher = copy.deepcopy(base.model).requires_grad_(False).eval()
    transformers.set_seed(settings.seed)
    student = adapt(base.model, settings.lora_rank, gradient_checkpointing=False)
    checkpoint, step = resume_point(part, part / "resume")
    arguments = step_arguments(
        part / "resume",
        max_steps=work.steps,
        per_device_train_batch_size=1,
        learning_rate=settings.lr,
        weight_decay=0.0,
        bf16=settings.dtype == "bf16",
        seed=settings.seed,
    )
    trainer = _ContextTrainer(student, teacher, arguments, work)
    train_from(trainer, part, checkpoint, step)
    record = provenance(
        time.time() - started,
        settings=asdict(settings),
        base={"name": base.name, "fingerprint": fingerprint},
        examples=len(lessons),
        steps=work.steps,
        resumed_at_step=step,
        divergence_nats_per_token=_ends(part),
    )
    publish(part, out, student, base.tokenizer, record)
    return record


def _work(
    base: LanguageModel,
    lessons: Sequence[Lesson],
    folder: Path,
    settings: TuneSettings,
    tell: Callable[[str], None],
) -> _Work:
    tokenizer = base.tokenizer
    if not isinstance(tokenizer.eos_token_id, int):
        raise InputError(
            "The tokenizer has no EOS token, which ends an answer.", fix="Use --way answer-only."
        )
    prompts = [prompt_ids(tokenizer, lesson.prompt) for lesson in lessons]
    contexts = [prompt_ids(tokenizer, lesson.context) for lesson in lessons]
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
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    order = Order(lengths, settings.batch_size, settings.seed)
    return _Work(folder, settings, prompts, contexts, order, int(pad), int(tokenizer.eos_token_id), tell)


def _ends(folder: Path) -> dict[str, float]:
    """Mean divergence of the first and of the last tenth of the steps."""
    lines = [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    count = max(1, len(lines) // 10)
    parts = {"first tenth": lines[:count], "last tenth": lines[-count:]}
    return {name: sum(line["divergence"] for line in part) / count for name, part in parts.items()}


class _ContextTrainer(StepTrainer):
    """Samples of the student as they are now, and the divergence from the teacher on them."""

    def __init__(
        self, student: Any, teacher: Any, arguments: transformers.TrainingArguments, work: _Work
    ) -> None:
        super().__init__(student, arguments)
        self._teacher, self._work, self._clock = teacher.to(self.args.device), work, Clock()
        self.last = math.nan

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], None]:
        """The lessons of this step."""
        return [{"rows": self._work.order.rows(self.state.global_step).tolist()}], None

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean divergence in nats a token of the student's samples."""
        work, rows = self._work, inputs["rows"]
        said = self._sample(model, [work.prompts[row] for row in rows])
        student_BKV = self._logits(model, [work.prompts[row] for row in rows], said)
        with torch.no_grad():
            teacher_BKV = self._logits(self._teacher, [work.contexts[row] for row in rows], said)
        there_BK = torch.zeros(student_BKV.shape[:2], dtype=torch.bool, device=student_BKV.device)
        for number, ids in enumerate(said):
            there_BK[number, : len(ids)] = True
        loss = reverse_divergence(student_BKV, teacher_BKV)[there_BK].mean()
        self.last = float(loss.detach())
        return loss

    @torch.no_grad()
    def _sample(self, model: Any, prompts: list[list[int]]) -> list[list[int]]:
        """What the student writes now, EOS included; a function of seed, step and weights."""
        work, settings = self._work, self._work.settings
        longest = max(map(len, prompts))
        ids_BT = torch.tensor([[work.pad] * (longest - len(ids)) + ids for ids in prompts])
        mask_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
        device = self.args.device
        model.eval()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(
                int(np.random.default_rng([settings.seed, self.state.global_step, 61]).integers(2**31))
            )
            output_BT = model.generate(
                input_ids=ids_BT.to(device),
                attention_mask=mask_BT.to(device),
                max_new_tokens=settings.max_tokens,
                do_sample=True,
                temperature=settings.temperature,
                top_k=0,
                top_p=1.0,
                pad_token_id=work.pad,
                eos_token_id=work.end,
            )
        model.train()
        rows = output_BT[:, longest:].tolist()
        return [ids[: ids.index(work.end) + 1] if work.end in ids else ids for ids in rows]

    def _logits(self, model: Any, prompts: list[list[int]], said: list[list[int]]) -> Tensor:
        """Logits that predict what was said, `[B, K, V]`, right-padded."""
        rows = [prompt + ids for prompt, ids in zip(prompts, said, strict=True)]
        longest, most = max(map(len, rows)), max(map(len, said))
        ids_BT = torch.tensor([row + [self._work.pad] * (longest - len(row)) for row in rows])
        start_B = torch.tensor([len(prompt) - 1 for prompt in prompts])
        place_BK = (start_B[:, None] + torch.arange(most)).clamp(max=longest - 1).to(self.args.device)
        logits_BTV: Tensor = model(input_ids=ids_BT.to(self.args.device)).logits.float()
        return logits_BTV.gather(1, place_BK[..., None].expand(-1, -1, logits_BTV.shape[-1]))

    def after_step(self, control: transformers.TrainerControl) -> None:
        """A line of metrics; say how far it is; stop at the last step."""
        step, steps = self.state.global_step, self._work.steps
        if not math.isfinite(self.last):
            raise ComputeError("The divergence is not finite.", fix="Use a smaller --lr, or --dtype fp32.")
        self._clock.count(0)
        add_metrics(self._work.folder, {"step": step, "divergence": self.last})
        if self._clock.line_due() or step == steps:
            self._work.tell(f"step {step:,}/{steps:,} · divergence {self.last:.4f} nats a token")
        control.should_training_stop = step >= steps
        control.should_save = step < steps and self._clock.save_due(_RESUME_SECONDS)


def reverse_divergence(student_BKV: Tensor, teacher_BKV: Tensor) -> Tensor:
    """`KL(student ‖ teacher)` at each place in nats, `[B, K]`, with gradients through the student only."""
    student = student_BKV.log_softmax(-1)
    teacher = teacher_BKV.detach().log_softmax(-1)
    return (student.exp() * (student - teacher)).sum(-1)
