"""The four trainings of ICoT-KD one after the other, and the model that comes of them.

    RUN/teacher/     a run of explicit chain of thought, with its stage
    RUN/student/     the student after mind-reading
    RUN/emulator/    the emulator after thought emulation
    RUN/coupled/     both, trained to answer: emulator/, student/, tokenizer, stage.json

Each of the last three has `metrics.jsonl`, a line an epoch, and `tensorboard/`.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
import transformers

from influence.data.tasks.task import Task
from influence.errors import InputError
from influence.models.load import MODEL_KIND, load_model
from influence.provenance import provenance
from influence.store.artefact import claim, finish, seal
from influence.store.formats.records import convert, write_record
from influence.store.formats.training import COUPLED, KD_KIND, STAGE_FILE, STAGE_KIND, StageFile, read_metrics
from influence.train.core.batches import order_by_examples
from influence.train.core.trainer import RESUME, RESUME_SECONDS
from influence.train.kd.models import Coupled, Emulator, Student, load, save
from influence.train.kd.objectives import (
    BEST,
    Coupling,
    Emulation,
    KdSpec,
    Layout,
    MindReading,
    Objective,
    train_objective,
)
from influence.train.stepwise.batches import Cut
from influence.train.stepwise.new_model import SHAPES
from influence.train.stepwise.run import internalize
from influence.train.stepwise.sequences import Sequences, tokenize_task
from influence.train.stepwise.settings import KdSettings, Settings
from influence.train.stepwise.stages import Stage, find_stages, run_digest

_logger = logging.getLogger(__name__)


def icot_kd(
    task: Task,
    model: str,
    out: Path,
    settings: KdSettings,
    *,
    teacher: Path | None = None,
    resume_seconds: float = RESUME_SECONDS,
) -> dict[str, Any]:
    """Train teacher, student, emulator and both coupled; the same call after a kill goes on where it was.

    Args:
        task: With a train and a valid split, and chains.
        model: What all of them begin as: a name in `SHAPES`, trained from scratch, or a folder or hub name.
        out: A new folder, or that of the same run.
        settings: What determines the run.
        teacher: A run of explicit chain of thought on this task, or its stage, instead of training a teacher.
        resume_seconds: Seconds between two states to resume from; irrelevant to the result.

    Returns:
        The run's facts, as in its manifest.

    Raises:
        InputError: The task has no chains, or `teacher` is none; what `internalize` raises. All before any training.
        StoreError: `out` belongs to another run.
        ComputeError: A loss is not finite.
    """
    if not any(example.chain for example in task.examples("train")):
        raise InputError(
            "No example has a chain of thought, so there is nothing to distil.",
            have=f"task {task.folder}",
            fix="Without chains, use `influence train no-cot`.",
        )
    about = {"model": model, "task": {"name": task.name, "settings": dict(task.settings)}}
    ready = None if teacher is None else _explicit(find_stages([teacher]), teacher)
    if ready is not None:
        _check_same(ready, about)
    config = {
        **about,
        "settings": dataclasses.asdict(settings),
        "teacher": None if ready is None else ready.digest,
    }
    manifest = claim(out, KD_KIND, config)
    if manifest["status"] == "complete":
        return dict(manifest["provenance"])
    started = time.monotonic()
    if ready is None:
        _logger.info("Training the teacher, with explicit chains of thought.")
        internalize(
            task,
            model,
            out / "teacher",
            _teacher_settings(settings),
            resume_seconds=resume_seconds,
        )
        ready = _explicit(find_stages([out / "teacher"]), out / "teacher")
    run = _Run(task, model, out, settings, ready, resume_seconds)
    _logger.info(run.opening())
    run.student()
    run.emulator()
    run.coupled(config)
    record = provenance(time.monotonic() - started, **run.facts())
    finish(out, manifest, record)
    return record


def _teacher_settings(settings: KdSettings) -> Settings:
    return Settings(
        mode="explicit-cot",
        after_epochs=settings.teacher_epochs,
        batch_size=settings.batch_size,
        lr=settings.lr,
        seed=settings.seed,
        dtype=settings.dtype,
        max_tokens=settings.max_tokens,
    )


def _explicit(stages: list[Stage], path: Path) -> Stage:
    whole = [stage for stage in stages if stage.removed == 0]
    if not whole:
        raise InputError(
            f"{path} is no teacher: a part of the chain is removed in each of its stages.",
            fix="Give a run of influence train explicit-cot.",
        )
    return whole[0]


def _check_same(teacher: Stage, about: dict[str, Any]) -> None:
    """Its states have the width, its tokens the meaning, of a teacher that began as the same model on the same task."""
    trained = {"model": teacher.about.model, "task": msgspec.to_builtins(teacher.about.task)}
    other = [name for name in about if trained[name] != about[name]]
    if other:
        raise InputError(
            f"{teacher.folder} is a teacher of another {' and '.join(other)}.",
            have="; ".join(f"{name}: {trained[name]} there, {about[name]} here" for name in other),
            fix="Give a run of influence train explicit-cot with the same --model and --task.",
        )


class _Run:
    """The three trainings with a teacher that is ready."""

    def __init__(
        self,
        task: Task,
        model: str,
        out: Path,
        settings: KdSettings,
        teacher: Stage,
        resume_seconds: float,
    ) -> None:
        self._model, self._out, self._settings = model, out, settings
        self._resume_seconds = resume_seconds
        loaded = load_model(teacher.folder, device="cpu")
        self._teacher, self._tokenizer = loaded.model, loaded.tokenizer
        positions = getattr(self._teacher.config, "max_position_embeddings", None)
        pad = self._tokenizer.pad_token_id
        pad = self._tokenizer.eos_token_id if pad is None else pad
        cut = Cut(side="left", by_step=False, keep_positions=False, pad=cast(int, pad), positions=positions)
        self._train, self._valid = (
            Layout(self._tokenize(task, split, positions), cut) for split in ("train", "valid")
        )
        self._order = order_by_examples(self._train.sequences.lengths, settings.batch_size, settings.seed)
        self._lines: dict[str, list[dict[str, Any]]] = {}

    def _tokenize(self, task: Task, split: Any, positions: int | None) -> Sequences:
        return tokenize_task(
            task.examples(split),
            task,
            self._tokenizer,
            max_tokens=self._settings.max_tokens,
            positions=positions,
        )

    def opening(self) -> str:
        """A line with sizes, and what was left out."""
        facts = self.facts()
        parts = [
            f"{facts['examples']['train']:,} examples",
            f"{self._order.steps_per_epoch:,} steps an epoch",
        ]
        for split, dropped in facts["dropped"].items():
            parts += [f"{count:,} of {split} left out: {why}" for why, count in dropped.items()]
        return " · ".join(parts)

    def facts(self) -> dict[str, Any]:
        """Sizes, and the best line of metrics of each training so far."""
        layouts = {"train": self._train, "valid": self._valid}
        return {
            "examples": {name: len(layout.sequences) for name, layout in layouts.items()},
            "dropped": {name: dict(layout.sequences.dropped) for name, layout in layouts.items()},
            "steps_per_epoch": self._order.steps_per_epoch,
            "best": {name: min(lines, key=_loss) for name, lines in self._lines.items()},
        }

    def student(self) -> None:
        """Mind-reading the teacher."""
        transformers.set_seed(self._settings.seed)
        learner = Student(self._base())
        objective = MindReading(learner, self._teacher, self._settings.delta)
        self._finish("student", "mind-reading", objective, lambda folder: save(learner, folder))

    def emulator(self) -> None:
        """Thought emulation."""
        transformers.set_seed(self._settings.seed)
        components = int(self._teacher.config.vocab_size) if self._settings.mixture else 1
        learner = Emulator(self._base(), components)
        objective = Emulation(learner, self._teacher, self._settings.delta)
        self._finish("emulator", "thought emulation", objective, lambda folder: save(learner, folder))

    def coupled(self, about: dict[str, Any]) -> None:
        """Couple and optimize."""
        emulator, student = (load(self._out / name, device="cpu") for name in ("emulator", "student"))
        learner = Coupled(cast(Emulator, emulator), cast(Student, student))

        def write(folder: Path) -> None:
            save(learner.emulator, folder / "emulator")
            save(learner.student, folder / "student")
            self._tokenizer.save_pretrained(folder)
            write_record(folder / STAGE_FILE, self._stage(about))

        self._finish("coupled", "couple and optimize", Coupling(learner, None, None), write)

    def _stage(self, about: dict[str, Any]) -> StageFile:
        """What `influence evaluate` needs to know to ask the coupled model."""
        best = min(self._lines["coupled"], key=_loss)
        total = int(max(one.sequences.chain_lengths.max() for one in (self._train, self._valid)))
        stage = {
            "mode": COUPLED,
            "side": "left",
            "by_step": False,
            "keep_positions": False,
            "removed": total,
            "total": total,
            "seed": self._settings.seed,
            **about,
            **best,
            "examples": int(best["epoch"]) * len(self._train.sequences),
        }
        return convert(stage, StageFile)

    def _base(self) -> transformers.PreTrainedModel:
        """What the teacher was before its training; of a ready shape, with random weights."""
        if self._model not in SHAPES:
            return load_model(self._model, device="cpu").model
        net: transformers.PreTrainedModel = transformers.AutoModelForCausalLM.from_config(
            self._teacher.config
        )
        return net

    def _finish(self, name: str, title: str, objective: Objective, write: Callable[[Path], None]) -> None:
        """Train and write one part, unless it is there."""
        folder = self._out / name
        if not folder.exists():
            part = folder.with_name(f"{name}.part")
            part.mkdir(exist_ok=True)
            objective.to("cuda" if torch.cuda.is_available() else "cpu")
            settings = self._settings
            spec = self._spec(title, part)
            self._lines[name] = train_objective(
                objective, spec, lr=settings.lr, dtype=settings.dtype, seed=settings.seed
            )
            write(part)
            kind = STAGE_KIND if (part / STAGE_FILE).exists() else MODEL_KIND
            seal(part, kind, {"run": run_digest(self._out)}, leaving=(BEST,))
            part.replace(folder)
        else:
            self._lines[name] = read_metrics(folder)
        shutil.rmtree(folder / RESUME, ignore_errors=True)  # last: a kill before finds all it needs
        (folder / BEST).unlink(missing_ok=True)

    def _spec(self, title: str, folder: Path) -> KdSpec:
        epochs = self._settings.epochs
        return KdSpec(
            name=title,
            folder=folder,
            train=self._train,
            valid=self._valid,
            order=self._order,
            epochs=epochs,
            steps=epochs * self._order.steps_per_epoch,
            resume_seconds=self._resume_seconds,
        )


def _loss(line: dict[str, Any]) -> float:
    return float(line["loss"])
