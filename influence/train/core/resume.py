"""How a training goes on after a kill, and how its model appears: whole states, one text, one last act."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence.errors import InputError, StoreError
from influence.models.load import MODEL_KIND
from influence.store.artefact import release, seal, write_json
from influence.store.formats.training import METRICS, write_training
from influence.train.core.adapt import save_plain

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TENSORBOARD = "tensorboard"
#: Inside the folder of a training while it lasts: the models that are kept on its way, `checkpoint-STEP`.
KEPT = "kept"


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
    """Write the finished model, those kept on its way and its metrics to one folder, which gets its name last."""
    done = part / "model"
    shutil.rmtree(done, ignore_errors=True)
    save_plain(model, done)
    tokenizer.save_pretrained(done)
    for kept in (part / KEPT).glob("checkpoint-*"):
        shutil.copytree(kept, done / kept.name)
        tokenizer.save_pretrained(done / kept.name)
    write_training(done, record)
    shutil.copy(part / METRICS, done)
    shutil.copytree(part / TENSORBOARD, done / TENSORBOARD)
    seal(done, MODEL_KIND, {})
    done.replace(out)
    release(part)
    shutil.rmtree(part)


def must_not_exist(out: Path) -> None:
    """Refuse to train into a folder that is there already."""
    if out.exists():
        raise InputError(f"{out} already exists.", fix="Choose another --out, or remove it to train again.")
