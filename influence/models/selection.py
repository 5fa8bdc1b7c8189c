"""Which layers are tracked: what a selection names, and what is refused because its gradient would not be its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from influence.errors import ModelError
from influence.models.capture import untrackable
from influence.models.checkpoint import is_adapter_name
from influence.models.experts import expert_products
from influence.models.layers import (
    TrackedLayer,
    all_layers,
    block_prefixes,
    excluding,
    folded,
    inside,
    matches,
)
from influence.models.probe import NO_TEXT
from influence.models.quantised import QuantisedLinear
from influence.models.vocabulary import refuse_other_embeddings

_EXPERT = re.compile(r"expert|moe", re.IGNORECASE)
_ROUTER = re.compile(r"router|gate$", re.IGNORECASE)
#: A linear layer that chooses experts, or is a part of what does.
_ROUTES = re.compile(r"(^|\.)(router|gate)(\.|$)")
#: Modules inside a block that mix positions, and those that do not, by the naming rule of Hugging Face models.
_MIXES_POSITIONS = re.compile(r"attn|attention|mixer|mamba|rwkv|recurrent", re.IGNORECASE)
_MIXES_CHANNELS = re.compile(r"mlp|feed_?forward|ffn|moe|experts|channel_?mix", re.IGNORECASE)


def find_layers(
    model: PreTrainedModel, selection: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[TrackedLayer]:
    """The tracked layers, in the order the model defines them.

    Args:
        selection: `mlp` (linears, routers and experts of the blocks outside attention), `experts` (each matrix of
            each fused expert), `router`, `all` (all of these and attention), `adapter` (those of an adapter), `head`
            (the output head), `embedding` (of tokens; a tied weight is taken with both its uses by either), or globs
            over layer names, but the embedding's. None means `adapter` in a model that has one, and else `mlp`.
        exclude: Globs over names of layers, or of modules that hold fused experts, that are not tracked.

    Raises:
        ModelError: nothing matches, or a matched weight is shared, tied, quantised or holds fused experts.
    """
    linears = all_layers(model)
    chosen: dict[str, TrackedLayer] = {}
    for pattern in selection or (("adapter",) if getattr(model, "peft_config", None) else ("mlp",)):
        _refuse_fused_experts(model, linears, pattern, exclude)
        matched = _select(model, linears, pattern, exclude)
        if not matched:
            raise _nothing_matches(model, linears, pattern, exclude)
        chosen |= matched
    layers = [chosen[name] for name in linears if name in chosen]
    _refuse_shared_weights(model, layers)
    return layers


def _names(layer: TrackedLayer, patterns: Sequence[str]) -> bool:
    """Whether a pattern matches a layer, or the module that holds it among other experts."""
    return matches(layer.name, patterns) or matches(layer.module_name, patterns)


def _nothing_matches(
    model: PreTrainedModel, linears: dict[str, TrackedLayer], pattern: str, exclude: Sequence[str]
) -> ModelError:
    names = [name for name, layer in linears.items() if not isinstance(layer.module, nn.Embedding)]
    usable = list(_usable(model, linears, ("mlp", "all", "experts", "router"), exclude))
    return ModelError(
        f"--layers {pattern}: no linear layer of {type(model).__name__} matches.",
        have=f"linear layers: {', '.join(names[:6]) or 'none at all'}, …",
        fix=f"Use {', or '.join(usable)}."
        if usable
        else "Give a model with linear layers: this one has none.",
    )


def _usable(
    model: PreTrainedModel,
    linears: dict[str, TrackedLayer],
    choices: Sequence[str],
    exclude: Sequence[str],
) -> Iterator[str]:
    """Options that work in the place of what was given, each tried on two short texts."""
    without = [*exclude, *(f"*.{name.rpartition('.')[2]}" for name in _fused_experts(model))]
    tried: list[set[str]] = []
    for choice in choices:
        chosen = _select(model, linears, choice, without)
        if not chosen or chosen.keys() in tried:
            continue
        tried.append(set(chosen))
        refused = untrackable(model, list(chosen.values()))
        rest = chosen.keys() - refused
        if rest:
            globs = dict.fromkeys([*without, *folded(refused, rest)])
            yield " ".join(filter(None, (f"--layers {choice}", excluding(globs))))


def _select(
    model: PreTrainedModel, linears: dict[str, TrackedLayer], pattern: str, exclude: Sequence[str] = ()
) -> dict[str, TrackedLayer]:
    """The layers that a word or glob means."""
    if pattern in linears and not exclude:
        return {pattern: linears[pattern]}
    linears = {name: layer for name, layer in linears.items() if not _names(layer, exclude)}
    if pattern in ("mlp", "all"):
        return _in_text_model(model, linears, attention=pattern == "all")
    chosen: Callable[[TrackedLayer], bool] = {
        "adapter": lambda layer: is_adapter_name(model, layer.name),
        "experts": lambda layer: layer.expert is not None,
        "router": lambda layer: layer.router is not None or bool(_ROUTES.search(layer.name)),
    }.get(pattern, lambda layer: _is_named(layer, pattern))
    return {name: layer for name, layer in linears.items() if chosen(layer)}


def _in_text_model(
    model: PreTrainedModel, linears: dict[str, TrackedLayer], attention: bool
) -> dict[str, TrackedLayer]:
    """The layers that text goes through, but heads and embeddings; without `attention` those of blocks outside it."""
    blocks, tower = block_prefixes(model), _text_tower(model)
    inner = {n: layer for n, layer in linears.items() if layer.vocabulary is None and n.startswith(tower)}
    return {
        name: layer
        for name, layer in inner.items()
        if attention or (inside(name, blocks) and not _inside_attention(model, layer.module_name, blocks))
    }


def _is_named(layer: TrackedLayer, pattern: str) -> bool:
    """Whether a word or glob names a layer; an embedding has to be named in full."""
    if layer.vocabulary is None:
        return _names(layer, (pattern,))
    globbed = layer.vocabulary.head is not None and fnmatchcase(layer.name, pattern)
    return globbed or pattern in layer.vocabulary.words


def _text_tower(model: PreTrainedModel) -> str:
    """Name prefix of the part that text goes through, in a model that also has towers for images or sound."""
    decoder = model.get_decoder()
    base = getattr(model, model.base_model_prefix, model)
    if decoder is None or decoder is model or decoder is base:
        return ""
    name = next((name for name, module in model.named_modules() if module is decoder), "")
    beside = [name for name, _ in model.named_modules() if NO_TEXT.search(name)]
    return f"{name}." if name and beside else ""


def _inside_attention(model: PreTrainedModel, name: str, blocks: list[str]) -> bool:
    """Whether a linear lies in a part of its block that mixes positions.

    What a class is called counts before the name it has in the block, and the family's own name counts for nothing:
    a `RecurrentGemmaMlp` is no recurrence, and a `NemotronHMLP` none although it is called `mixer`.
    """
    family = type(model.config.get_text_config()).__name__.removesuffix("Config").removesuffix("Text")
    prefix = next(prefix for prefix in blocks if name.startswith(prefix))
    path = prefix[:-1]
    for part in name[len(prefix) :].split("."):
        path = f"{path}.{part}"
        kind = type(model.get_submodule(path)).__name__.removeprefix(family)
        if _MIXES_CHANNELS.search(kind):
            return False
        if _MIXES_POSITIONS.search(kind) or _MIXES_POSITIONS.search(part):
            return True
    return False


def _fused_experts(model: PreTrainedModel) -> dict[str, list[str]]:
    """Weights of many experts in one parameter that `influence.models.experts` cannot take apart, by module."""
    found: dict[str, list[str]] = {}
    taken_apart = (module for module in model.modules() if expert_products(module))
    known = {id(parameter) for module in taken_apart for parameter in module.parameters()}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D | nn.modules.conv._ConvNd | nn.Embedding):
            continue
        if not (_EXPERT.search(name.rpartition(".")[2]) or _EXPERT.search(type(module).__name__)):
            continue
        for key, parameter in module.named_parameters(recurse=False):
            matrix = sum(size > 1 for size in parameter.shape) >= 2 and id(parameter) not in known
            if matrix and not _ROUTER.search(name):
                found.setdefault(name, []).append(f"{key} {list(parameter.shape)}")
    return found


def _refuse_fused_experts(
    model: PreTrainedModel, linears: dict[str, TrackedLayer], pattern: str, exclude: Sequence[str]
) -> None:
    """Never a layer without a word: what a pattern means or matches is tracked, excluded, or the pattern is refused."""
    experts = _fused_experts(model)
    for name, weights in experts.items():
        names = [name, *(f"{name}.{weight.partition(' ')[0]}" for weight in weights)]
        if matches(name, exclude):
            continue
        if pattern in ("mlp", "all", "experts") or any(
            fnmatchcase(candidate, pattern) for candidate in names
        ):
            choices = dict.fromkeys([*((pattern,) if pattern != "experts" else ()), "mlp", "all"])
            usable = next(_usable(model, linears, list(choices), exclude), None)
            raise ModelError(
                f"--layers {pattern}: {name} holds fused expert weights, which cannot be tracked.",
                have=", ".join(weights),
                fix=usable and f"Leave the experts out of the scores: {usable}",
            )


def _refuse_shared_weights(model: PreTrainedModel, layers: list[TrackedLayer]) -> None:
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    shared: dict[str, list[str]] = {}
    for layer in layers:
        weight = layer.module.get_parameter(layer.parameter)
        assert isinstance(weight, nn.Parameter)
        if not weight.is_floating_point() and not isinstance(layer.module, QuantisedLinear):
            raise ModelError(
                f"{layer.name} is quantised ({weight.dtype}): its gradient is not defined.",
                fix="Load the model by its path, which makes weights of bitsandbytes differentiable, or unquantised.",
            )
        if layer.vocabulary is not None:
            refuse_other_embeddings(layer.name, layer.vocabulary)
        names = owners.get(id(weight), [])
        if len(names) > len(layer.modules):
            shared[layer.name] = names
    if shared:
        first, rest = next(iter(shared)), {layer.name for layer in layers} - shared.keys()
        raise ModelError(
            f"{first} shares its weight with another part of the model, so its gradient is not its own.",
            have=" = ".join(shared[first]),
            fix=f"Leave it out: {excluding(folded(shared, rest))}" if rest else None,
        )
