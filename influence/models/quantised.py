"""Weights that bitsandbytes keeps in few bits: computed with the numbers that they stand for, which is differentiable.

Products of bitsandbytes itself round activations by what else is in a batch (eight bits), or have no gradient on some
devices (four bits): a document's gradient would not be its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Class of a quantised weight of bitsandbytes -> its bits.
_BITS = {"Params4bit": 4, "Int8Params": 8}


class QuantisedLinear(nn.Linear):
    """A linear layer whose weight `[O, I]` is stored in 4 or 8 bits; one is expanded at a time, in each direction.

    Args:
        stored: The layer as bitsandbytes has it, which gives its weight away.
    """

    def __init__(self, stored: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = stored.in_features, stored.out_features
        self.weight, self.bias = stored.weight, stored.bias
        self._state = getattr(stored, "state", None)

    @property
    def bits(self) -> int:
        """Bits of each number of the weight."""
        return _BITS[type(self.weight).__name__]

    def dequantised(self) -> Tensor:
        """The numbers `[O, I]` that the weight stands for."""
        return _dequantised(self.weight, self._state)

    def forward(self, input: Tensor) -> Tensor:
        """Map `[…, I]` to `[…, O]`."""
        result: Tensor = _Product.apply(input, self)  # type: ignore[no-untyped-call]
        return result if self.bias is None else result + self.bias.to(result.dtype)


class _Product(torch.autograd.Function):
    """`x Wᵀ` with gradient `s W`, which expands the weight again instead of keeping it between the two."""

    @staticmethod
    def forward(context: Any, x: Tensor, layer: QuantisedLinear) -> Tensor:
        context.layer = layer
        return F.linear(x, layer.dequantised().to(x.dtype))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (s,) = gradients
        return s @ context.layer.dequantised().to(s.dtype), None


def make_differentiable(model: nn.Module) -> None:
    """Put a `QuantisedLinear` in the place of each linear layer of bitsandbytes; the model is changed."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and type(module.weight).__name__ in _BITS:
            model.set_submodule(name, QuantisedLinear(module))


def stored_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters by name, in order of their names; quantised ones as the numbers that they stand for."""
    states = {
        f"{name}.weight": getattr(module, "_state", getattr(module, "state", None))
        for name, module in model.named_modules()
    }
    for name, parameter in sorted(model.named_parameters()):
        quantised = type(parameter).__name__ in _BITS
        yield name, _dequantised(parameter, states[name]) if quantised else parameter.detach()


def _dequantised(weight: Any, state: Any) -> Tensor:
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    with torch.no_grad():
        result: Tensor = dequantize_bnb_weight(weight, state)
        return result.detach()
