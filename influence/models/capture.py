"""See the two tensors of every tracked layer, and leave the model as it was.

Inside `capture` all weights are frozen, so a backward pass computes no weight gradient and goes no deeper than
the lowest tracked layer: its output is where the graph begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from influence.errors import ModelError
from influence.models.experts import LinearsSeen, Rows, dispatched, run_experts
from influence.models.layers import TrackedLayer
from influence.models.probe import used_without_a_call
from influence.models.vocabulary import UsesSeen
from influence.types import VocabularyTokens

#: Modules that were seen to have no effect on a text although the model has them.
_unused: WeakSet[nn.Module] = WeakSet()
#: `(index of the layer, a_BTI, s_BTO)`, called during backward, from the last layer to the first.
Consumer = Callable[[int, Tensor, Tensor], None]
#: `(index of the layer, its tokens)`, of a weight over the vocabulary, called once all its uses were seen.
VocabularyConsumer = Callable[[int, VocabularyTokens], None]


@contextmanager
def capture(
    model: PreTrainedModel,
    layers: Sequence[TrackedLayer],
    shape: torch.Size,
    consume: Consumer,
    positions: dict[int, Tensor] | None = None,
    consume_vocabulary: VocabularyConsumer | None = None,
) -> Iterator[None]:
    """Call `consume` with the activations and pseudo-gradients of each tracked layer of each backward pass.

    The model's mode, `requires_grad` flags and hooks are restored on exit, also after an exception.

    A layer that has no effect on the loss of these documents gets zeros, last. An expert gets the tokens that are
    routed to it, grouped by document: `[B, R, I]`, R being the most of one document, zero where there are fewer.

    Args:
        shape: `[B, T]` of the batch. OPT feeds its linears `[B × T, I]`: unfolded here.
        positions: Gets, for each expert's layer, where its rows stand in their documents: `[B, R]`, −1 for none.
        consume_vocabulary: For output heads and embeddings; None refuses them.

    Raises:
        ModelError: a layer runs twice in one forward pass, or its input is not `[B, T, I]`; or an output head or an
            embedding is tracked where neither can be.
    """
    if consume_vocabulary is None:
        require_no_vocabulary(layers, "This")
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
                raise _not_by_tokens(layer, inputs[0])
            if index in waiting:
                raise _runs_twice(layer)
            waiting[index] = a_BTI.detach()
            return _watched(output, backward_hook(index))

        return hook

    def backward_hook(index: int) -> Callable[[Tensor], None]:
        def hook(s_BTO: Tensor) -> None:
            with torch.no_grad():
                seen.add(index)
                a_BTI = waiting.pop(index)
                consume(index, a_BTI, s_BTO.reshape(*shape, -1).to(a_BTI.dtype))

        return hook

    def uses_of(index: int) -> UsesSeen:
        layer = layers[index]
        assert layer.vocabulary is not None

        def check(inputs: Tensor, twice: bool) -> Tensor:
            unfolded = _unfolded(inputs, shape)
            if unfolded is None:
                raise _not_by_tokens(layer, inputs)
            if twice:
                raise _runs_twice(layer)
            return unfolded

        def done(tokens: VocabularyTokens) -> None:
            seen.add(index)
            assert consume_vocabulary is not None
            consume_vocabulary(index, tokens)

        return UsesSeen(layer.vocabulary, layer.outputs, shape, check, _watched, done)

    words = {index: uses_of(index) for index, layer in enumerate(layers) if layer.vocabulary is not None}
    experts: dict[nn.Module, dict[tuple[int, str], int]] = {}
    handles: list[RemovableHandle] = []
    for index, layer in enumerate(layers):
        if layer.expert is not None:
            experts.setdefault(layer.module, {})[layer.expert, layer.parameter] = index
        elif index in words:
            handles += words[index].hooks()
        elif layer.routes:
            handles += _router_hooks(layer, forward_hook(index))
        else:
            handles.append(layer.module.register_forward_hook(forward_hook(index)))

    def run(module: nn.Module, hidden_NH: Tensor, index_NK: Tensor, weight_NK: Tensor) -> Tensor:
        tracked = experts.get(module, {})
        for index in tracked.values():
            if index in ran:
                raise _runs_twice(layers[index])
            if hidden_NH.ndim != 2 or len(hidden_NH) % shape.numel():
                raise _not_by_tokens(layers[index], hidden_NH)
            ran.add(index)

        def show(expert: int, parameter: str, rows: Rows, a_NI: Tensor, output_NO: Tensor) -> Tensor:
            index = tracked.get((expert, parameter))
            if index is None:
                return output_NO
            a_NI = a_NI.detach()

            def hook(s_NO: Tensor) -> None:
                with torch.no_grad():
                    seen.add(index)
                    if positions is not None:
                        positions[index] = rows.position_BR
                    consume(index, rows.grouped(a_NI), rows.grouped(s_NO))

            return _watched(output_NO, hook)

        return run_experts(module, hidden_NH, index_NK, weight_NK, (shape[0], shape[1]), show)

    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        with torch.enable_grad(), dispatched(model, run) if experts else nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
    rest = [index for index in range(len(layers)) if index not in seen]
    never = [(layers[index], layers[index].module) for index in rest if index not in ran | words.keys()]
    never += [(layers[i], m) for i in rest if i in words for m in layers[i].modules if m not in words[i].ran]
    _require_unused(model, never)
    zero = torch.zeros((), dtype=next(p.dtype for p, _ in flags if p.is_floating_point()), device=device)
    for index in rest:
        layer = layers[index]
        if index in words:
            words[index].fill(zero, layer.inputs)
            continue
        rows = shape if layer.expert is None else (shape[0], 0)
        if positions is not None and layer.expert is not None:
            positions[index] = torch.empty(rows, dtype=torch.int64, device=device)
        consume(index, zero.expand(*rows, layer.inputs), zero.expand(*rows, layer.outputs))


def require_no_vocabulary(layers: Sequence[TrackedLayer], what: str) -> None:
    """Raise ModelError where an output head or an embedding is tracked by something that cannot.

    Args:
        what: Says what cannot, the subject of a sentence.
    """
    for layer in layers:
        if layer.vocabulary is not None:
            raise ModelError(
                f"{what} does not work with output heads and embeddings, whose curvature is diagonal over the "
                "vocabulary.",
                have=f"{layer.name} is tracked",
                fix="Track other layers only: --layers mlp or --layers all.",
            )


def _watched(output: Tensor, hook: Callable[[Tensor], None]) -> Tensor:
    """An output whose gradient goes to `hook`; where nothing below is tracked, the graph begins here."""
    if output.requires_grad:
        output.register_hook(hook)
        return output
    leaf = output.detach().requires_grad_()
    leaf.register_hook(hook)
    return leaf.clone()  # some models write into it, which a leaf does not allow


def _router_hooks(layer: TrackedLayer, see: Callable[..., Tensor]) -> list[RemovableHandle]:
    """Hooks that show the product in the midst of a router, in the precision of its weight."""
    dtype = getattr(layer.module, layer.parameter).dtype
    running: list[LinearsSeen] = []

    def enter(module: nn.Module, _: Any) -> None:
        running.append(LinearsSeen(lambda a, output: see(module, (a.to(dtype),), output)))
        running[-1].__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        running.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    return [
        layer.module.register_forward_pre_hook(enter),
        layer.module.register_forward_hook(leave, always_call=True),
    ]


def _not_by_tokens(layer: TrackedLayer, inputs: Tensor) -> ModelError:
    return ModelError(
        f"{layer.name} sees an input of shape {list(inputs.shape)}, not [batch, tokens, inputs]: "
        "its documents cannot be told apart.",
        fix=f"Leave it out: --exclude-layers '{layer.name}'",
    )


def _runs_twice(layer: TrackedLayer) -> ModelError:
    return ModelError(
        f"{layer.name} runs more than once in a forward pass: a shared layer cannot be tracked.",
        fix=f"Leave it out: --exclude-layers '{layer.name}'",
    )


def _require_unused(model: PreTrainedModel, uses: Sequence[tuple[TrackedLayer, nn.Module]]) -> None:
    """Refuse layers that are never called while their weights are used: what goes into them is not seen."""
    unknown = [(layer, module) for layer, module in uses if module not in _unused]
    if not unknown:
        return
    found = used_without_a_call(model, [module for _, module in unknown])
    used = [layer.name for (layer, _), is_used in zip(unknown, found, strict=True) if is_used]
    if used:
        options = " ".join(f"--exclude-layers '{name}'" for name in used)
        raise ModelError(
            f"{type(model).__name__} uses the weight of {used[0]} without calling the layer, "
            "so that its inputs are not seen.",
            fix=f"Leave it out: {options}",
        )
    _unused.update(module for _, module in unknown)


def _unfolded(a: Tensor, shape: torch.Size) -> Tensor | None:
    """An input as `[B, T, I]`, from that, `[B, 1, T, I]` or `[B × T, I]`; None where documents cannot be told apart."""
    if a.shape[:-1] == shape:
        return a
    if a.ndim == 2 and len(a) == shape[0] * shape[1]:
        return a.reshape(*shape, a.shape[-1])
    if a.ndim > 3 and [size for size in a.shape[:-1] if size > 1] == [size for size in shape if size > 1]:
        return a.reshape(*shape, a.shape[-1])
    return None
