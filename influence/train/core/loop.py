"""The training loop: transformers' Trainer over batches laid out beforehand, resumed after a kill."""

from __future__ import annotations

import json
import math
import shutil
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from influence.errors import ComputeError, InputError, StoreError
from influence.store.artefact import write_json
from influence.train.core.adapt import save_plain
from influence.train.core.text import IGNORED_LABEL, Batches, Row, pad_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

Dtype = Literal["bf16", "fp32"]

_LOSS_BATCH = 16


def run_trainer(
    model: PreTrainedModel, batches: Batches, part: Path, *, lr: float, dtype: Dtype, seed: int
) -> int:
    """Train `model` in place on the batches, once each and in their order; the step it resumed from.

    AdamW (β₂ 0.95, weight decay 0.1), a short warm-up, then cosine decay to 0, gradients clipped to norm 1.
    Checkpoints lie in `part/checkpoints`; the same call after a kill goes on from the newest whole one.
    """
    import torch
    import transformers

    arguments = transformers.TrainingArguments(
        output_dir=str(part / "checkpoints"),
        num_train_epochs=1,  # the batches of all epochs are laid out one after the other
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, min(200, len(batches) // 20)),
        weight_decay=0.1,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=dtype == "bf16",
        use_cpu=not torch.cuda.is_available(),
        logging_steps=max(1, len(batches) // 50),
        save_steps=max(1, len(batches) // 25),
        save_total_limit=2,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
        seed=seed,
    )
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=batches,  # a sequence will do
        data_collator=_only,
    )
    trainer.remove_callback(transformers.ProgressCallback)
    trainer.add_callback(_quiet_progress())
    checkpoint = last_checkpoint(part / "checkpoints")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _quiet_progress() -> TrainerCallback:
    """The Trainer's progress bar, with the loss beside it where the Trainer would print a line to stdout."""
    from transformers import ProgressCallback

    class Progress(ProgressCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **other: Any) -> None:
            if self.training_bar is not None and logs and "loss" in logs:
                self.training_bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    return Progress()


def _only(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: the Trainer writes `trainer_state.json` last."""
    whole = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            step = int(json.loads(state.read_text(encoding="utf-8"))["global_step"])
        except (ValueError, KeyError):
            continue  # cut off while it was written: the one before it is whole
        if all(_readable(path) for path in state.parent.iterdir()):
            whole.append((step, state.parent))
    return max(whole)[1] if whole else None


def _readable(path: Path) -> bool:
    """Whether a file of a checkpoint is as long as it says, and what torch wrote has its own checksums."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix in (".pt", ".pth"):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile
        if path.suffix == ".safetensors":
            safe_open(path, framework="np")
    except (OSError, zipfile.BadZipFile, SafetensorError):
        warnings.warn(f"{path} is damaged: training goes on without this checkpoint.", stacklevel=2)
        return False
    return True


def mean_loss(model: PreTrainedModel, rows: Sequence[Row], pad: int) -> float:
    """Mean negative log-likelihood in nats a target token over all rows, without gradients, in float32.

    Raises:
        ComputeError: It is not finite.
    """
    import torch

    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    ordered = sorted(rows, key=lambda row: len(row.tokens))
    with torch.no_grad():
        for start in range(0, len(ordered), _LOSS_BATCH):
            inputs = pad_rows(ordered[start : start + _LOSS_BATCH], pad)
            inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
            targets = int((inputs["labels"][:, 1:] != IGNORED_LABEL).sum())
            total += float(model(**inputs).loss) * targets
            count += targets
    model.train(was_training)
    if not math.isfinite(total):
        raise ComputeError("Training ended with a loss that is not finite.", fix="Use --dtype fp32.")
    return total / count


def same_text(path: Path, digest: str) -> None:
    """Remember the digest of the text; refuse to go on with another text than the run began with."""
    value = {"tokens_sha256": digest}
    if not path.exists():
        write_json(path, value)
    elif json.loads(path.read_text(encoding="utf-8")) != value:
        raise StoreError(
            f"The text changed since the run in {path.parent} began.",
            fix=f"Delete {path.parent} to train from the start.",
        )


def publish(
    part: Path,
    out: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    record: dict[str, Any],
) -> None:
    """Write the finished model to one folder and give it its name as the last act."""
    done = part / "model"
    shutil.rmtree(done, ignore_errors=True)
    save_plain(model, done)
    tokenizer.save_pretrained(done)
    write_json(done / "training.json", record)
    done.replace(out)
    shutil.rmtree(part)


def must_not_exist(out: Path) -> None:
    """Refuse to train into a folder that is there already."""
    if out.exists():
        raise InputError(f"{out} already exists.", fix="Choose another --out, or remove it to train again.")
