"""How a model is made ready to train, how its training goes on after a kill, and how it appears when it is done."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence.errors import InputError, ModelError, StoreError
from influence.models.load import MODEL_KIND
from influence.store.artefact import release, seal, write_json
from influence.store.formats.training import METRICS, write_training

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def adapt(model: PreTrainedModel, lora_rank: int | None, gradient_checkpointing: bool) -> PreTrainedModel:
    """Prepare a model for training in little memory; with neither it comes back as it is.

    LoRA (arXiv 2106.09685) stands beside every linear layer but the output head, scaled by 2 (α = 2 · rank), without
    dropout. Its second matrix starts at 0, so the model computes what it did; the first is random: seed before.
    Everything else is frozen. The Trainer's checkpoints then hold the adapters alone; `save_plain` writes a model.

    Args:
        model: Changed in place.
        lora_rank: Rank of the adapters; None trains all weights.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them; the gradients
            are the same.

    Returns:
        The model to train: with LoRA peft's wrapper, which is called as the model is.

    Raises:
        InputError: The rank is below 1.
        ModelError: The model cannot do it.
    """
    if lora_rank is not None and lora_rank < 1:
        raise InputError(
            "The rank of LoRA is at least 1.",
            have=str(lora_rank),
            fix="Give a rank such as 16, or none to train all weights.",
        )
    if gradient_checkpointing:
        if not model.supports_gradient_checkpointing:
            raise ModelError(
                f"{type(model).__name__} has no gradient checkpointing.", fix="Train without it."
            )
        # the reentrant kind gives frozen inputs no gradient, so LoRA would not learn
        enable = getattr(model, "activation_checkpointing_enable", None)  # its newer name
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    if lora_rank is None:
        return model

    import peft
    from transformers.pytorch_utils import Conv1D

    settings = peft.LoraConfig(
        r=lora_rank,
        lora_alpha=2 * lora_rank,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    try:
        with warnings.catch_warnings():  # peft asks by a name that transformers has renamed
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            adapted: Any = peft.get_peft_model(model, settings)
    except ValueError as error:
        raise ModelError(
            f"{type(model).__name__} takes no LoRA.", have=str(error), fix="Train all of its weights."
        ) from error
    return adapted  # type: ignore[no-any-return]


def save_plain(model: PreTrainedModel, folder: Path) -> None:
    """Write a checkpoint that `from_pretrained` loads without peft: LoRA is added to the weights that are written.

    The model in memory keeps its adapters and does not change by a bit, so training can go on.
    """
    if hasattr(model, "get_base_model"):
        plain: PreTrainedModel = model.get_base_model()  # type: ignore[operator]  # peft's wrapper
        plain.save_pretrained(folder, state_dict=_merged_state(plain))
    else:
        model.save_pretrained(folder)


def _merged_state(plain: PreTrainedModel) -> dict[str, Tensor]:
    """The state of a model with adapters inside, added up, under the names it has without them."""
    from peft.tuners.lora import LoraLayer

    state = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in plain.state_dict().items()
        if ".lora_" not in name
    }
    for name, module in plain.named_modules():
        if isinstance(module, LoraLayer):
            layer: Any = module
            weight = state[f"{name}.weight"]
            delta = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
            state[f"{name}.weight"] = (weight + delta).to(weight.dtype)
    return state


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
