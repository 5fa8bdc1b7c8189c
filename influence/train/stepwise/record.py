"""What a run leaves behind: a checkpoint for each stage and a line of metrics for each check."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence.files import whole_file
from influence.store.artefact import write_json
from influence.train.core.adapt import save_plain
from influence.train.stepwise.stages import STAGE_FILE

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

METRICS = "metrics.jsonl"


def stage_folder(out: Path, removed: int) -> Path:
    """The folder of the stage with so much removed."""
    return out / f"stage-{removed:03d}"


def write_stage(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, about: dict[str, Any]
) -> None:
    """Write a checkpoint that `from_pretrained` loads, with tokenizer and `stage.json`; it appears whole."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    in_training, model.config.use_cache = model.config.use_cache, True  # off in training; generating needs it
    save_plain(model, part)
    model.config.use_cache = in_training
    tokenizer.save_pretrained(part)
    write_json(part / STAGE_FILE, about)
    shutil.rmtree(folder, ignore_errors=True)  # there after a kill: the same stage
    part.replace(folder)


def add_metrics(out: Path, line: dict[str, Any]) -> None:
    """Add a line to `metrics.jsonl`."""
    with (out / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def cut_metrics(out: Path, step: int) -> None:
    """Forget the lines after `step`, from where a killed run goes on."""
    path = out / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except ValueError:
            break  # cut off by the kill
        kept.append(line + "\n")
    with whole_file(path) as part:
        part.write_text("".join(kept), encoding="utf-8")
