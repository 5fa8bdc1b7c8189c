"""Fused experts and routers, seen product by product; the model computes as before, and leaves as it came.

transformers looks up what a module of fused experts does by a name in the configuration, at each call. `dispatched`
registers another function there for a while: it multiplies the rows of each expert by that expert's own matrices, as
the model does, and shows each product. Every row is a token, so that its document is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

#: The name under which our function is registered while it is in use.
_IMPLEMENTATION = "influence"
_ROUTER = re.compile(r"router|gate$|gating", re.IGNORECASE)

#: What computes a module's output: `(module, hidden_NH, top_k_index_NK, top_k_weight_NK) -> [N, H]`.
Forward = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
#: Shows a product and returns it, or a stand-in: `(expert, parameter, rows, input, output) -> output`.
Show = Callable[[int, str, "Rows", Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Rows:
    """The tokens that one expert sees, grouped by document: R is the most that one document sends to it.

    Attributes:
        place: Of each token, `document × R + its rank there`, `[N]`.
        position_BR: Where each token stands in its document; −1 where there is none.
    """

    place: Tensor
    position_BR: Tensor

    def grouped(self, rows_NX: Tensor) -> Tensor:
        """Rows of an input or of a gradient as `[B, R, X]`, zero where there is none."""
        documents, most = self.position_BR.shape
        flat = rows_NX.new_zeros(documents * most, rows_NX.shape[1])
        return flat.index_copy_(0, self.place, rows_NX).view(documents, most, -1)


def expert_products(module: nn.Module) -> list[tuple[str, int, int, bool]]:
    """The matrices of each fused expert of a module, `(parameter, inputs, outputs, has_bias)`; none of any other."""
    if not all(hasattr(module, flag) for flag in ("has_gate", "has_bias", "is_transposed", "_apply_gate")):
        return []
    products = []
    for name in _names(module):
        outputs, inputs = getattr(module, name).shape[1:]
        if module.is_transposed:
            inputs, outputs = outputs, inputs
        products.append((name, inputs, outputs, bool(module.has_bias)))
    return products


def is_router(name: str, module: nn.Module) -> bool:
    """Whether a module chooses experts by a matrix of its own, and gives back more than its product."""
    weight = getattr(module, "weight", None)
    return (
        type(module) is not nn.Linear
        and isinstance(weight, nn.Parameter)
        and weight.ndim == 2
        and bool(_ROUTER.search(name.rpartition(".")[2]) or _ROUTER.search(type(module).__name__))
    )


@contextmanager
def dispatched(model: PreTrainedModel, forward: Forward) -> Iterator[None]:
    """Let `forward` compute every module of fused experts; the configuration is restored, also after an exception."""
    configs = {id(m.config): m.config for m in model.modules() if expert_products(m)}.values()
    before = [config._experts_implementation_internal for config in configs]
    ALL_EXPERTS_FUNCTIONS[_IMPLEMENTATION] = forward
    try:
        for config in configs:
            config._experts_implementation_internal = _IMPLEMENTATION
        yield
    finally:
        for config, implementation in zip(configs, before, strict=True):
            config._experts_implementation_internal = implementation
        del ALL_EXPERTS_FUNCTIONS[_IMPLEMENTATION]


def run_experts(
    module: Any, hidden_NH: Tensor, index_NK: Tensor, weight_NK: Tensor, length: int, show: Show
) -> Tensor:
    """What a module of fused experts computes, its products shown one by one: `[N, H]`.

    Args:
        length: Tokens `T` of each document, padded: token `n` is of document `n // T`.
    """
    up, down = _names(module)
    experts, choices = len(getattr(module, down)), index_NK.shape[-1]
    chosen_S, slot_S = index_NK.reshape(-1).sort(stable=True)
    slot_S = slot_S[chosen_S < experts]  # what is beyond stands for no expert
    token_S = slot_S // choices
    groups = _groups(chosen_S[: len(slot_S)], token_S, experts, len(hidden_NH) // length, length)
    sizes = [len(rows.place) for _, rows in groups]

    def multiply(name: str, parts: tuple[Tensor, ...]) -> Tensor:
        return torch.cat(
            [
                show(expert, name, rows, part, _product(module, name, expert, part))
                for (expert, rows), part in zip(groups, parts, strict=True)
            ]
        )

    inner = multiply(up, hidden_NH[token_S].split(sizes))
    inner = module._apply_gate(inner) if module.has_gate else module.act_fn(inner)
    outer_SH = multiply(down, inner.split(sizes))
    if module.has_post_expert_norm:
        outer_SH = module.post_expert_norm(outer_SH)
    outer_SH = outer_SH * weight_NK.reshape(-1)[slot_S, None]
    summed = outer_SH.new_zeros(index_NK.numel(), outer_SH.shape[1]).index_copy(0, slot_S, outer_SH)
    return summed.view(*index_NK.shape, -1).sum(1).to(hidden_NH.dtype)


def _names(module: Any) -> tuple[str, str]:
    return ("gate_up_proj" if module.has_gate else "up_proj"), "down_proj"


def _product(module: Any, name: str, expert: int, rows_NI: Tensor) -> Tensor:
    weight = getattr(module, name)[expert]
    bias = getattr(module, f"{name}_bias")[expert] if module.has_bias else None
    return nn.functional.linear(rows_NI, weight.mT if module.is_transposed else weight, bias)


def _groups(
    expert_S: Tensor, token_S: Tensor, experts: int, documents: int, length: int
) -> list[tuple[int, Rows]]:
    """The rows of each expert that sees a token; those of an expert follow each other, by document and position."""
    group_S = expert_S * documents + token_S // length
    size_EB = torch.bincount(group_S, minlength=experts * documents)
    rank_S = torch.arange(len(group_S), device=group_S.device) - (size_EB.cumsum(0) - size_EB)[group_S]
    sizes = size_EB.view(experts, documents)
    groups, start = [], 0
    for expert, (count, most) in enumerate(torch.stack([sizes.sum(1), sizes.amax(1)], 1).tolist()):
        if not count:
            continue
        part = slice(start, start + count)
        document = token_S[part] // length
        place = document * most + rank_S[part]
        position = place.new_full((documents * most,), -1).index_copy_(0, place, token_S[part] % length)
        groups.append((expert, Rows(place, position.view(documents, most))))
        start += count
    return groups


class LinearsSeen(TorchFunctionMode):
    """Calls of `torch.nn.functional.linear` pass through `see(input, output)`, which returns the output or a stand-in.

    A router multiplies in the midst of its forward pass, often in a precision of its own.
    """

    def __init__(self, see: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See torch.overrides."""
        output = func(*args, **(kwargs or {}))
        return self._see(args[0], output) if func is nn.functional.linear else output
