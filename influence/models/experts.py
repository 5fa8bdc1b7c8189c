"""Fused experts, seen product by product; the model computes as before, and leaves as it came.

transformers looks up what a module of fused experts does by a name in the configuration, at each call. `dispatched`
registers another function there for a while: it multiplies the rows of each expert by that expert's own matrices, as
the model does, and shows each product. Every row is a token, so that its document is known. Two families have no such
look-up; their modules get another forward pass for that while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

#: The name under which our function is registered while it is in use.
_IMPLEMENTATION = "influence"

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


@dataclass(frozen=True, slots=True)
class Layout:
    """How a module keeps and runs its experts.

    Attributes:
        up, down: Names of its two parameters, `[E, O, I]`, or `[E, I, O]` where `transposed`.
        biased: Whether both have a bias beside them.
        normed: Whether what an expert gives is normed before it is weighted.
        apart: Whether its input is the tokens of each expert one after another, `[E N, H]`, zero where not routed.
        passes: Whether choices beyond the experts give the token itself.
    """

    up: str = "gate_up_proj"
    down: str = "down_proj"
    biased: bool = False
    transposed: bool = False
    normed: bool = False
    apart: bool = False
    passes: bool = False


#: Classes that do not ask the configuration what to run.
_OWN_CODE = {
    "Llama4TextExperts": Layout(transposed=True, apart=True),
    "LongcatFlashExperts": Layout(passes=True),
}


def layout(module: Any) -> Layout | None:
    """How a module keeps its experts; None for any other module."""
    if type(module).__name__ in _OWN_CODE:
        return _OWN_CODE[type(module).__name__]
    if not all(hasattr(module, flag) for flag in ("has_gate", "has_bias", "is_transposed", "_apply_gate")):
        return None
    return Layout(
        up="gate_up_proj" if module.has_gate else "up_proj",
        biased=module.has_bias,
        transposed=module.is_transposed,
        normed=module.has_post_expert_norm,
    )


def expert_products(module: Any) -> list[tuple[str, int, int, int, bool]]:
    """The matrices of the fused experts of a module, `(parameter, experts, inputs, outputs, has_bias)`; or none."""
    if (how := layout(module)) is None:
        return []
    experts, products = len(getattr(module, how.down)), []
    for name in (how.up, how.down):
        outputs, inputs = getattr(module, name).shape[1:]
        if how.transposed:
            inputs, outputs = outputs, inputs
        products.append((name, experts, inputs, outputs, how.biased))
    return products


@contextmanager
def dispatched(model: PreTrainedModel, forward: Forward) -> Iterator[None]:
    """Let `forward` compute every module of fused experts; the configuration is restored, also after an exception."""
    modules: list[Any] = [module for module in model.modules() if layout(module)]
    others = [module for module in modules if type(module).__name__ in _OWN_CODE]
    configs = {id(m.config): m.config for m in modules if m not in others}.values()
    before = [config._experts_implementation_internal for config in configs]
    functions: Any = ALL_EXPERTS_FUNCTIONS
    functions[_IMPLEMENTATION] = forward
    try:
        for config in configs:
            config._experts_implementation_internal = _IMPLEMENTATION
        for module in others:
            apart = _OWN_CODE[type(module).__name__].apart
            module.forward = partial(_apart, module, forward) if apart else partial(forward, module)
        yield
    finally:
        for module in others:
            vars(module).pop("forward", None)
        for config, implementation in zip(configs, before, strict=True):
            config._experts_implementation_internal = implementation
        del ALL_EXPERTS_FUNCTIONS[_IMPLEMENTATION]


def _apart(module: Any, forward: Forward, hidden_SH: Tensor) -> Tensor:
    """Run a module whose input is apart for each expert; a row of zeros is not routed."""
    experts = len(module.down_proj)
    expert_S = torch.arange(experts, device=hidden_SH.device).repeat_interleave(len(hidden_SH) // experts)
    index_S1 = torch.where(hidden_SH.detach().any(-1), expert_S, experts)[:, None]
    return forward(module, hidden_SH, index_S1, hidden_SH.new_ones(len(hidden_SH), 1))


def run_experts(
    module: Any,
    hidden_NH: Tensor,
    index_NK: Tensor,
    weight_NK: Tensor,
    shape: tuple[int, int],
    show: Show,
) -> Tensor:
    """What a module of fused experts computes, its products shown one by one: `[N, H]`.

    Args:
        shape: `[B, T]` of the documents, padded: token `n` is of document `n // T`; N is B T, or a multiple of it.
    """
    how = layout(module)
    assert how
    experts, choices = len(getattr(module, how.down)), index_NK.shape[-1]
    chosen_S, order_S = index_NK.reshape(-1).sort(stable=True)
    slot_S, beyond_S = order_S[chosen_S < experts], order_S[chosen_S >= experts]
    token_S = slot_S // choices
    groups = _groups(chosen_S[: len(slot_S)], token_S % (shape[0] * shape[1]), experts, *shape)
    sizes = [len(rows.place) for _, rows in groups]

    def multiply(name: str, parts: tuple[Tensor, ...]) -> Tensor:
        return torch.cat(
            [
                show(expert, name, rows, part, _product(module, how, name, expert, part))
                for (expert, rows), part in zip(groups, parts, strict=True)
            ]
        )

    weight_S1 = weight_NK.reshape(-1, 1)
    result_SH = weight_S1.new_zeros(index_NK.numel(), hidden_NH.shape[1])
    if sizes:
        inner = _activated(module, how, multiply(how.up, hidden_NH[token_S].split(sizes)))
        outer_SH = multiply(how.down, inner.split(sizes))
        if how.normed:
            outer_SH = module.post_expert_norm(outer_SH)
        outer_SH = outer_SH * weight_S1[slot_S]
        result_SH = result_SH.to(outer_SH.dtype).index_copy(0, slot_S, outer_SH)
    if how.passes:
        passed_SH = hidden_NH[beyond_S // choices] * weight_S1[beyond_S]
        result_SH = result_SH.index_copy(0, beyond_S, passed_SH.to(result_SH.dtype))
    return result_SH.view(*index_NK.shape, -1).sum(1).to(hidden_NH.dtype)


def _activated(module: Any, how: Layout, inner: Tensor) -> Tensor:
    if not how.up.startswith("gate"):
        return module.act_fn(inner)  # type: ignore[no-any-return]
    if hasattr(module, "_apply_gate"):
        return module._apply_gate(inner)  # type: ignore[no-any-return]
    gate, up = inner.chunk(2, dim=-1)
    return module.act_fn(gate) * up  # type: ignore[no-any-return]


def _product(module: Any, how: Layout, name: str, expert: int, rows_NI: Tensor) -> Tensor:
    weight = getattr(module, name)[expert]
    bias = getattr(module, f"{name}_bias")[expert] if how.biased else None
    return nn.functional.linear(rows_NI, weight.mT if how.transposed else weight, bias)


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
