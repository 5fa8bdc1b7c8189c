"""Which layers are tracked, found by structure and not by a list of model names.

A layer is anything with a 2-D weight that maps its last axis: `nn.Linear` (weight `[O, I]`) or the transformers'
`Conv1D` of GPT-2 (weight `[I, O]`). Behind this module both are one gradient matrix `[O, I]`, or `[O, I + 1]`
with a bias.
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

_EXPERT = re.compile(r"expert", re.IGNORECASE)
_ROUTER = re.compile(r"router|gate$", re.IGNORECASE)
#: Modules inside a block that mix positions, by the naming rule every Hugging Face model follows.
_MIXES_POSITIONS = re.compile(r"attn|attention|mixer|mamba|rwkv|recurrent", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TrackedLayer:
    """One tracked layer."""

    name: str
    module: nn.Module
    inputs: int
    outputs: int
    has_bias: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of its gradient matrix, `(O, I)` or `(O, I + 1)`."""
        return self.outputs, self.inputs + self.has_bias


def find_layers(model: PreTrainedModel, selection: Sequence[str] = ("mlp",)) -> list[TrackedLayer]:
    """The tracked layers, in the order the model defines them.

    Args:
        selection: `mlp` (linears of the blocks outside attention), `all` (every linear but the output head),
            or globs over layer names such as `*.mlp.down_proj`.

    Raises:
        ModelError: nothing matches, or a matched weight is shared, tied, quantised or holds fused experts.
    """
    linears = _linears(model)
    experts = _fused_experts(model)
    chosen: dict[str, TrackedLayer] = {}
    for pattern in selection:
        _refuse_fused_experts(experts, list(linears), pattern)
        matched = _select(model, linears, pattern)
        if not matched:
            examples = ", ".join(list(linears)[:6]) or "none at all"
            raise ModelError(
                f"--layers {pattern}: no linear layer of {type(model).__name__} matches.",
                have=f"linear layers: {examples}, …",
                fix="Use mlp, all, or a glob over these names.",
            )
        chosen |= matched
    layers = [chosen[name] for name in linears if name in chosen]
    _refuse_shared_weights(model, layers)
    return layers


def _linears(model: PreTrainedModel) -> dict[str, TrackedLayer]:
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            inputs, outputs = module.in_features, module.out_features
        elif isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
        else:
            continue
        found[name] = TrackedLayer(name, module, inputs, outputs, module.bias is not None)
    return found


def _select(
    model: PreTrainedModel, linears: dict[str, TrackedLayer], pattern: str
) -> dict[str, TrackedLayer]:
    if pattern not in ("mlp", "all"):
        return {name: layer for name, layer in linears.items() if fnmatchcase(name, pattern)}
    blocks = _block_prefixes(model)
    head = model.get_output_embeddings()
    if pattern == "all":
        return {name: layer for name, layer in linears.items() if layer.module is not head}
    return {
        name: layer
        for name, layer in linears.items()
        if any(name.startswith(prefix) for prefix in blocks) and not _inside_attention(model, name, blocks)
    }


def decoder_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The repeated blocks of a model, in its order."""
    return [model.get_submodule(prefix[:-1]) for prefix in _block_prefixes(model)]


def _block_prefixes(model: PreTrainedModel) -> list[str]:
    """Name prefixes of the repeated blocks: the items of every outermost `nn.ModuleList` of equal modules."""
    prefixes: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) == 0:
            continue
        if any(name.startswith(prefix) for prefix in prefixes):
            continue
        if len({type(block) for block in module}) == 1:
            prefixes += [f"{name}.{index}." for index in range(len(module))]
    return prefixes


def _inside_attention(model: PreTrainedModel, name: str, blocks: list[str]) -> bool:
    prefix = next(prefix for prefix in blocks if name.startswith(prefix))
    path = prefix[:-1]
    for part in name[len(prefix) :].split("."):
        path = f"{path}.{part}"
        if _MIXES_POSITIONS.search(part) or _MIXES_POSITIONS.search(type(model.get_submodule(path)).__name__):
            return True
    return False


def _fused_experts(model: PreTrainedModel) -> dict[str, list[str]]:
    """Weights of many experts in one parameter, by module: 3-D, or 2-D in a module that is called after them."""
    found: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D | nn.modules.conv._ConvNd):
            continue
        called = _EXPERT.search(name) or _EXPERT.search(type(module).__name__)
        for key, parameter in module.named_parameters(recurse=False):
            axes = sum(size > 1 for size in parameter.shape)
            if axes >= 3 or (called and axes == 2 and not _ROUTER.search(name)):
                found.setdefault(name, []).append(f"{key} {list(parameter.shape)}")
    return found


def _refuse_fused_experts(experts: dict[str, list[str]], linears: list[str], pattern: str) -> None:
    """Never a layer without a word: what a pattern means or matches is tracked, or the pattern is refused."""

    def named(pattern: str) -> str | None:
        for name, weights in experts.items():
            names = [name, *(f"{name}.{weight.partition(' ')[0]}" for weight in weights)]
            if pattern in ("mlp", "all") or any(fnmatchcase(candidate, pattern) for candidate in names):
                return name
        return None

    found = named(pattern)
    if found is not None:
        others = sorted({f"*.{linear.split('.')[-2]}.*" for linear in linears if "." in linear})
        others = [f"--layers '{other}'" for other in others if named(other) is None]
        raise ModelError(
            f"--layers {pattern}: {found} holds fused expert weights, which cannot be tracked.",
            have=", ".join(experts[found]),
            fix=f"Leave the experts out of the scores by naming other layers, such as {' '.join(others[:4])}.",
        )


def _refuse_shared_weights(model: PreTrainedModel, layers: list[TrackedLayer]) -> None:
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    for layer in layers:
        weight = layer.module.weight
        assert isinstance(weight, nn.Parameter)
        if not weight.is_floating_point():
            raise ModelError(
                f"{layer.name} is quantised ({weight.dtype}): its gradient is not defined.",
                fix="Load the model unquantised.",
            )
        names = owners.get(id(weight), [])
        if len(names) > 1:
            raise ModelError(
                f"{layer.name} shares its weight with another part of the model, so its gradient is not its own.",
                have=" = ".join(names),
                fix="Leave it out of --layers.",
            )
