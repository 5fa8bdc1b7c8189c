"""What a model's path holds: whole weights, a GGUF file or an adapter, quantised or not, and what it asks to have run.

Nothing here runs code that comes with a checkpoint, and no kernel is fetched for one: see `without_fetched_kernels`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from influence.errors import ModelError
from influence.models.limits import require_countable_parts
from influence.ready import ready_path

_logger = logging.getLogger(__name__)

#: Kinds of attention that are part of torch and transformers.
_OWN_ATTENTION = (None, "eager", "sdpa", "flex_attention")
#: Entries of an adapter's configuration that do not change what it computes.
_VOLATILE = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_version",
    "revision",
    "runtime_config",
    "task_type",
}
_MAGNITUDE = re.compile(r"\.lora_magnitude_vector\.[^.]+\.weight$")
#: Quantisations that transformers expands, where asked, to the numbers that the weights stand for.
_EXPANDED = ("mxfp4", "fp8")
_INSTALL = "pip install 'influence-lm[quantized]'"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the weights of a model lie.

    Attributes:
        source: Folder with the whole weights, or their name on the hub.
        gguf: Name of the GGUF file in that folder.
        adapter: Folder of an adapter over them.
    """

    source: str
    gguf: str | None = None
    adapter: Path | None = None

    @property
    def tokenizer(self) -> str:
        """Folder or hub name of the tokenizer: an adapter may have its own."""
        own = self.adapter is not None and (self.adapter / "tokenizer_config.json").is_file()
        return str(self.adapter) if own else self.source


def find_checkpoint(name: str | Path, base: str | Path | None = None) -> Checkpoint:
    """Look at what lies at a path; a name that is no path is one on the hub.

    Args:
        base: Model that an adapter is for; default what the adapter's configuration says.

    Raises:
        ModelError: the path holds no model, several GGUF files or an adapter without a base; or `base` is given for a
            model that is no adapter.
    """
    path = Path(name)
    if not path.exists():
        path = ready_path("models", str(name)) or path
    adapter = path / "adapter_config.json"
    if adapter.is_file() and not (path / "config.json").is_file():
        whole = find_checkpoint(base if base is not None else _base_of(adapter))
        if whole.adapter is not None:
            raise ModelError(
                f"The base of the adapter {path} is an adapter itself.",
                have=str(whole.adapter),
                fix="Merge that one into its base, and give the result as --base.",
            )
        return Checkpoint(whole.source, whole.gguf, path)
    if base is not None:
        raise ModelError(
            f"{name} is no adapter, so it has no base.",
            have="no adapter_config.json in it",
            fix="Leave out --base.",
        )
    if path.suffix == ".gguf" and path.is_file():
        return Checkpoint(str(path.parent), path.name)
    if not path.exists():
        return Checkpoint(str(name))
    if not (path / "config.json").is_file():
        return Checkpoint(str(path), _only_gguf(path))
    return Checkpoint(str(path))


def _base_of(adapter: Path) -> str:
    """The base that an adapter's configuration names: as it stands, or beside the adapter's folder."""
    try:
        named = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError, RecursionError):
        named = None
    if not isinstance(named, str) or not named.strip("\0"):
        raise ModelError(
            f"The adapter {adapter.parent} does not say which model it is for.",
            have="no base_model_name_or_path in its adapter_config.json",
            fix="Give that model: --base FOLDER",
        )
    beside = adapter.parent / named
    return str(beside) if not Path(named).exists() and beside.exists() else named


def _only_gguf(folder: Path) -> str:
    files = sorted(file.name for file in folder.glob("*.gguf")) if folder.is_dir() else []
    if len(files) == 1:
        return files[0]
    if files:
        raise ModelError(
            f"{folder} holds several GGUF files.",
            have=", ".join(files[:6]),
            fix=f"Give one of them, such as {folder / files[0]}",
        )
    raise ModelError(
        f"{folder} is not a model folder.",
        have="no config.json in it, no adapter_config.json and no GGUF file",
        fix="Give the folder that save_pretrained wrote, a GGUF file, or a hub name such as EleutherAI/pythia-14m.",
    )


def require_gguf() -> None:
    """Refuse to read GGUF files without the package for them."""
    if find_spec("gguf") is None:
        raise ModelError("GGUF files are read by the package gguf, which is missing.", fix=f"Run {_INSTALL}")


def prepare_weights(config: PreTrainedConfig) -> None:
    """Have weights in 4 or 8 floating bits expanded where they are read; the configuration is changed.

    Raises:
        ModelError: a quantisation whose linear layers are not seen, or bitsandbytes without that package.
    """
    settings: Any = getattr(config, "quantization_config", None)
    if settings is None:
        return
    method = settings.get("quant_method") if isinstance(settings, dict) else settings.quant_method
    method = str(getattr(method, "value", method)).lower()
    if method in _EXPANDED:
        if isinstance(settings, dict):
            settings["dequantize"] = True
        else:
            settings.dequantize = True
    elif "bitsandbytes" not in method:
        raise ModelError(
            f"The weights are quantised by {method}, in which the gradient of a layer is not defined.",
            fix="Give the model that was quantised, or one in mxfp4 or fp8; or one in GGUF or by bitsandbytes, which "
            f"need {_INSTALL}",
        )
    elif find_spec("bitsandbytes") is None:
        raise ModelError(
            "The weights are quantised by bitsandbytes, a package that is missing.", fix=f"Run {_INSTALL}"
        )


def is_quantised(config: PreTrainedConfig) -> bool:
    """Whether the weights are stored in few bits and stay so."""
    return getattr(config, "quantization_config", None) is not None


def without_fetched_kernels(config: PreTrainedConfig) -> None:
    """Take back what a configuration asks for that would be fetched as code: attention kernels of the hub.

    Torch's own attention takes their place, which a line says. The configuration is changed.
    """
    named = {
        kernel
        for part in (config, *_parts(config))
        if (kernel := getattr(part, "_attn_implementation", None)) not in _OWN_ATTENTION
    }
    if named:
        _logger.warning(
            "The model's configuration asks for the attention kernel %s, which is code and is not fetched: torch's own "
            "attention computes the same.",
            ", ".join(sorted(map(str, named))),
        )
    for part in (config, *_parts(config)):
        if getattr(part, "_attn_implementation", None) not in _OWN_ATTENTION:
            part._attn_implementation = None


def _parts(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    for value in list(vars(config).values()):
        if isinstance(value, PreTrainedConfig):
            yield value
            yield from _parts(value)


def model_class(config: PreTrainedConfig) -> Any:
    """The loader of a model: as a causal language model, else with images or sound beside the text."""
    for loader in (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM):
        if type(config) in loader._model_mapping:
            return loader
    return AutoModelForCausalLM


def attach_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Put an adapter onto its base, which is changed; both stay apart, so that both can be tracked.

    Raises:
        ModelError: the adapter is for another model, or lacks weights.
    """
    dtype = next(model.parameters()).dtype
    entries = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    require_countable_parts(entries, str(folder))
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what it would report is judged below
    try:
        loaded = model.load_adapter(str(folder))
    finally:
        transformers_logging.set_verbosity(verbosity)
    strange = {*map(str, (*loaded.missing_keys, *loaded.unexpected_keys, *loaded.mismatched_keys))}
    strange -= _load_magnitudes(model, folder, loaded.missing_keys)
    if strange:
        raise ModelError(
            f"The adapter {folder} does not fit {type(model).__name__}.",
            have=f"{len(strange)} weights are missing, without a place or of another shape, first {min(strange)}",
            fix="Give the model that it was trained on: --base FOLDER",
        )
    for name, parameter in model.named_parameters():
        if is_adapter_name(model, name):
            parameter.data = parameter.data.to(dtype)


def _load_magnitudes(model: PreTrainedModel, folder: Path, missing: Iterable[str]) -> set[str]:
    """Fill in the magnitudes of DoRA, which transformers knows by another name than peft stores them.

    Returns: Both names of what was filled in.
    """
    stored, result = folder / "adapter_model.safetensors", set()
    wanted = [key for key in missing if _MAGNITUDE.search(key)]
    if not wanted or not stored.is_file():
        return set()
    with safe_open(stored, framework="pt") as file:
        for key in wanted:
            name = f"base_model.model.{_MAGNITUDE.sub('', key)}.lora_magnitude_vector"
            if name in file.keys():  # noqa: SIM118 (no mapping)
                model.get_parameter(key).data.copy_(file.get_tensor(name))
                result |= {key, key.removesuffix(".weight")}
    return result


def is_adapter_name(model: nn.Module, name: str) -> bool:
    """Whether a module or parameter of this name belongs to an adapter: it lies in a named part of an adapted layer."""
    parts = name.split(".")
    for index, part in enumerate(parts[1:], 1):
        layer = model.get_submodule(".".join(parts[:index]))
        if part in getattr(layer, "adapter_layer_names", ()):
            return True
        if part not in layer._modules:
            return False
    return False


def adapter_settings(model: PreTrainedModel) -> str:
    """What the configurations of a model's adapters say of what they compute, such as the scale; empty without any."""
    settings = {
        name: {key: value for key, value in config.to_dict().items() if key not in _VOLATILE}
        for name, config in getattr(model, "peft_config", {}).items()
    }
    return (
        json.dumps(settings, sort_keys=True, default=lambda v: sorted(v) if isinstance(v, set) else str(v))
        if settings
        else ""
    )
