"""Train a small language model from scratch on a corpus, so that every document it ever saw is known."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from influence.data.corpus import Corpus
from influence.errors import ComputeError, InputError, StoreError
from influence.provenance import provenance
from influence.store.artefact import claim, write_json
from influence.train.text import (
    IGNORED_LABEL,
    Batches,
    Rows,
    Tokens,
    layout_batches,
    pad_rows,
    tokenize_rows,
    train_tokenizer,
)

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Dtype = Literal["bf16", "fp32"]

_LOSS_WINDOWS = 256
_LOSS_BATCH = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A model and how it is trained. Lengths and batches in tokens."""

    hidden: int
    layers: int
    heads: int
    mlp: int
    vocab: int
    max_length: int
    batch_tokens: int
    lr: float
    epochs: int


SIZES = {
    # a demonstration: about 2,000 short documents in less than a minute on two cores
    "tiny": Size(
        hidden=64,
        layers=2,
        heads=2,
        mlp=256,
        vocab=1024,
        max_length=512,
        batch_tokens=2048,
        lr=4e-3,
        epochs=5,
    ),
    # real text: 6.3 million parameters
    "small": Size(
        hidden=256,
        layers=4,
        heads=4,
        mlp=1024,
        vocab=8192,
        max_length=512,
        batch_tokens=4096,
        lr=2e-3,
        epochs=6,
    ),
}


def pretrain(
    corpus: Corpus,
    out: Path,
    *,
    size: str = "small",
    epochs: int | None = None,
    held_out: Corpus | None = None,
    seed: int = 0,
    dtype: Dtype = "bf16",
) -> dict[str, Any]:
    """Train a byte-level BPE tokenizer and a Llama-like model (tied embeddings, no biases) on a corpus.

    Works in `<out>.part/` and renames it to `out` at the end; the same call after a kill goes on from the last
    checkpoint there. `out` then holds the model (weights in float32, safetensors), the tokenizer, and
    `training.json`.

    Args:
        corpus: Every document is trained on; none is held out, so that each one can be scored.
        out: A folder that does not exist yet.
        size: A name in `SIZES`.
        epochs: Passes over the corpus; the size's own number by default.
        held_out: Documents the model never sees, for the held-out loss.
        seed: Seeds the weights and the order of the batches.
        dtype: "bf16" computes in bfloat16 by autocast and keeps weights and optimizer in float32.

    Returns:
        What `training.json` holds. Losses are mean nats a token.

    Raises:
        InputError: An unusable option, `out` exists, or the corpus has no text.
        StoreError: `<out>.part/` belongs to another run.
        ComputeError: The loss is not finite at the end.
    """
    import torch
    import transformers

    shape = _shape(size, epochs)
    if out.exists():
        raise InputError(f"{out} already exists.", fix="Choose another --out, or remove it to train again.")
    started = time.time()
    part = out.with_name(out.name + ".part")
    settings = {"size": size, **dataclasses.asdict(shape), "seed": seed, "dtype": dtype}
    claim(part, "pretraining", {**settings, "corpus": corpus.describe()})
    tokenizer = _tokenizer(corpus, part / "tokenizer", shape)
    rows = tokenize_rows(corpus, tokenizer, shape.max_length)
    _same_text(part / "text.json", rows)
    held_out_rows = tokenize_rows(held_out, tokenizer, shape.max_length) if held_out is not None else None

    transformers.set_seed(seed)
    model = transformers.LlamaForCausalLM(_llama_config(shape, tokenizer))
    batches = layout_batches([len(window) for window in rows.windows], shape.batch_tokens, shape.epochs, seed)
    resumed_at = _train(model, rows.windows, batches, shape, part, dtype=dtype, seed=seed)

    chosen = np.random.default_rng(seed).permutation(len(rows.windows))[:_LOSS_WINDOWS]
    losses = {
        "train": mean_loss(model, [rows.windows[i] for i in chosen]),
        "held_out": mean_loss(model, held_out_rows.windows) if held_out_rows else None,
    }
    if not math.isfinite(sum(loss for loss in losses.values() if loss is not None)):
        raise ComputeError(f"Training {out} ended with a loss that is not finite.", fix="Use --dtype fp32.")
    record = provenance(
        time.time() - started,
        settings=settings,
        corpus=corpus.describe(),
        held_out=held_out.describe() if held_out is not None else None,
        documents=rows.documents,
        empty_documents_skipped=rows.empty,
        documents_in_several_windows=rows.chunked,
        windows=len(rows.windows),
        tokens_per_epoch=rows.tokens,
        tokens_sha256=rows.digest(),
        steps=len(batches),
        resumed_at_step=resumed_at,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_dtype="float32",
        loss_nats_per_token=losses,
        loss_windows={
            "train": len(chosen),
            "held_out": len(held_out_rows.windows) if held_out_rows else 0,
        },
        threads=torch.get_num_threads(),
    )
    _publish(part, out, model, tokenizer, record)
    return record


def _shape(size: str, epochs: int | None) -> Size:
    if size not in SIZES:
        raise InputError(f"There is no size {size!r}.", fix=f"Choose one of {', '.join(SIZES)}.")
    if epochs is not None and epochs < 1:
        raise InputError("The number of epochs is at least 1.", have=str(epochs))
    return SIZES[size] if epochs is None else dataclasses.replace(SIZES[size], epochs=epochs)


def _same_text(path: Path, rows: Rows) -> None:
    """Remember the digest of the text; refuse to go on with another text than the run began with."""
    digest = {"tokens_sha256": rows.digest()}
    if not path.exists():
        write_json(path, digest)
    elif json.loads(path.read_text(encoding="utf-8")) != digest:
        raise StoreError(
            f"The corpus changed since the run in {path.parent} began.",
            fix=f"Delete {path.parent} to train from the start.",
        )


def _publish(
    part: Path, out: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, record: dict[str, Any]
) -> None:
    """Write the finished model to one folder and give it its name as the last act."""
    done = part / "model"
    shutil.rmtree(done, ignore_errors=True)
    model.save_pretrained(done)
    tokenizer.save_pretrained(done)
    write_json(done / "training.json", record)
    done.replace(out)
    shutil.rmtree(part)


def _only(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


def _train(
    model: LlamaForCausalLM,
    windows: Sequence[Tokens],
    batches: Sequence[Sequence[int]],
    shape: Size,
    part: Path,
    *,
    dtype: Dtype,
    seed: int,
) -> int:
    """Run or continue the Trainer over the laid-out batches; the step it started from."""
    import torch
    import transformers

    arguments = transformers.TrainingArguments(
        output_dir=str(part / "checkpoints"),
        num_train_epochs=1,  # the batches of all epochs are laid out one after the other
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=shape.lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, min(200, len(batches) // 20)),
        weight_decay=0.01,
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
    pad = model.config.pad_token_id
    assert isinstance(pad, int)
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=Batches(windows, batches, pad), data_collator=_only
    )
    checkpoint = _last_checkpoint(part / "checkpoints")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end: the Trainer writes `trainer_state.json` last."""
    whole = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            whole.append((int(json.loads(state.read_text(encoding="utf-8"))["global_step"]), state.parent))
        except (ValueError, KeyError):
            continue  # cut off while it was written: the one before it is whole
    return max(whole)[1] if whole else None


def mean_loss(model: LlamaForCausalLM, windows: Sequence[Tokens]) -> float:
    """Mean negative log-likelihood in nats a token over all windows, without gradients, in float32."""
    import torch

    pad = model.config.pad_token_id
    assert isinstance(pad, int)
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    ordered = sorted(windows, key=len)
    with torch.no_grad():
        for start in range(0, len(ordered), _LOSS_BATCH):
            inputs = pad_rows(ordered[start : start + _LOSS_BATCH], pad)
            inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
            targets = int((inputs["labels"][:, 1:] != IGNORED_LABEL).sum())
            total += float(model(**inputs).loss) * targets
            count += targets
    model.train(was_training)
    return total / count


def _tokenizer(corpus: Corpus, folder: Path, shape: Size) -> PreTrainedTokenizerFast:
    """The tokenizer in `folder`, trained there first unless an earlier start of the run did."""
    from transformers import PreTrainedTokenizerFast

    if not folder.exists():
        tokenizer = train_tokenizer((document.text for document in corpus), shape.vocab, shape.max_length)
        writing = folder.with_name(folder.name + ".part")
        tokenizer.save_pretrained(writing)
        writing.replace(folder)
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return loaded


def _llama_config(shape: Size, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),  # a small corpus may give fewer than asked for
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.mlp,
        max_position_embeddings=shape.max_length,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
