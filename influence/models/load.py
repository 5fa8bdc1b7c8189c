"""Load a Hugging Face causal language model with its tokenizer."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.utils import logging

from influence.errors import ModelError
from influence.models.checkpoint import (
    Checkpoint,
    adapter_settings,
    attach_adapter,
    find_checkpoint,
    is_quantised,
    model_class,
    prepare_weights,
    require_gguf,
    without_fetched_kernels,
)
from influence.models.limits import buildable_from, require_countable_parts
from influence.models.probe import embedding_rows, movement_by_later_tokens, positions
from influence.models.quantised import QuantisedLinear, make_differentiable, stored_weights
from influence.ready import ready_names
from influence.store.artefact import open_complete, read_manifest

#: What the manifest of a folder with a trained model calls it.
MODEL_KIND = "model"

#: In what a model computes: a dtype, or float32 whose products a GPU rounds to 10 bits of mantissa.
DType = Literal["float32", "tf32", "bfloat16", "float64"]

# In bfloat16 on a CPU oneDNN keeps a kernel for each shape it meets, half a megabyte or more, and documents have many
# lengths: by default up to 1,024 of them, in two caches. Sorted by length, documents need few at a time.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "64")

#: Config entries that do not change what the model computes.
_VOLATILE = {"_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "use_cache"}


@dataclass(frozen=True)
class LanguageModel:
    """A model and its tokenizer. Build one yourself from objects you hold: `LanguageModel(model, tokenizer)`."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    name: str = "in memory"

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype its linear layers compute in."""
        return next(self.model.parameters()).dtype

    @property
    def precision(self) -> str:
        """The dtype by name; `tf32` where float32 products are rounded to it, whoever asked for that."""
        rounded = self.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
        return "tf32" if rounded and self.dtype == torch.float32 else str(self.dtype).removeprefix("torch.")

    @property
    def rounding(self) -> float:
        """Largest relative error of a product's rounding in its precision."""
        return 2.0**-10 if self.precision == "tf32" else torch.finfo(self.dtype).eps

    @property
    def quantisation(self) -> str | None:
        """What a reader must know of weights that are kept in few bits; None where there are none."""
        bits = sorted({m.bits for m in self.model.modules() if isinstance(m, QuantisedLinear)})
        widths = " and ".join(map(str, bits))
        return f"{widths}-bit weights, gradients of the dequantised weights" if bits else None

    @property
    def positions(self) -> int | None:
        """Most tokens of a text that it can take; None where positions are computed."""
        return positions(self.model)[0]

    @property
    def trained_context(self) -> int | None:
        """Most tokens of a text in its training; None where its configuration does not say."""
        return positions(self.model)[1]

    def fitting(self, max_length: int) -> int:
        """`max_length`, or the positions of the model where they are fewer."""
        return min(max_length, self.positions or max_length)

    @cached_property
    def movement(self) -> float:
        """How far a later token moves earlier logits; see `movement_by_later_tokens`."""
        return movement_by_later_tokens(self.model)

    def require_causal(self) -> None:
        """Refuse a model in which a later token moves an earlier logit: its loss is no log-probability of a text.

        Raises:
            ModelError: the model is not causal, or does not run on token ids alone.
        """
        if self.movement > self.rounding**0.5:
            raise ModelError(
                f"{type(self.model).__name__} is not causal: a later token changes the prediction of an earlier one.",
                have=f"a change of the last token moves earlier logits by {self.movement:.1%} of their norm",
                fix="Give a causal language model: of a masked one no text has a log-probability.",
            )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of architecture, parameters and adapter; the same whether loaded in fp32 or bf16."""
        digest = hashlib.blake2b(digest_size=16)
        config = {k: v for k, v in self.model.config.to_diff_dict().items() if k not in _VOLATILE}
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
        digest.update(adapter_settings(self.model).encode())
        for name, weight in stored_weights(self.model):
            digest.update(name.encode())
            rounded = weight.to("cpu", torch.bfloat16).contiguous()
            digest.update(rounded.view(torch.int16).numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """A hash of what the tokenizer does: its serialised form, or its vocabulary where it has none."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:
            state = json.loads(backend.to_str())
            for setting in ("truncation", "padding"):  # changed by calls, not part of the tokenizer
                state.pop(setting, None)
            text = json.dumps(state, sort_keys=True)
        else:
            text = json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load_model(
    name: str | Path,
    *,
    base: str | Path | None = None,
    dtype: DType = "float32",
    device: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a causal language model by path or hub name.

    Args:
        name: A folder saved by `save_pretrained`, a GGUF file or a folder with one, a folder of an adapter, a ready
            model (`miniworld`), or a name on the hub.
        base: Model that an adapter is for; default what the adapter's configuration says.
        dtype: What it computes in; see `dtype_and_device`.
        device: Defaults to a GPU where there is one.
        revision: A branch, tag or commit of a hub model, such as `step1000`.
        trust_remote_code: Run code that comes with the checkpoint, and fetch kernels that its configuration asks for.
            Off unless you ask for it.

    Raises:
        ModelError: no such model, the hub cannot be reached, it is no causal language model, its tokenizer is another
            model's, its weights are in a quantisation that is not read, or tf32 without a GPU.
    """
    weights, device = dtype_and_device(dtype, device)
    checkpoint = find_checkpoint(name, base)
    for folder in (checkpoint.source, checkpoint.adapter):
        if folder is not None:
            check_stored(Path(folder))
    if checkpoint.gguf is not None:
        require_gguf()
    try:
        model, tokenizer = _load(checkpoint, weights, device, revision, trust_remote_code)
    except ModelError:
        raise
    except Exception as error:  # what a damaged file makes these libraries raise may be of any type
        raise _explain(str(name), checkpoint, error) from error
    language_model = LanguageModel(model.eval(), tokenizer, str(name))
    language_model.require_causal()
    _require_embeddings(language_model)
    return language_model


@contextmanager
def _without_bars() -> Iterator[None]:
    """Show no progress bar of transformers, and leave its setting as it was."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _load(
    checkpoint: Checkpoint, weights: torch.dtype, device: str, revision: str | None, trusted: bool
) -> tuple[PreTrainedModel, Tokenizer]:
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trusted}
    own: dict[str, Any] = {"gguf_file": checkpoint.gguf} if checkpoint.gguf is not None else {}
    if checkpoint.gguf is None:
        entries, _ = PreTrainedConfig.get_config_dict(checkpoint.source, revision=revision)
        require_countable_parts(entries, checkpoint.source)
    config = AutoConfig.from_pretrained(checkpoint.source, **options, **own)
    prepare_weights(config)
    if not trusted:
        without_fetched_kernels(config)
    from_gguf = own if checkpoint.tokenizer == checkpoint.source else {}
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.tokenizer, **options, **from_gguf)
    if is_quantised(config):  # such a model cannot be moved
        own["device_map"] = {"": device}
    if weights == torch.float64:  # fused products of experts, the default, exist in lower precision only
        own["experts_implementation"] = "eager"
    with _without_bars(), buildable_from(Path(checkpoint.source), checkpoint.source):
        loaded: Any = model_class(config).from_pretrained(
            checkpoint.source, config=config, dtype=weights, output_loading_info=True, **options, **own
        )
    model, found = loaded
    if found["missing_keys"]:  # transformers would go on with random numbers
        missing = sorted(found["missing_keys"])
        raise ModelError(
            f"The checkpoint {checkpoint.source} lacks weights of {type(model).__name__}.",
            have=f"{len(missing)} missing, first {missing[0]}",
            fix="Give a checkpoint of a causal language model, head included.",
        )
    if checkpoint.adapter is not None:
        attach_adapter(model, checkpoint.adapter)
    make_differentiable(model)
    return (model if is_quantised(config) else model.to(device)), tokenizer


def _require_embeddings(model: LanguageModel) -> None:
    """Refuse a tokenizer of another model: one that makes tokens of plain text that have no embedding."""
    rows = embedding_rows(model.model)
    added = (
        model.tokenizer.added_tokens_decoder
    )  # made of their own spelling alone, so met only if a text has it
    beyond = [id for id in model.tokenizer.get_vocab().values() if id >= rows and id not in added]
    if beyond:
        raise ModelError(
            f"The tokenizer of {model.name} makes tokens that the model has no embedding of.",
            have=f"{len(beyond):,} of them, up to {max(beyond):,}, and {rows:,} embeddings",
            fix="Give the model with the tokenizer that it was trained with.",
        )


def check_stored(folder: Path) -> None:
    """Refuse a folder of ours whose files are not as they were written; others have no manifest.

    Raises:
        StoreError: A file is missing or damaged.
    """
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is not None:
        open_complete(folder, manifest["kind"])


def dtype_and_device(dtype: DType, device: str | None) -> tuple[torch.dtype, str]:
    """What the weights of a model lie in, and where; `tf32` sets `torch.set_float32_matmul_precision("high")`.

    Raises:
        ModelError: tf32 without a GPU.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype != "tf32":
        return getattr(torch, dtype), device
    if not device.startswith("cuda"):
        raise ModelError(
            "tf32 is a precision of NVIDIA GPUs.",
            have=f"the model is to lie on {device}",
            fix="Use --dtype float32 or bfloat16.",
        )
    torch.set_float32_matmul_precision("high")
    return torch.float32, device


def _explain(name: str, checkpoint: Checkpoint, error: Exception) -> ModelError:
    text = str(error)
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    offline = ("connect", "offline", "resolve", "timed out", "Max retries", "ConnectError")
    here = [*ready_names("models"), *(path.name for path in Path().iterdir() if path.is_dir())]
    near = difflib.get_close_matches(name, here, n=1)
    path = (
        "Give its base by path: --base FOLDER"
        if checkpoint.adapter
        else "Give the path of a local model folder."
    )
    model = f"The base {checkpoint.source!r} of {name}" if checkpoint.adapter else f"The model {name!r}"
    if not Path(checkpoint.source).exists() and any(word.lower() in text.lower() for word in offline):
        return ModelError(
            f"{model} is not on this machine and the hub cannot be reached.",
            have=first,
            fix=f"Did you mean {near[0]!r}?" if near else f"Check the network, or g{path[1:]}",
        )
    if not Path(checkpoint.source).exists():
        return ModelError(
            f"There is no model {checkpoint.source!r}: no such folder, and the hub does not know it.",
            have=first,
            fix=f"Check the spelling, or g{path[1:]}",
        )
    holds = "config.json, weights as safetensors, and a tokenizer"
    return ModelError(
        f"{name} cannot be loaded as a causal language model.",
        have=first,
        fix="Give a GGUF file of a family that transformers reads."
        if checkpoint.gguf
        else f"It must hold {holds}."
        if checkpoint.adapter is None
        else f"It must hold adapter_config.json and adapter_model.safetensors, and its base {holds}.",
    )
