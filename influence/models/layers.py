"""Which layers are tracked, found by structure and not by a list of model names.

A layer is anything with a 2-D weight that maps its last axis: `nn.Linear` (weight `[O, I]`), the transformers'
`Conv1D` of GPT-2 (weight `[I, O]`), a router, or one matrix of one of many fused experts. Behind this module all are
one gradient matrix `[O, I]`, or `[O, I + 1]` with a bias.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from influence.errors import ModelError
from influence.models.checkpoint import is_adapter_name
from influence.models.experts import expert_products, is_router
from influence.models.probe import NO_TEXT
from influence.models.quantised import QuantisedLinear
from influence.models.vocabulary import Vocabulary, refuse_other_embeddings, vocabulary_weights

_EXPERT = re.compile(r"expert|moe", re.IGNORECASE)
_ROUTER = re.compile(r"router|gate$", re.IGNORECASE)
#: A linear layer that chooses experts, or is a part of what does.
_ROUTES = re.compile(r"(^|\.)(router|gate)(\.|$)")
#: Modules inside a block that mix positions, and those that do not, by the naming rule of Hugging Face models.
_MIXES_POSITIONS = re.compile(r"attn|attention|mixer|mamba|rwkv|recurrent", re.IGNORECASE)
_MIXES_CHANNELS = re.compile(r"mlp|feed_?forward|ffn|moe|experts|channel_?mix", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TrackedLayer:
    """One tracked layer.

    Attributes:
        expert: Number of a fused expert; `module` then holds all of them.
        parameter: Name of its weight in `module`.
        routes: Whether it is a router, whose module gives back more than the layer's output.
        vocabulary: Uses of a weight over the vocabulary; on that side no covariance is kept.
    """

    name: str
    module: nn.Module
    inputs: int
    outputs: int
    has_bias: bool
    expert: int | None = None
    parameter: str = "weight"
    routes: bool = False
    vocabulary: Vocabulary | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of its gradient matrix, `(O, I)` or `(O, I + 1)`."""
        return self.outputs, self.inputs + self.has_bias

    @property
    def covariances(self) -> dict[str, int]:
        """Rows of each covariance that a fit keeps of it."""
        sides = {"gradient": self.shape[0], "activation": self.shape[1]}
        return sides if self.vocabulary is None else {"activation": self.shape[1]}

    @property
    def modules(self) -> list[nn.Module]:
        """What uses its weight."""
        return [self.module] if self.vocabulary is None else self.vocabulary.modules

    @property
    def module_name(self) -> str:
        """Name of `module` in the model."""
        return self.name if self.expert is None else self.name.rsplit(".", 2)[0]


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


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _names(layer: TrackedLayer, patterns: Sequence[str]) -> bool:
    """Whether a pattern matches a layer, or the module that holds it among other experts."""
    return _matches(layer.name, patterns) or _matches(layer.module_name, patterns)


def _nothing_matches(
    model: PreTrainedModel, linears: dict[str, TrackedLayer], pattern: str, exclude: Sequence[str]
) -> ModelError:
    names = [name for name, layer in linears.items() if not isinstance(layer.module, nn.Embedding)]
    examples = ", ".join(names[:6]) or "none at all"
    usable = [
        choice for choice in ("mlp", "all", "experts", "router") if _select(model, linears, choice, exclude)
    ]
    return ModelError(
        f"--layers {pattern}: no linear layer of {type(model).__name__} matches.",
        have=f"linear layers: {examples}, …",
        fix=f"Use {', '.join(f'--layers {choice}' for choice in usable)} or a glob over these names."
        if usable
        else None,
    )


def all_layers(model: PreTrainedModel) -> dict[str, TrackedLayer]:
    """Every layer that can be tracked, by name, in the order the model defines them."""
    layers = []
    vocabulary = vocabulary_weights(model)
    for name, module in model.named_modules():
        layers += _experts(name, module)
        if name in vocabulary:
            inputs, outputs = vocabulary[name].sizes
            has_bias = getattr(module, "bias", None) is not None
            layers.append(TrackedLayer(name, module, inputs, outputs, has_bias, vocabulary=vocabulary[name]))
        elif is_router(name, module):
            outputs, inputs = module.weight.shape
            has_bias = getattr(module, "bias", None) is not None
            layers.append(TrackedLayer(name, module, inputs, outputs, has_bias, routes=True))
        elif isinstance(module, nn.Linear):
            layers.append(
                TrackedLayer(name, module, module.in_features, module.out_features, module.bias is not None)
            )
        elif isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            layers.append(TrackedLayer(name, module, inputs, outputs, module.bias is not None))
    return {layer.name: layer for layer in layers}


def _experts(name: str, module: nn.Module) -> list[TrackedLayer]:
    products = expert_products(module)
    return [
        TrackedLayer(f"{name}.{expert}.{weight}", module, inputs, outputs, has_bias, expert, weight)
        for expert in range(products[0][1] if products else 0)
        for weight, _, inputs, outputs, has_bias in products
    ]


def _select(
    model: PreTrainedModel, linears: dict[str, TrackedLayer], pattern: str, exclude: Sequence[str] = ()
) -> dict[str, TrackedLayer]:
    if pattern in linears and not exclude:
        return {pattern: linears[pattern]}
    linears = {name: layer for name, layer in linears.items() if not _names(layer, exclude)}
    if pattern == "adapter":
        return {name: layer for name, layer in linears.items() if is_adapter_name(model, name)}
    if pattern == "experts":
        return {name: layer for name, layer in linears.items() if layer.expert is not None}
    if pattern == "router":
        return {name: layer for name, layer in linears.items() if layer.routes or _ROUTES.search(name)}
    if pattern not in ("mlp", "all"):
        return {name: layer for name, layer in linears.items() if _is_named(layer, pattern)}
    blocks, tower = _block_prefixes(model), _text_tower(model)
    return {
        name: layer
        for name, layer in linears.items()
        if layer.vocabulary is None
        and name.startswith(tower)
        and (
            pattern == "all"
            or (_inside(name, blocks) and not _inside_attention(model, layer.module_name, blocks))
        )
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


def _inside(name: str, prefixes: Sequence[str]) -> bool:
    return any(name.startswith(prefix) for prefix in prefixes)


def decoder_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The repeated blocks of a model, in its order."""
    return [model.get_submodule(prefix[:-1]) for prefix in _block_prefixes(model)]


def _block_prefixes(model: PreTrainedModel) -> list[str]:
    """Name prefixes of the repeated blocks: the items of every outermost `nn.ModuleList` of modules with parts."""
    prefixes: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) == 0 or _inside(name, prefixes):
            continue
        if all(next(block.children(), None) is not None for block in module):
            prefixes += [f"{name}.{index}." for index in range(len(module))]
    return prefixes


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
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D | nn.modules.conv._ConvNd | nn.Embedding):
            continue
        if expert_products(module):
            continue
        if not (_EXPERT.search(name.rpartition(".")[2]) or _EXPERT.search(type(module).__name__)):
            continue
        for key, parameter in module.named_parameters(recurse=False):
            if sum(size > 1 for size in parameter.shape) >= 2 and not _ROUTER.search(name):
                found.setdefault(name, []).append(f"{key} {list(parameter.shape)}")
    return found


def _refuse_fused_experts(
    model: PreTrainedModel, linears: dict[str, TrackedLayer], pattern: str, exclude: Sequence[str]
) -> None:
    """Never a layer without a word: what a pattern means or matches is tracked, excluded, or the pattern is refused."""
    experts = _fused_experts(model)
    for name, weights in experts.items():
        names = [name, *(f"{name}.{weight.partition(' ')[0]}" for weight in weights)]
        if _matches(name, exclude):
            continue
        if pattern in ("mlp", "all", "experts") or any(
            fnmatchcase(candidate, pattern) for candidate in names
        ):
            without = sorted({f"*.{expert.rpartition('.')[2]}" for expert in experts})
            instead = next(
                choice
                for choice in (pattern, "mlp", "all")
                if choice != "experts" and _select(model, linears, choice, [*exclude, *without])
            )
            options = " ".join(f"--exclude-layers '{glob}'" for glob in [*exclude, *without])
            raise ModelError(
                f"--layers {pattern}: {name} holds fused expert weights, which cannot be tracked.",
                have=", ".join(weights),
                fix=f"Leave the experts out of the scores: --layers {instead} {options}",
            )


def _refuse_shared_weights(model: PreTrainedModel, layers: list[TrackedLayer]) -> None:
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    for layer in layers:
        weight = getattr(layer.module, layer.parameter)
        assert isinstance(weight, nn.Parameter)
        if not weight.is_floating_point() and not isinstance(layer.module, QuantisedLinear):
            raise ModelError(
                f"{layer.name} is quantised ({weight.dtype}): its gradient is not defined.",
                fix="Load the model by its path, which makes weights of bitsandbytes differentiable, or unquantised.",
            )
        names = owners.get(id(weight), [])
        if layer.vocabulary is not None:
            refuse_other_embeddings(layer.name, layer.vocabulary)
        if len(names) > len(layer.modules):
            raise ModelError(
                f"{layer.name} shares its weight with another part of the model, so its gradient is not its own.",
                have=" = ".join(names),
                fix=f"Leave it out: --exclude-layers '{layer.name}'",
            )
