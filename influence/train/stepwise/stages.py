"""Stages of a training run as folders: what each says of itself in `stage.json`."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from influence.errors import InputError, StoreError
from influence.store.artefact import check_held, open_complete, read_manifest, seal
from influence.store.formats.manifest import digest, fingerprint
from influence.store.formats.records import read_record, write_record
from influence.store.formats.training import KD_KIND, RUN_KIND, STAGE_FILE, STAGE_KIND, StageFile
from influence.train.core.resume import save_plain
from influence.train.stepwise.settings import Side

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Files of a stage up to this size are read when it is listed: its weights are when they are loaded.
_READ_WHEN_LISTED = 1 << 20


@dataclass(frozen=True)
class Stage:
    """A checkpoint and how it was trained to answer.

    Attributes:
        about: All that `stage.json` says.
        digest: Of `stage.json`: another one is another training.
        fingerprint: Of all files of the folder; None for one of a version that kept no checksums.
    """

    folder: Path
    about: StageFile
    digest: str
    fingerprint: str | None

    @property
    def removed(self) -> int:
        """Removed tokens of each chain, or steps where whole steps were removed."""
        return self.about.removed

    @property
    def side(self) -> Side:
        """The end of the chain that goes first."""
        return self.about.side

    @property
    def by_step(self) -> bool:
        """Whether whole steps were removed."""
        return self.about.by_step

    @property
    def keep_positions(self) -> bool:
        """Whether what follows the cut kept its positions."""
        return self.about.keep_positions

    @property
    def run(self) -> Path:
        """The training run it belongs to."""
        return self.folder.resolve().parent


def run_digest(run: Path) -> str | None:
    """What binds a stage to its run: a digest of the run's configuration; None where no run lies there."""
    manifest = read_manifest(run)
    is_run = manifest is not None and manifest["kind"] in (RUN_KIND, KD_KIND)
    return digest(manifest["config"]) if manifest is not None and is_run else None


def _checked(folder: Path) -> str | None:
    """The fingerprint of a stage, refused where it is damaged or is not of the run in whose folder it lies.

    A stage of a version that kept no checksums is taken as it is, with a warning; it has none.
    """
    manifest, run = read_manifest(folder), folder.resolve().parent
    above = read_manifest(run)
    if above is not None and folder.name in above["holds"]:
        check_held(run, above, folder.name)
    if manifest is None:
        warnings.warn(
            f"{folder} is read unchecked: the version that made it kept no checksums of stages.", stacklevel=3
        )
        return None
    open_complete(folder, STAGE_KIND, verified=_READ_WHEN_LISTED)
    if run_digest(run) not in (None, manifest["config"]["run"]):
        raise StoreError(
            f"{folder} is not a stage of the run in {run}.",
            have="a stage of a run with another configuration",
            fix="Give the stages of a run in the folder where it left them.",
        )
    return fingerprint(manifest)


def read_stage(folder: Path) -> Stage:
    """A stage; StoreError where it is damaged or of another run, or `stage.json` does not say how to ask it."""
    if not (folder / STAGE_FILE).is_file():
        raise StoreError(
            f"{folder} is not a stage of a training run.",
            have=f"no {STAGE_FILE} in it",
            fix="Give folders such as RUN/stage-008, or the run itself.",
        )
    stored = _checked(folder)
    path = folder / STAGE_FILE
    about = read_record(path, StageFile, fix="Give folders such as RUN/stage-008, or train the run again.")
    return Stage(folder, about, hashlib.sha256(path.read_bytes()).hexdigest()[:16], stored)


def find_stages(folders: Iterable[Path]) -> list[Stage]:
    """The stages among these folders, each a stage or a run with all its stages; in the order of removal within a run.

    Raises:
        InputError: a folder is missing, is neither, or a stage is named twice.
    """
    stages = []
    for folder in folders:
        if (folder / STAGE_FILE).exists():
            stages.append(read_stage(folder))
            continue
        found = sorted(path.parent for path in folder.glob(f"*/{STAGE_FILE}"))
        own = [path for path in found if path.suffix != ".part"]  # those are being written
        run = read_manifest(folder) if folder.is_dir() else None
        if run is not None and run["kind"] == RUN_KIND:  # one that lost its file is refused, not passed over
            own = sorted({*own, *(folder / name for name in run["holds"])})
        if not own:
            raise InputError(
                f"{folder} is neither a stage nor a run with stages.",
                have="no such folder" if not folder.exists() else f"no {STAGE_FILE} in it",
                fix="Give folders such as RUN/stage-008, or the run itself.",
            )
        stages += [read_stage(path) for path in own]
    if len({stage.folder.resolve() for stage in stages}) < len(stages):
        raise InputError("A stage is named twice.", fix="Give each stage once: its folder or its run.")
    runs = list(dict.fromkeys(stage.run for stage in stages))
    return sorted(stages, key=lambda stage: (runs.index(stage.run), stage.removed, stage.folder.name))


def stage_folder(out: Path, removed: int) -> Path:
    """The folder of the stage with so much removed."""
    return out / f"stage-{removed:03d}"


def write_stage(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, about: StageFile
) -> None:
    """Write a checkpoint that `from_pretrained` loads, with tokenizer and `stage.json`; it appears whole."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    in_training, model.config.use_cache = model.config.use_cache, True  # off in training; generating needs it
    save_plain(model, part)
    model.config.use_cache = in_training
    tokenizer.save_pretrained(part)
    write_record(part / STAGE_FILE, about)
    seal(part, STAGE_KIND, {"run": run_digest(folder.parent)})
    shutil.rmtree(folder, ignore_errors=True)  # there after a kill: the same stage
    part.replace(folder)
