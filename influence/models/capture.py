"""See the two tensors of every tracked layer, and leave the model as it was.

Inside `capture` all weights are frozen, so a backward pass computes no weight gradient and goes no deeper than
the lowest tracked layer: its output is where the graph begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from influence.errors import ModelError
from influence.models.layers import TrackedLayer

#: `(index of the layer, a_BTI, s_BTO)`, called during backward, from the last layer to the first.
Consumer = Callable[[int, Tensor, Tensor], None]


@contextmanager
def capture(
    model: PreTrainedModel, layers: Sequence[TrackedLayer], shape: torch.Size, consume: Consumer
) -> Iterator[None]:
    """Call `consume` with the activations and pseudo-gradients of each tracked layer of each backward pass.

    The model's mode, `requires_grad` flags and hooks are restored on exit, also after an exception.

    Args:
        shape: `[B, T]` of the batch. OPT feeds its linears `[B × T, I]`: unfolded here.

    Raises:
        ModelError: a layer runs twice in one forward pass or never, or its input is not `[B, T, I]`.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    waiting: dict[int, Tensor] = {}
    seen: set[int] = set()

    def forward_hook(index: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        layer = layers[index]

        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            (a_BTI,) = inputs
            if a_BTI.ndim == 2 and len(a_BTI) == shape[0] * shape[1]:
                a_BTI = a_BTI.unflatten(0, shape)
            if a_BTI.shape[:-1] != shape:
                raise ModelError(
                    f"{layer.name} sees an input of shape {list(a_BTI.shape)}, not [batch, tokens, inputs]: "
                    "its documents cannot be told apart.",
                    fix="Leave it out of --layers.",
                )
            if index in waiting:
                raise ModelError(
                    f"{layer.name} runs more than once in a forward pass: a shared layer cannot be tracked.",
                    fix="Leave it out of --layers.",
                )
            waiting[index] = a_BTI.detach()
            output = output if output.requires_grad else output.detach().requires_grad_()
            output.register_hook(backward_hook(index))
            return output

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
        unused = [layer.name for index, layer in enumerate(layers) if index not in seen]
        if unused:
            raise ModelError(
                f"{unused[0]} has no effect on the loss, so it has no gradient.",
                fix="Leave it out of --layers.",
            )
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
