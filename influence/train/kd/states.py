"""Hidden states between the blocks of a language model: take some, put others in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from influence.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Gets the number of a block, from 0, and its input `[B, T, D]`; what it returns is the input instead.
Change = Callable[[int, Tensor], Tensor]


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks of the model, first to last; ModelError where it is not built of them."""
    count = getattr(model.config, "num_hidden_layers", None)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ModelError(
        f"{type(model).__name__} has no list of blocks whose states could be read.", have=f"{count} layers"
    )


@contextmanager
def changed_inputs(model: PreTrainedModel, change: Change) -> Iterator[None]:
    """Within this, every block of the model gets the input that `change` makes of it."""

    def hook(number: int) -> Callable[..., Any]:
        def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
            if args:
                return (change(number, args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": change(number, kwargs["hidden_states"])}

        return before

    handles = [
        block.register_forward_pre_hook(hook(number), with_kwargs=True)
        for number, block in enumerate(blocks(model))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def at(states_BTD: Tensor, place_B: Tensor) -> Tensor:
    """The state of each example at its place, `[B, D]`."""
    return states_BTD[torch.arange(len(place_B), device=place_B.device), place_B]


def put(states_BTD: Tensor, place_B: Tensor, new_BD: Tensor) -> Tensor:
    """The same states, but for each example another one at its place; gradients flow to both."""
    rows_B = torch.arange(len(place_B), device=place_B.device)
    return states_BTD.index_put((rows_B, place_B), new_BD.to(states_BTD.dtype))


def diagonal(separator_B: Tensor, end_B: Tensor, layers: int, delta: int | None = None) -> Tensor:
    """The place whose state is taken of each layer, int64 `[B, L]` (section 3.1).

    Layer l, from 0, gives place `min(separator + round(l · Δ), end)`.

    Args:
        separator_B: Place of the first separator, after which the chain begins.
        end_B: Place of the second separator.
        layers: L.
        delta: Δ, tokens a layer. None is the "dynamic" one of the paper: from the first separator at the first layer to
            the second at the last, Δ = (end − separator) / (L − 1).
    """
    layer_L = torch.arange(layers, device=end_B.device, dtype=torch.float64)
    slope_B = (end_B - separator_B) / max(1, layers - 1) if delta is None else torch.full_like(end_B, delta)
    place_BL = (separator_B[:, None] + layer_L * slope_B[:, None].double()).round().long()
    return torch.minimum(place_BL, end_B[:, None])


@torch.no_grad()
def teacher_states(teacher: PreTrainedModel, ids_BT: Tensor, place_BL: Tensor) -> Tensor:
    """The teacher's states, float32 `[B, L, D]`, each of mean 0 and variance 1; no gradients.

    State l is the input of block l at `place_BL[:, l]`; the state above the last block is not used.
    """
    taken: list[Tensor] = []

    def take(number: int, states_BTD: Tensor) -> Tensor:
        taken.append(at(states_BTD, place_BL[:, number]))
        return states_BTD

    with changed_inputs(teacher, take):
        teacher.base_model(input_ids=ids_BT, use_cache=False)
    states_BLD = torch.stack(taken, dim=1).float()
    return nn.functional.layer_norm(states_BLD, states_BLD.shape[-1:])
