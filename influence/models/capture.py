"""See the two tensors of every tracked layer, and leave the model as it was.

Inside `capture` all weights are frozen, so a backward pass computes no weight gradient and goes no deeper than
the lowest tracked layer: its output is where the graph begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from influence.errors import ModelError
from influence.models.layers import TrackedLayer
from influence.models.probe import used_without_a_call

#: Modules that were seen to have no effect on a text although the model has them.
_unused: WeakSet[nn.Module] = WeakSet()
#: `(index of the layer, a_BTI, s_BTO)`, called during backward, from the last layer to the first.
Consumer = Callable[[int, Tensor, Tensor], None]


@contextmanager
def capture(
    model: PreTrainedModel, layers: Sequence[TrackedLayer], shape: torch.Size, consume: Consumer
) -> Iterator[None]:
    """Call `consume` with the activations and pseudo-gradients of each tracked layer of each backward pass.

    The model's mode, `requires_grad` flags and hooks are restored on exit, also after an exception.

    A layer that has no effect on the loss of these documents gets zeros, last.

    Args:
        shape: `[B, T]` of the batch. OPT feeds its linears `[B × T, I]`: unfolded here.

    Raises:
        ModelError: a layer runs twice in one forward pass, or its input is not `[B, T, I]`.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    device = next(model.parameters()).device
    waiting: dict[int, Tensor] = {}
    ran: set[int] = set()
    seen: set[int] = set()

    def forward_hook(index: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        layer = layers[index]

        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            ran.add(index)
            a_BTI = _unfolded(inputs[0], shape)
            if a_BTI is None:
                raise ModelError(
                    f"{layer.name} sees an input of shape {list(inputs[0].shape)}, not [batch, tokens, inputs]: "
                    "its documents cannot be told apart.",
                    fix=f"Leave it out: --exclude-layers '{layer.name}'",
                )
            if index in waiting:
                raise ModelError(
                    f"{layer.name} runs more than once in a forward pass: a shared layer cannot be tracked.",
                    fix=f"Leave it out: --exclude-layers '{layer.name}'",
                )
            waiting[index] = a_BTI.detach()
            if output.requires_grad:
                output.register_hook(backward_hook(index))
                return output
            leaf = output.detach().requires_grad_()
            leaf.register_hook(backward_hook(index))
            return leaf.clone()  # some models write into it, which a leaf does not allow

        return hook

    def backward_hook(index: int) -> Callable[[Tensor], None]:
        def hook(s_BTO: Tensor) -> None:
            with torch.no_grad():
                seen.add(index)
                consume(index, waiting.pop(index), s_BTO.reshape(*shape, -1))

        return hook

    handles = [layer.module.register_forward_hook(forward_hook(i)) for i, layer in enumerate(layers)]
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
    rest = [index for index in range(len(layers)) if index not in seen]
    _require_unused(model, [layers[index] for index in rest if index not in ran])
    zero = torch.zeros((), dtype=next(p.dtype for p, _ in flags if p.is_floating_point()), device=device)
    for index in rest:
        layer = layers[index]
        consume(index, zero.expand(*shape, layer.inputs), zero.expand(*shape, layer.outputs))


def _require_unused(model: PreTrainedModel, layers: Sequence[TrackedLayer]) -> None:
    """Refuse layers that are never called while their weights are used: what goes into them is not seen."""
    unknown = [layer for layer in layers if layer.module not in _unused]
    if not unknown:
        return
    for layer, used in zip(
        unknown, used_without_a_call(model, [layer.module for layer in unknown]), strict=True
    ):
        if used:
            raise ModelError(
                f"{type(model).__name__} uses the weight of {layer.name} without calling the layer, "
                "so that its inputs are not seen.",
                fix=f"Leave it out: --exclude-layers '{layer.name}'",
            )
        _unused.add(layer.module)


def _unfolded(a: Tensor, shape: torch.Size) -> Tensor | None:
    """An input as `[B, T, I]`, from that, `[B, 1, T, I]` or `[B × T, I]`; None where documents cannot be told apart."""
    if a.shape[:-1] == shape:
        return a
    if a.ndim == 2 and len(a) == shape[0] * shape[1]:
        return a.reshape(*shape, a.shape[-1])
    if a.ndim > 3 and [size for size in a.shape[:-1] if size > 1] == [size for size in shape if size > 1]:
        return a.reshape(*shape, a.shape[-1])
    return None
