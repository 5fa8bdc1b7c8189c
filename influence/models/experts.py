"""Fused experts, seen product by product; the model computes as before, and leaves as it came.

transformers looks up what a module of fused experts does by a name in the configuration, at each call. `dispatched`
registers another function there for a while: it multiplies the rows of each expert by that expert's own matrices, as
the model does, and shows each product. Every row is a token, so that its document is known. Some families have no such
look-up; their modules get another forward pass for that while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

#: The name under which our function is registered while it is in use.
_IMPLEMENTATION = "influence"


class Forward(Protocol):
    """What computes a module's output `[N, H]`."""

    def __call__(
        self,
        module: nn.Module,
        hidden_NH: Tensor,
        index_NK: Tensor,
        weight_NK: Tensor,
        token_N: Tensor | None = None,
        /,
    ) -> Tensor:
        """Compute it; `token_N` says which token each row is of, by default its own number."""
        ...


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
        ups: Names of the parameters that the input is multiplied by, `[E, O, I]`: gate and up as one, or each.
        down: Name of the last one.
        biased: Whether all have a bias beside them.
        transposed: Names of those that are `[E, I, O]`.
        flat: Whether they are `[E O, I]`, or `[E I, O]`.
        normed: Whether what an expert gives is normed before it is weighted.
        passes: Whether choices beyond the experts give the token itself.
        adapt: Makes a module's own forward pass of a `Forward`, where it does not ask the configuration what to run.
    """

    ups: tuple[str, ...] = ("gate_up_proj",)
    down: str = "down_proj"
    biased: bool = False
    transposed: tuple[str, ...] = ()
    flat: bool = False
    normed: bool = False
    passes: bool = False
    adapt: Callable[[Any, Forward], Callable[..., Tensor]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return *self.ups, self.down


def _plain(module: Any, forward: Forward) -> Callable[..., Tensor]:
    return partial(forward, module)


def _apart(module: Any, forward: Forward) -> Callable[..., Tensor]:
    """The input is the tokens of each expert one after another, `[E N, H]`, and zero where one is not routed."""

    def run(hidden_SH: Tensor) -> Tensor:
        experts = len(module.down_proj)
        expert_S = torch.arange(experts, device=hidden_SH.device).repeat_interleave(len(hidden_SH) // experts)
        index_S1 = torch.where(hidden_SH.detach().any(-1), expert_S, experts)[:, None]
        return forward(module, hidden_SH, index_S1, hidden_SH.new_ones(len(hidden_SH), 1))

    return run


def _batched(module: Any, forward: Forward) -> Callable[..., Tensor]:
    """The input is `[B, T, H]`."""

    def run(hidden_BTH: Tensor, index_NK: Tensor, weight_NK: Tensor) -> Tensor:
        return forward(module, hidden_BTH.flatten(0, 1), index_NK, weight_NK).view_as(hidden_BTH)

    return run


def _sorted(module: Any, forward: Forward) -> Callable[..., Tensor]:
    """The input is the rows of each expert one after another, `[S, I]`; the router beside it knows their tokens."""

    def run(rows_SI: Tensor, sizes: list[int]) -> Tensor:
        order_S = module.token_S.argsort(stable=True)
        expert_S = torch.arange(len(sizes), device=rows_SI.device).repeat_interleave(
            torch.tensor(sizes, device=rows_SI.device)
        )
        index_S1, weight_S1 = expert_S[order_S, None], rows_SI.new_ones(len(rows_SI), 1)
        result_SO = forward(module, rows_SI[order_S], index_S1, weight_S1, module.token_S[order_S])
        return result_SO[order_S.argsort()]

    return run


#: Classes that do not ask the configuration what to run.
_OWN_CODE = {
    "Llama4TextExperts": Layout(transposed=("gate_up_proj", "down_proj"), adapt=_apart),
    "LongcatFlashExperts": Layout(passes=True, adapt=_plain),
    "DbrxExperts": Layout(
        ups=("mlp.w1", "mlp.v1"), down="mlp.w2", flat=True, transposed=("mlp.w2",), adapt=_batched
    ),
    "JetMoeParallelExperts": Layout(ups=(), down="weight", adapt=_sorted),
}


def layout(module: Any) -> Layout | None:
    """How a module keeps its experts; None for any other module."""
    if type(module).__name__ in _OWN_CODE:
        return _OWN_CODE[type(module).__name__]
    if not all(hasattr(module, flag) for flag in ("has_gate", "has_bias", "is_transposed", "_apply_gate")):
        return None
    up = "gate_up_proj" if module.has_gate else "up_proj"
    return Layout(
        ups=(up,),
        biased=module.has_bias,
        transposed=(up, "down_proj") if module.is_transposed else (),
        normed=module.has_post_expert_norm,
    )


def expert_matrices(module: Any, name: str, weight: Tensor) -> Tensor:
    """One of the parameters of a module of fused experts, or its gradient, as `[E, O, I]`."""
    how = layout(module)
    assert how
    if how.flat:
        weight = weight.view(module.num_experts, -1, weight.shape[-1])
    return weight.mT if name in how.transposed else weight


def expert_products(module: Any) -> list[tuple[str, int, int, int, bool]]:
    """The matrices of the fused experts of a module, `(parameter, experts, inputs, outputs, has_bias)`; or none."""
    if (how := layout(module)) is None:
        return []
    shapes = {name: expert_matrices(module, name, module.get_parameter(name)).shape for name in how.names}
    experts = shapes[how.down][0]  # the others may have rows for choices that no expert takes
    return [(name, experts, inputs, outputs, how.biased) for name, (_, outputs, inputs) in shapes.items()]


@contextmanager
def dispatched(model: PreTrainedModel, forward: Forward) -> Iterator[None]:
    """Let `forward` compute every module of fused experts; the configuration is restored, also after an exception."""
    modules: list[Any] = [module for module in model.modules() if layout(module)]
    others = [module for module in modules if type(module).__name__ in _OWN_CODE]
    configs = {id(m.config): m.config for m in modules if m not in others}.values()
    before = [config._experts_implementation_internal for config in configs]
    functions: Any = ALL_EXPERTS_FUNCTIONS
    functions[_IMPLEMENTATION] = forward
    handles = _watch_routers(model)
    try:
        for config in configs:
            config._experts_implementation_internal = _IMPLEMENTATION
        for module in others:
            adapt = _OWN_CODE[type(module).__name__].adapt
            assert adapt
            module.forward = adapt(module, forward)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in others:
            vars(module).pop("forward", None)
            vars(module).pop("token_S", None)
        for config, implementation in zip(configs, before, strict=True):
            config._experts_implementation_internal = implementation
        del ALL_EXPERTS_FUNCTIONS[_IMPLEMENTATION]


def _watch_routers(model: nn.Module) -> list[RemovableHandle]:
    """Tell modules whose rows are sorted by expert which token each is of, when the router beside them has run."""
    handles = []
    for parent in model.modules():
        beside = [m for m in parent.children() if getattr(layout(m), "adapt", None) is _sorted]
        if beside:

            def tell(_module: nn.Module, _inputs: Any, output: Any, beside: list[nn.Module] = beside) -> None:
                for module in beside:
                    vars(module)["token_S"] = output[1]

            handles.append(parent.router.register_forward_hook(tell))  # type: ignore[union-attr]
    return handles


def run_experts(
    module: Any,
    hidden_NH: Tensor,
    index_NK: Tensor,
    weight_NK: Tensor,
    shape: tuple[int, int],
    show: Show,
    token_N: Tensor | None = None,
) -> Tensor:
    """What a module of fused experts computes, its products shown one by one: `[N, H]`.

    Args:
        shape: `[B, T]` of the documents, padded: token `n` is of document `n // T`; N is B T, or a multiple of it.
        token_N: Token of each row, ascending, by default its own number.
    """
    how = layout(module)
    assert how
    *_, (_, experts, _, outputs, _) = expert_products(module)
    choices = index_NK.shape[-1]
    chosen_S, order_S = index_NK.reshape(-1).sort(stable=True)
    slot_S, beyond_S = order_S[chosen_S < experts], order_S[chosen_S >= experts]
    row_S = slot_S // choices
    token_S = row_S if token_N is None else token_N[row_S]
    groups = _groups(chosen_S[: len(slot_S)], token_S % (shape[0] * shape[1]), experts, *shape)
    sizes = [len(rows.place) for _, rows in groups]

    def multiply(name: str, rows_SI: Tensor) -> Tensor:
        weight_EOI = expert_matrices(module, name, module.get_parameter(name))
        bias_EO = module.get_parameter(f"{name}_bias") if how.biased else [None] * experts
        products = [
            show(expert, name, rows, part, linear(part, weight_EOI[expert], bias_EO[expert]))
            for (expert, rows), part in zip(groups, rows_SI.split(sizes), strict=True)
        ]
        return torch.cat(products)

    weight_S1 = weight_NK.reshape(-1, 1)
    result_SH = weight_S1.new_zeros(index_NK.numel(), outputs)
    if sizes:
        rows_SH = hidden_NH[row_S]
        inner = [multiply(name, rows_SH) for name in how.ups]
        outer_SH = multiply(how.down, _activated(module, inner) if inner else rows_SH)
        if how.normed:
            outer_SH = module.post_expert_norm(outer_SH)
        outer_SH = outer_SH * weight_S1[slot_S]
        result_SH = result_SH.to(outer_SH.dtype).index_copy(0, slot_S, outer_SH)
    if how.passes:
        passed_SH = hidden_NH[beyond_S // choices] * weight_S1[beyond_S]
        result_SH = result_SH.index_copy(0, beyond_S, passed_SH.to(result_SH.dtype))
    return result_SH.view(*index_NK.shape, -1).sum(1).to(hidden_NH.dtype)


def _activated(module: Any, inner: list[Tensor]) -> Tensor:
    """The gated activation of the products of the input: gate and up as one matrix, or each, or up alone."""
    if len(inner) == 2:
        return module.mlp.activation_fn(inner[0]) * inner[1]  # type: ignore[no-any-return]
    if not getattr(module, "has_gate", True):
        return module.act_fn(inner[0])  # type: ignore[no-any-return]
    if hasattr(module, "_apply_gate"):
        return module._apply_gate(inner[0])  # type: ignore[no-any-return]
    gate, up = inner[0].chunk(2, dim=-1)
    return module.act_fn(gate) * up  # type: ignore[no-any-return]


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
