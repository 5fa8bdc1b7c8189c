"""Supervised fine-tuning: a model learns to complete prompts, with the loss on the completions only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.data.examples import PromptCompletion
from influence.data.tokens import tokenise_completions
from influence.errors import InputError
from influence.provenance import provenance
from influence.store.artefact import claim
from influence.train.core.batches import order_by_tokens
from influence.train.core.resume import adapt, must_not_exist, publish, same_text
from influence.train.core.text import Row, digest, lengths_of, mean_loss, train_rows
from influence.train.core.trainer import RESUME_SECONDS
from influence.train.settings import SftSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from influence.models.load import LanguageModel

_LOSS_EXAMPLES = 256


def sft(
    base: LanguageModel,
    examples: Sequence[PromptCompletion],
    out: Path,
    settings: SftSettings = SftSettings(),
    *,
    resume_seconds: float = RESUME_SECONDS,
) -> dict[str, Any]:
    """Fine-tune a copy of `base` on prompt–completion pairs; the tokens of the prompt are no labels.

    Works in `<out>.part/` and renames it to `out` at the end; the same call after a kill goes on from the last
    checkpoint there. `out` then holds the model (weights in float32, safetensors), the tokenizer,
    `training.json`, `metrics.jsonl` and `tensorboard/`.

    Args:
        base: The model to start from, in float32. Training changes it in place.
        examples: What to learn; each ends with EOS, where the tokenizer has one.
        out: A folder that does not exist yet.
        settings: What determines the run besides model and examples.
        resume_seconds: Seconds between two states to resume from; irrelevant to the result.

    Returns:
        What `training.json` holds. The loss is mean nats a completion token.

    Raises:
        InputError: `out` exists, or an example does not fit into the model's positions.
        StoreError: `<out>.part/` belongs to another run.
        ComputeError: The loss is not finite at the end.
    """
    import transformers

    must_not_exist(out)
    started = time.monotonic()
    model, tokenizer = base.model, base.tokenizer
    fingerprint = base.fingerprint  # of the weights before training
    rows = example_rows(examples, tokenizer, getattr(model.config, "max_position_embeddings", None))
    part = out.with_name(out.name + ".part")
    later = {
        "lora_rank": None,
        "keep": 0,
    }  # are left out at these values, as in runs of versions without them
    config = {name: value for name, value in asdict(settings).items() if later.get(name, ...) != value}
    claim(part, "fine-tuning", {**config, "base": fingerprint})
    same_text(part / "text.json", digest(rows))

    transformers.set_seed(settings.seed)
    model = adapt(model, settings.lora_rank, gradient_checkpointing=False)
    order = order_by_tokens(lengths_of(rows), settings.batch_tokens, settings.epochs, settings.seed)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    resumed_at = train_rows(
        model,
        rows,
        order,
        part,
        pad=pad or 0,
        lr=settings.lr,
        dtype=settings.dtype,
        seed=settings.seed,
        resume_seconds=resume_seconds,
        keep=settings.keep,
    )
    model.eval()

    chosen = np.random.default_rng(settings.seed).permutation(len(rows))[:_LOSS_EXAMPLES]
    record = provenance(
        time.monotonic() - started,
        settings=config,
        base={"name": base.name, "fingerprint": fingerprint},
        examples=len(rows),
        tokens_per_epoch=sum(len(row.tokens) for row in rows),
        tokens_sha256=digest(rows),
        steps=order.steps_per_epoch,
        resumed_at_step=resumed_at,
        loss_nats_per_token={"train": mean_loss(model, [rows[i] for i in chosen], pad or 0)},
        loss_examples=len(chosen),
    )
    publish(part, out, model, tokenizer, record)
    return record


def example_rows(
    examples: Sequence[PromptCompletion], tokenizer: PreTrainedTokenizerBase, positions: int | None
) -> list[Row]:
    """BOS + prompt + completion + EOS of each example, tokenised as one text as for a query.

    A token that straddles the boundary belongs to the completion.

    Raises:
        InputError: An example is longer than the model's positions.
    """
    pairs = [(example.prompt, example.completion) for example in examples]
    rows = []
    for number, (encoded, start) in enumerate(tokenise_completions(tokenizer, pairs, ended=True), 1):
        tokens = encoded.whole
        if positions is not None and len(tokens) > positions:
            raise InputError(
                f"Example {number} has {len(tokens)} tokens, more than the {positions} positions of the model.",
                have=repr(examples[number - 1].prompt[:60]),
                fix="Shorten or remove it.",
            )
        rows.append(Row(np.array(tokens, np.int32), start))
    return rows
