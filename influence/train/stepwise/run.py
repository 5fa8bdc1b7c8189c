"""Stepwise internalisation and its baselines: from a task and a model to a run of stages.

Method: Deng, Choi, Shieber, *From Explicit CoT to Implicit CoT* (arXiv 2405.14838).
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.data.tasks.task import Task
from influence.errors import InputError
from influence.provenance import provenance
from influence.store.artefact import claim, finish
from influence.store.formats.training import RUN_KIND
from influence.train.core.batches import Order, order_by_examples
from influence.train.core.resume import adapt
from influence.train.core.trainer import RESUME, RESUME_SECONDS
from influence.train.stepwise.batches import Cut, takes
from influence.train.stepwise.new_model import SHAPES, new_model, task_tokenizer
from influence.train.stepwise.sequences import Sequences, tokenize_task
from influence.train.stepwise.settings import Settings, checks_every, make_schedule
from influence.train.stepwise.trainer import StageSpec, train_stages

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from influence.train.stepwise.schedule import Schedule

_logger = logging.getLogger(__name__)

#: Compiled code is made for a length; batches padded to a multiple of so many tokens have few lengths.
_COMPILED_MULTIPLE = 16


def internalize(
    task: Task,
    model: str,
    out: Path,
    settings: Settings,
    *,
    resume_seconds: float = RESUME_SECONDS,
) -> dict[str, Any]:
    """Train a model on a task while its chain of thought is removed, one stage after the other.

    `out` holds a checkpoint of each stage (`stage-000`, …: model and tokenizer for `from_pretrained`, and
    `stage.json`), `metrics.jsonl`, `tensorboard/`, and while it runs `resume/`. The same call after a kill goes on from
    the last state there and ends with the same weights, bit for bit.

    Args:
        task: With a train and a valid split.
        model: A name in `SHAPES`, trained from scratch, or a folder or hub name of a causal language model.
        out: A new folder, or that of the same run.
        settings: What determines the run.
        resume_seconds: Seconds between two states to resume from; irrelevant to the result.

    Returns:
        The run's facts, as in its manifest.

    Raises:
        InputError: No chain to remove, sequences longer than the model's positions, Δ larger than an epoch's steps, an
            empty split: all before training starts.
        StoreError: `out` belongs to another run.
        ComputeError: The loss is not finite.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("Internalisation trains in one process.", fix="Start it without torchrun.")
    ready = _prepare(task, model, settings)
    train, valid, schedule, order = ready.train, ready.valid, ready.schedule, ready.order
    config = {
        "settings": dataclasses.asdict(settings),
        "model": model,
        "task": {"name": task.name, "settings": dict(task.settings)},
        "tokens_sha256": {"train": _digest(train), "valid": _digest(valid)},
    }
    manifest = claim(out, RUN_KIND, config)
    if manifest["status"] == "complete":
        shutil.rmtree(out / RESUME, ignore_errors=True)  # killed before it could
        return dict(manifest["provenance"])
    chosen = np.random.default_rng([settings.seed, 2]).permutation(len(valid))[: settings.check_examples]
    spec = StageSpec(
        folder=out,
        steps=schedule.most_steps,
        settings=settings,
        schedule=schedule,
        train=train,
        valid=valid,
        order=order,
        cut=ready.cut,
        check_every=checks_every(settings, order.steps_per_epoch),
        check_rows=np.sort(chosen),
        about={
            **{
                name: getattr(settings, name)
                for name in ("mode", "side", "by_step", "keep_positions", "seed")
            },
            "total": ready.facts["total"],
            "model": model,
            "task": config["task"],
            "settings": config["settings"],
        },
        resume_seconds=resume_seconds,
    )
    _logger.info(opening(ready.facts, settings))
    free = shutil.disk_usage(out).free
    if ready.facts["checkpoints"] * ready.facts["checkpoint_bytes"] > free:
        _logger.warning("There are %.1f GB free for the checkpoints: --stage-every keeps fewer.", free / 1e9)
    resumed_at, seconds = train_stages(ready.net, ready.tokenizer, spec)
    record = provenance(seconds, **ready.facts, resumed_at_step=resumed_at)
    finish(out, manifest, record)
    shutil.rmtree(out / RESUME, ignore_errors=True)
    return record


def planned(task: Task, model: str, settings: Settings) -> dict[str, Any]:
    """Return the facts of a run before it starts, among them its steps, its checkpoints and their bytes.

    Raises:
        InputError: As `internalize`.
    """
    return _prepare(task, model, settings).facts


@dataclasses.dataclass(frozen=True, slots=True)
class _Ready:
    """What a run begins with."""

    net: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    train: Sequences
    valid: Sequences
    order: Order
    schedule: Schedule
    cut: Cut
    facts: dict[str, Any]


def _prepare(task: Task, model: str, settings: Settings) -> _Ready:
    net, tokenizer, train, valid = _open(task, model, settings)
    amounts = [s.step_counts if settings.by_step else s.chain_lengths for s in (train, valid)]
    total = int(max(counts.max() for counts in amounts))
    order = order_by_examples(train.lengths, settings.batch_size, settings.seed)
    schedule = make_schedule(settings, total, order.steps_per_epoch)
    cut = _cut(net, tokenizer, settings)
    _check_fits(settings, (train, valid), total, cut, len(train) // order.steps_per_epoch)
    last = schedule.last
    facts: dict[str, Any] = {
        "examples": {"train": len(train), "valid": len(valid)},
        "dropped": {"train": dict(train.dropped), "valid": dict(valid.dropped)},
        "longest": int(max(train.lengths.max(), valid.lengths.max())),
        "total": total,
        "levels": len(schedule.levels),
        "steps_per_epoch": order.steps_per_epoch,
        "most_steps": schedule.most_steps,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "checkpoints": sum(level % settings.stage_every == 0 or level == last for level in range(last + 1)),
        "checkpoint_bytes": sum(p.numel() * p.element_size() for p in net.parameters()),
    }
    return _Ready(net, tokenizer, train, valid, order, schedule, cut, facts)


def _open(
    task: Task, name: str, settings: Settings
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Sequences, Sequences]:
    """The model, its tokenizer, and the tokenised train and valid splits."""
    import transformers

    from influence.models.load import load_model

    splits = [task.split("train"), task.split("valid")]
    net: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerBase
    if name in SHAPES:
        tokenizer, positions = task_tokenizer(example for split in splits for example in split), None
    else:
        if settings.dropout:
            raise InputError(
                "Dropout is set for models trained from scratch only.",
                have=f"the model {name} with its own configuration",
                fix="Leave --dropout out; a model from disk has what its config.json says.",
            )
        half = settings.dtype == "pure-bf16"
        loaded = load_model(
            name, dtype="bfloat16" if half else "float32", device="cpu"
        )  # the Trainer moves it
        net, tokenizer = loaded.model, loaded.tokenizer
        positions = getattr(net.config, "max_position_embeddings", None)
    train, valid = (
        tokenize_task(
            split,
            task,
            tokenizer,
            max_tokens=settings.max_tokens,
            positions=positions,
            by_step=settings.by_step,
        )
        for split in splits
    )
    transformers.set_seed(settings.seed)
    if net is None:
        longest = max(_longest(s, settings.keep_positions, (train, valid)) for s in (train, valid))
        net = new_model(SHAPES[name], tokenizer, longest, settings.seed, settings.dropout)
        if settings.dtype == "pure-bf16":
            net = net.bfloat16()
    return adapt(net, settings.lora_rank, settings.gradient_checkpointing), tokenizer, train, valid


def _longest(sequences: Sequences, keep_positions: bool, all_splits: tuple[Sequences, ...]) -> int:
    """Positions the examples take; with kept positions a short chain may end where the longest would have."""
    if not keep_positions:
        return int(sequences.lengths.max())
    total = max(int(s.chain_lengths.max()) for s in all_splits)
    return int((sequences.lengths - sequences.chain_lengths).max()) + total


def _cut(net: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> Cut:
    if settings.keep_positions and not takes(net, "position_ids"):
        raise InputError(
            f"{type(net).__name__} takes no position ids, so positions cannot be kept.",
            fix="Leave --keep-positions out, or take another model.",
        )
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    assert isinstance(pad, int)
    return Cut(
        side=settings.side,
        by_step=settings.by_step,
        keep_positions=settings.keep_positions,
        pad=pad,
        positions=getattr(net.config, "max_position_embeddings", None),
        multiple=_COMPILED_MULTIPLE if settings.compile else 1,
    )


def _check_fits(
    settings: Settings, splits: tuple[Sequences, ...], total: int, cut: Cut, smallest: int
) -> None:
    """Refuse positions that the model lacks, and more parts than the smallest batch has examples."""
    longest = max(_longest(s, settings.keep_positions, splits) for s in splits)
    if cut.positions is not None and longest > cut.positions:
        raise InputError(
            f"Kept positions go up to {longest}, the model has {cut.positions}.",
            have=f"the longest chain has {total} tokens",
            fix="Leave --keep-positions out, or leave long examples out.",
        )
    if smallest < settings.accumulation:
        raise InputError(
            "A batch has fewer examples than --accumulation has parts.",
            have=f"{smallest} examples, {settings.accumulation} parts",
            fix="Choose a smaller --accumulation.",
        )


def _digest(sequences: Sequences) -> str:
    sha = hashlib.sha256()
    for array in (sequences.tokens, sequences.starts, sequences.chain_start, sequences.chain_end):
        sha.update(array.tobytes())
    return sha.hexdigest()


def opening(facts: dict[str, Any], settings: Settings) -> str:
    """The first line of progress: sizes, checkpoints and their disk, and what was left out."""
    one, all_of_them = facts["checkpoint_bytes"], facts["checkpoints"] * facts["checkpoint_bytes"]
    parts = [
        f"{facts['examples']['train']:,} examples",
        f"{facts['parameters']:,} parameters",
        f"longest sequence {facts['longest']} tokens, longest chain {facts['total']}"
        + (" steps" if settings.by_step else " tokens"),
        f"{facts['levels']} stages, {facts['steps_per_epoch']:,} steps an epoch",
        f"{facts['checkpoints']} checkpoints of {one / 1e6:,.1f} MB: {all_of_them / 1e9:,.3f} GB of disk",
    ]
    for split, dropped in facts["dropped"].items():
        parts += [f"{count:,} of {split} left out: {why}" for why, count in dropped.items()]
    return " · ".join(parts)
