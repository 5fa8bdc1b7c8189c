"""Routers of a mixture of experts: their product is seen in the midst of their forward pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from influence.models.quantised import QuantisedLinear

_ROUTER = re.compile(r"router|gate$|gating", re.IGNORECASE)
#: Classes of routers that multiply by the weight of a linear layer in them without calling it -> its name.
_ROUTED_BY = {"LongcatFlashTopkRouter": "classifier"}


def router_part(name: str, module: Any) -> nn.Module | None:
    """The part of a router that holds its matrix, mostly the router itself; None where its product can be hooked.

    Such a router multiplies in the midst of its forward pass and gives back more than the product.
    """
    if type(module).__name__ in _ROUTED_BY:
        return module.get_submodule(_ROUTED_BY[type(module).__name__])  # type: ignore[no-any-return]
    weight = module._parameters.get("weight")
    plain = isinstance(module, QuantisedLinear) or type(module).forward is nn.Linear.forward
    named = _ROUTER.search(name.rpartition(".")[2]) or _ROUTER.search(type(module).__name__)
    return module if named and not plain and weight is not None and weight.ndim == 2 else None


def router_hooks(router: nn.Module, dtype: torch.dtype, see: Callable[..., Tensor]) -> list[RemovableHandle]:
    """Hooks that show the product in the midst of a router to `see(router, (input,), output)`.

    Args:
        dtype: Precision of its weight, in which the input is shown.
    """
    running: list[_LinearsSeen] = []

    def enter(module: nn.Module, _: Any) -> None:
        running.append(_LinearsSeen(lambda a, output: see(module, (a.to(dtype),), output)))
        running[-1].__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        running.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    return [
        router.register_forward_pre_hook(enter),
        router.register_forward_hook(leave, always_call=True),
    ]


class _LinearsSeen(TorchFunctionMode):
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
