"""Trainings on parts of a corpus: what is trained, how, and what the models make of the queries; each counts once.

A training has a folder of its own in `RUN/validation`, claimed while it runs and sealed when the queries were asked, so
any number of processes can share the work and a killed one goes on. Only what the model said stays.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from influence.data.corpus import Corpus, read_corpus
from influence.data.examples import read_examples
from influence.engine.query import completion_losses
from influence.errors import ComputeError, InputError
from influence.files import whole_file
from influence.models.load import load_model
from influence.provenance import provenance
from influence.store.artefact import claim, finish, open_complete, read_manifest
from influence.store.formats.records import read_record, write_record
from influence.store.formats.validation import FILE, KIND, RETRAININGS, Retrained
from influence.store.scores import Scores
from influence.types import Completion, Document
from influence.validation.lds import random_subsets
from influence.validation.settings import ValidationConfig

RANDOM = "random"
_CORPUS, _TRAINING, _MODEL, _LOG = "corpus.jsonl", "training", "model", "training.log"
_LOG_CHARACTERS = 600

_logger = logging.getLogger(__name__)


class Training(Protocol):
    """How a model is trained on a corpus."""

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the result beside corpus and seed."""

    @property
    def seconds(self) -> float | None:
        """About how long the whole corpus takes; None: not known."""

    def run(self, corpus: Path, out: Path, seed: int, log: Path) -> None:
        """Train on a JSONL file, and leave a folder that `load_model` takes."""


@dataclass(frozen=True)
class CommandTraining:
    """A shell command with `{corpus}`, `{out}` and `{seed}`."""

    command: str
    seconds: float | None = None

    def __post_init__(self) -> None:
        missing = [name for name in ("{corpus}", "{out}", "{seed}") if name not in self.command]
        if missing:
            raise InputError(
                f"The command lacks {' and '.join(missing)}.",
                have=self.command,
                fix="Write --train 'python train.py {corpus} {out} {seed}': a JSONL file, the folder of the model, "
                "and a number.",
            )

    @property
    def identity(self) -> dict[str, Any]:
        """The command."""
        return {"command": self.command}

    def run(self, corpus: Path, out: Path, seed: int, log: Path) -> None:
        """Run the command; what it prints goes to the log."""
        command = self.command
        for name, value in (("{corpus}", corpus), ("{out}", out), ("{seed}", seed)):
            command = command.replace(name, shlex.quote(str(value)))
        with log.open("wb") as file:
            code = subprocess.run(command, shell=True, stdout=file, stderr=subprocess.STDOUT).returncode
        if code or not (out / "config.json").is_file():
            said = log.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:]
            raise ComputeError(
                f"The training command ended with {code}."
                if code
                else f"The command left no model in {out}.",
                have=f"{command}\n{said}",
                fix="Mend it and run the same command again; finished trainings are kept.",
            )


@dataclass(frozen=True)
class RecipeTraining:
    """What `influence train pretrain` or `sft` did, by the `training.json` of their model.

    Attributes:
        model: The model, whose tokenizer serves again: other tokens would change the loss.
        record: Its `training.json`.
    """

    model: Path
    record: dict[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """The settings, and the model that a fine-tuning began with."""
        return {"recipe": {name: self.record.get(name) for name in ("settings", "base")}}

    @property
    def seconds(self) -> float | None:
        """What the training took."""
        return float(self.record["seconds"])

    def run(self, corpus: Path, out: Path, seed: int, log: Path) -> None:
        """Train with the same settings; seed 0 is that of the model."""
        from transformers import PreTrainedTokenizerFast

        from influence.train.pretrain import pretrain
        from influence.train.settings import PretrainSettings, SftSettings
        from influence.train.sft import sft

        form = PretrainSettings if "size" in self.record["settings"] else SftSettings
        names = form.__dataclass_fields__.keys() - {"keep"}
        chosen = {name: value for name, value in self.record["settings"].items() if name in names}
        chosen["seed"] += seed
        if form is PretrainSettings:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(self.model)
            pretrain(read_corpus(corpus), out, PretrainSettings(**chosen), tokenizer=tokenizer)
        else:
            sft(load_model(self.record["base"]["name"]), read_examples(corpus), out, SftSettings(**chosen))


def training_of(scores: Scores, command: str | None) -> Training:
    """How the model of a run was trained: by the command, or as its own `training.json` says.

    Raises:
        InputError: there is no command, and the model was not trained by `influence train pretrain` or `sft`.
    """
    if command is not None:
        return CommandTraining(command)
    model = Path(str(scores.manifest["provenance"].get("model_name", "")))
    for folder in (model, model.parent):  # a checkpoint lies in the folder of its training
        path = folder / "training.json"
        if path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
            if "size" in record.get("settings", {}) or "lr" in record.get("settings", {}):
                return RecipeTraining(folder, record)
    raise InputError(
        f"How {model} was trained is not known.",
        have="no training.json of influence train pretrain or sft",
        fix="Give the command: --train 'python train.py {corpus} {out} {seed}'",
    )


@dataclass(frozen=True)
class Job:
    """A training on a part of the corpus; fields as in `Retrained`.

    Attributes:
        kept: Which documents it sees, `[D]`.
    """

    group: str
    number: int
    share: float
    seed: int
    kept: npt.NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Of its folder."""
        if self.group == RANDOM:
            return f"random-{self.share:g}-{self.number:03d}-seed-{self.seed}"
        words = "".join(letter if letter.isalnum() else "-" for letter in self.group)
        return f"without-{words}-{int((~self.kept).sum())}-seed-{self.seed}"

    @property
    def left_out(self) -> list[int]:
        """Columns of the documents that it does not see."""
        columns: list[int] = np.flatnonzero(~self.kept).tolist()
        return columns


def random_jobs(documents: int, config: ValidationConfig) -> list[Job]:
    """Every random subset with every seed, subset by subset."""
    subsets = random_subsets(documents, config.subsets, config.left_out)
    return [
        Job(RANDOM, number, config.left_out, seed, kept_D)
        for number, kept_D in enumerate(subsets)
        for seed in range(config.seeds)
    ]


def is_done(scores: Scores, job: Job) -> bool:
    """Whether a training is finished."""
    manifest = read_manifest(scores.folder / RETRAININGS / job.name)
    return manifest is not None and manifest["status"] == "complete"


def retrain(scores: Scores, corpus: Corpus, training: Training, job: Job) -> None:
    """Train on what a job keeps and ask the queries, unless that is done; a killed call goes on.

    Raises:
        StoreError: the folder is of another training, or another process is at it.
        ComputeError: the command failed, or what the model says is not finite.
    """
    folder = scores.folder / RETRAININGS / job.name
    config = scores.manifest["config"]
    digest = hashlib.sha256(json.dumps(job.left_out).encode()).hexdigest()
    identity = {name: config[name] for name in ("corpus", "queries")} | training.identity
    manifest = claim(folder, KIND, {**identity, "left_out": digest, "seed": job.seed})
    if manifest["status"] == "complete":
        return
    started = time.monotonic()
    if not (folder / FILE).exists():
        model = folder / _MODEL
        if not model.exists():
            _write_subset(corpus, job.kept, folder / _CORPUS)
            shutil.rmtree(folder / _TRAINING, ignore_errors=True)  # one that was killed
            training.run(folder / _CORPUS, folder / _TRAINING, job.seed, folder / _LOG)
            (folder / _TRAINING).rename(model)
        losses = completion_losses(load_model(model), scores.queries, config["max_length"])
        if not np.isfinite(losses).all():
            raise ComputeError(
                f"The model trained in {folder} gives a completion no finite probability.",
                fix="Delete that folder and train again, in float32.",
            )
        taken = time.monotonic() - started
        answer = Retrained(
            group=job.group,
            number=job.number,
            share=job.share if job.group == RANDOM else 0.0,
            seed=job.seed,
            left_out=job.left_out,
            log_p=[-loss for loss in losses],
            seconds=round(taken, 1),
        )
        write_record(folder / FILE, answer)
    for path in (folder / _MODEL, folder / _TRAINING):
        shutil.rmtree(path, ignore_errors=True)
    for name in (_CORPUS, _LOG):
        (folder / name).unlink(missing_ok=True)
    finish(folder, manifest, provenance(time.monotonic() - started))


def read_retrainings(scores: Scores) -> list[Retrained]:
    """Everything that was trained again for a run, each training once.

    Raises:
        StoreError: one is damaged.
    """
    found = []
    for path in sorted((scores.folder / RETRAININGS).glob("*/manifest.json")):
        manifest = read_manifest(path.parent)
        if manifest is not None and manifest["status"] == "complete":
            open_complete(path.parent, KIND)
            found.append(
                read_record(path.parent / FILE, Retrained, fix=f"Delete {path.parent} and train again.")
            )
    return found


def require_same_corpus(scores: Scores, corpus: Corpus) -> None:
    """Refuse a corpus whose documents are not the columns of a run.

    Raises:
        InputError: another number of documents, or other ids.
    """
    names = [document.id for document in corpus]
    known = scores.documents.ids.tolist()
    if names != known:
        raise InputError(
            f"The documents of {corpus.name} are not those that were scored.",
            have=f"{len(names):,} documents, {len(known):,} scored"
            if len(names) != len(known)
            else "other ids, or another order",
            fix="Give the corpus of the run by --corpus; runs with windows cannot be validated.",
        )


def _write_subset(corpus: Corpus, kept: Sequence[bool] | npt.NDArray[np.bool_], path: Path) -> None:
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for record in _records(document for document, keep in zip(corpus, kept, strict=True) if keep):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _records(documents: Iterable[Document]) -> Iterator[dict[str, Any]]:
    """Records that `read_corpus` reads as the same documents."""
    for document in documents:
        record: dict[str, Any] = {"id": document.id, "source": document.source}
        if document.example is None:
            record["text"] = document.text
        elif isinstance(document.example, Completion):
            record |= {"prompt": document.example.prompt, "completion": document.example.completion}
        else:
            raise InputError(
                f"Document {document.id} is a {type(document.example).__name__}, which cannot be written as JSONL yet.",
                fix="Validate a run on texts, or on prompts and completions.",
            )
        yield record
