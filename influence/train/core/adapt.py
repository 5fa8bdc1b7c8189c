"""LoRA and gradient checkpointing: models larger than the memory that full training of them needs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence.errors import InputError, ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


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
