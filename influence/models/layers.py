"""What can be tracked, found by structure and not by a list of model names.

A layer is anything with a 2-D weight that maps its last axis: `nn.Linear` (weight `[O, I]`), the transformers'
`Conv1D` of GPT-2 (weight `[I, O]`), a router, or one matrix of one of many fused experts. Behind this module all are
one gradient matrix `[O, I]`, or `[O, I + 1]` with a bias.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from influence.models.experts import expert_products
from influence.models.routers import router_part
from influence.models.vocabulary import Vocabulary, vocabulary_weights


@dataclass(frozen=True, slots=True)
class TrackedLayer:
    """One tracked layer.

    Attributes:
        expert: Number of a fused expert; `module` then holds all of them.
        parameter: Name of its weight in `module`.
        router: What multiplies by its weight in the midst of a forward pass; None for a layer that is called.
        vocabulary: Uses of a weight over the vocabulary; on that side no covariance is kept.
    """

    name: str
    module: nn.Module
    inputs: int
    outputs: int
    has_bias: bool
    expert: int | None = None
    parameter: str = "weight"
    router: nn.Module | None = None
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

    def basis(self, shared: bool) -> str:
        """Name of its covariances; where experts have `shared` ones, that of the matrix of all of them."""
        if not shared or self.expert is None:
            return self.name
        return f"{self.module_name}.{self.name.rpartition('.')[2]}"

    @property
    def modules(self) -> list[nn.Module]:
        """What uses its weight."""
        return [self.module] if self.vocabulary is None else self.vocabulary.modules

    @property
    def module_name(self) -> str:
        """Name of `module` in the model."""
        return self.name if self.expert is None else self.name.rsplit(".", 2)[0]


def all_layers(model: PreTrainedModel) -> dict[str, TrackedLayer]:
    """Every layer that can be tracked, by name, in the order the model defines them."""
    layers = []
    vocabulary = vocabulary_weights(model)
    routers: dict[nn.Module, nn.Module] = {}
    for name, module in model.named_modules():
        layers += _experts(name, module)
        part = router_part(name, module)
        if part is not None:
            routers[part] = module
        if name in vocabulary:
            inputs, outputs = vocabulary[name].sizes
            has_bias = getattr(module, "bias", None) is not None
            layers.append(TrackedLayer(name, module, inputs, outputs, has_bias, vocabulary=vocabulary[name]))
        elif module in routers:
            outputs, inputs = module.weight.shape
            has_bias = getattr(module, "bias", None) is not None
            layers.append(TrackedLayer(name, module, inputs, outputs, has_bias, router=routers[module]))
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
        TrackedLayer(
            f"{name}.{expert}.{weight.rpartition('.')[2]}", module, inputs, outputs, has_bias, expert, weight
        )
        for expert in range(products[0][1] if products else 0)
        for weight, _, inputs, outputs, has_bias in products
    ]


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of some globs names something."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def starred(name: str) -> str:
    """A name with a star for each number in it."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)


def folded(names: Iterable[str], others: Collection[str] = ()) -> list[str]:
    """Globs for some names: those that differ in their numbers alone are one, unless it would match another name."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(starred(name), []).append(name)
    result: list[str] = []
    for glob, members in kinds.items():
        alone = len(members) > 1 and not any(fnmatchcase(other, glob) for other in others)
        result += [glob] if alone else members
    return result


def excluding(globs: Iterable[str]) -> str:
    """Options that leave layers out."""
    return " ".join(f"--exclude-layers '{glob}'" for glob in globs)


def inside(name: str, prefixes: Sequence[str]) -> bool:
    """Whether a name begins with one of some prefixes."""
    return any(name.startswith(prefix) for prefix in prefixes)


def decoder_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The repeated blocks of a model, in its order."""
    return [model.get_submodule(prefix[:-1]) for prefix in block_prefixes(model)]


def block_prefixes(model: PreTrainedModel) -> list[str]:
    """Name prefixes of the repeated blocks: the items of every outermost `nn.ModuleList` of modules with parts."""
    prefixes: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) == 0 or inside(name, prefixes):
            continue
        if all(next(block.children(), None) is not None for block in module):
            prefixes += [f"{name}.{index}." for index in range(len(module))]
    return prefixes
