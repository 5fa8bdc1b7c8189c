"""See the two tensors of every tracked layer, and leave the model as it was.

Inside `capture` all weights are frozen, so a backward pass computes no weight gradient and goes no deeper than
the lowest tracked layer: its output is where the graph begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from influence.errors import ModelError
from influence.models.experts import Rows, dispatched, run_experts
from influence.models.layers import TrackedLayer, excluding, folded
from influence.models.probe import frozen, short_text, weights_moving_logits
from influence.models.routers import router_hooks
from influence.models.vocabulary import UsesSeen, Vocabulary
from influence.types import VocabularyTokens

#: Modules that were seen to have no effect on a text although the model has them.
_unused: WeakSet[nn.Module] = WeakSet()
#: `(index of the layer, a_BTI, s_BTO)`, called during backward, from the last layer to the first.
Consumer = Callable[[int, Tensor, Tensor], None]
#: `(index of the layer, its tokens)`, of a weight over the vocabulary, called once all its uses were seen.
VocabularyConsumer = Callable[[int, VocabularyTokens], None]


class UntrackableError(ModelError):
    """The gradient of some layers cannot be told apart by document.

    Args:
        message: What is wrong with the first of them.
        names: All of them that one pass shows.
        others: Names of the other tracked layers.
    """

    def __init__(self, message: str, names: Sequence[str], others: Sequence[str]) -> None:
        kinds = folded(names, others)
        super().__init__(
            message,
            have=f"the same of {len(names) - 1} more layers" if len(names) > 1 else None,
            fix=f"Leave it out: {excluding(kinds)}" if others else None,
        )
        self.names = list(names)


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
        UntrackableError: a layer has gradients of two runs in one forward pass, its input is not `[B, T, I]`, or its
            weight is used without a call.
        ModelError: an output head or an embedding is tracked where neither can be.
    """
    if consume_vocabulary is None:
        require_no_vocabulary(layers, "This")
    sight = _Sight(layers, shape, consume, positions, consume_vocabulary)
    experts = dispatched(model, sight.run_experts) if sight.sees_experts else nullcontext()
    with frozen(model), torch.enable_grad(), experts, sight.hooked():
        yield
    sight.finish(model)


def untrackable(model: PreTrainedModel, layers: Sequence[TrackedLayer]) -> list[str]:
    """Names of the layers that `capture` refuses, found by a pass over two texts of 12 tokens."""
    ids_BT = short_text(model).expand(2, -1)
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    try:
        with capture(model, layers, ids_BT.shape, nothing, consume_vocabulary=nothing):
            logits_BTV = model(input_ids=ids_BT, use_cache=False).logits
            if logits_BTV.requires_grad:
                logits_BTV.square().sum().backward()
    except UntrackableError as error:
        return error.names
    return []


class _Sight:
    """What one backward pass shows of the tracked layers."""

    def __init__(
        self,
        layers: Sequence[TrackedLayer],
        shape: torch.Size,
        consume: Consumer,
        positions: dict[int, Tensor] | None,
        consume_vocabulary: VocabularyConsumer | None,
    ) -> None:
        self._layers, self._shape, self._consume, self._positions = layers, shape, consume, positions
        self._ran: set[int] = set()
        self._seen: set[int] = set()
        self._faults: dict[int, str] = {}
        self._vocabulary: dict[int, UsesSeen] = {}
        self._experts: dict[nn.Module, dict[tuple[int, str], int]] = {}
        for index, layer in enumerate(layers):
            if layer.vocabulary is not None:
                assert consume_vocabulary is not None
                self._vocabulary[index] = self._uses(index, layer.vocabulary, consume_vocabulary)
            elif layer.expert is not None:
                self._experts.setdefault(layer.module, {})[layer.expert, layer.parameter] = index

    @property
    def sees_experts(self) -> bool:
        """Whether a fused expert is tracked."""
        return bool(self._experts)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Watch all layers but the experts, which `run_experts` shows."""
        handles: list[RemovableHandle] = []
        try:
            for index, layer in enumerate(self._layers):
                if index in self._vocabulary:
                    handles += self._vocabulary[index].hooks()
                elif layer.router is not None:
                    handles += router_hooks(
                        layer.router,
                        layer.module.get_parameter(layer.parameter).dtype,
                        partial(self._forward, index),
                    )
                elif layer.expert is None:
                    handles.append(layer.module.register_forward_hook(partial(self._forward, index)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _forward(self, index: int, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """See a call of a layer. Only one whose output gets a gradient counts: DoRA also takes norms of products."""
        self._ran.add(index)
        a_BTI = _unfolded(inputs[0], self._shape)
        waiting = [inputs[0] if a_BTI is None else a_BTI.detach()]

        def backward(s_BTO: Tensor) -> None:
            seen = waiting.pop()
            if a_BTI is None:
                self._faults[index] = _not_by_tokens(self._layers[index], seen)
            elif index in self._seen:
                self._faults[index] = _runs_twice(self._layers[index])
            else:
                self._seen.add(index)
                with torch.no_grad():
                    self._consume(index, seen, s_BTO.reshape(*self._shape, -1).to(seen.dtype))

        return _watched(output, backward)

    def _uses(self, index: int, vocabulary: Vocabulary, consume: VocabularyConsumer) -> UsesSeen:
        layer = self._layers[index]

        def check(inputs: Tensor, twice: bool) -> Tensor:
            unfolded = _unfolded(inputs, self._shape)
            if unfolded is None:
                raise self._refusal({index: _not_by_tokens(layer, inputs)})
            if twice:
                raise self._refusal({index: _runs_twice(layer)})
            return unfolded

        def done(tokens: VocabularyTokens) -> None:
            self._seen.add(index)
            consume(index, tokens)

        return UsesSeen(vocabulary, layer.outputs, self._shape, check, _watched, done)

    def run_experts(
        self,
        module: nn.Module,
        hidden_NH: Tensor,
        index_NK: Tensor,
        weight_NK: Tensor,
        token_N: Tensor | None = None,
    ) -> Tensor:
        """Compute a module of fused experts, and see the products of those that are tracked."""
        tracked = self._experts.get(module, {})
        for index in tracked.values():
            if index in self._ran:
                raise self._refusal({i: _runs_twice(self._layers[i]) for i in tracked.values()})
            if hidden_NH.ndim != 2 or len(hidden_NH) % self._shape.numel():
                raise self._refusal({i: _not_by_tokens(self._layers[i], hidden_NH) for i in tracked.values()})
        self._ran.update(tracked.values())

        def show(expert: int, parameter: str, rows: Rows, a_NI: Tensor, output_NO: Tensor) -> Tensor:
            index = tracked.get((expert, parameter))
            return output_NO if index is None else self._rows_seen(index, rows, a_NI.detach(), output_NO)

        documents, length = self._shape
        return run_experts(module, hidden_NH, index_NK, weight_NK, (documents, length), show, token_N)

    def _rows_seen(self, index: int, rows: Rows, a_NI: Tensor, output_NO: Tensor) -> Tensor:
        def backward(s_NO: Tensor) -> None:
            with torch.no_grad():
                self._seen.add(index)
                if self._positions is not None:
                    self._positions[index] = rows.position_BR
                self._consume(index, rows.grouped(a_NI), rows.grouped(s_NO))

        return _watched(output_NO, backward)

    def finish(self, model: PreTrainedModel) -> None:
        """Hand on zeros for what no loss reached.

        Raises:
            UntrackableError: a layer was not seen as it is.
        """
        rest = [i for i in range(len(self._layers)) if i not in self._seen and i not in self._faults]
        faults = {**self._faults, **self._used_without_a_call(model, rest)}
        if faults:
            raise self._refusal(faults, self._seen - faults.keys())
        weight = next(weight for weight in model.parameters() if weight.is_floating_point())
        zero = torch.zeros(
            (), dtype=weight.dtype, device=weight.device
        )  # no shard, though the weight may be one
        for index in rest:
            layer = self._layers[index]
            if index in self._vocabulary:
                self._vocabulary[index].fill(zero, layer.inputs)
                continue
            rows = self._shape if layer.expert is None else (self._shape[0], 0)
            if self._positions is not None and layer.expert is not None:
                self._positions[index] = torch.empty(rows, dtype=torch.int64, device=zero.device)
            self._consume(index, zero.expand(*rows, layer.inputs), zero.expand(*rows, layer.outputs))

    def _used_without_a_call(self, model: PreTrainedModel, rest: Sequence[int]) -> dict[int, str]:
        """What is wrong with layers that were never called although their weights are used: inputs are not seen."""
        never: list[tuple[int, nn.Module]] = []
        for index in rest:
            ran = self._vocabulary[index].ran if index in self._vocabulary else ()
            called = index not in self._vocabulary and index in self._ran
            modules = [] if called else self._layers[index].modules
            never += [(index, module) for module in modules if module not in ran and module not in _unused]
        if not never:
            return {}
        used = weights_moving_logits(model, [module for _, module in never])
        _unused.update(module for (_, module), is_used in zip(never, used, strict=True) if not is_used)
        return {
            index: f"{type(model).__name__} uses the weight of {self._layers[index].name} without calling the layer, "
            "so that its inputs are not seen."
            for (index, _), is_used in zip(never, used, strict=True)
            if is_used
        }

    def _refusal(self, faults: dict[int, str], others: Iterable[int] | None = None) -> UntrackableError:
        """Refuse layers; `others` are those that can be tracked, by default all that are left."""
        if others is None:
            others = (index for index in range(len(self._layers)) if index not in faults)
        names, rest = ([self._layers[index].name for index in part] for part in (sorted(faults), others))
        return UntrackableError(faults[min(faults)], names, rest)


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


def _not_by_tokens(layer: TrackedLayer, inputs: Tensor) -> str:
    return (
        f"{layer.name} sees an input of shape {list(inputs.shape)}, not [batch, tokens, inputs]: "
        "its documents cannot be told apart."
    )


def _runs_twice(layer: TrackedLayer) -> str:
    return f"{layer.name} runs more than once in a forward pass: a shared layer cannot be tracked."


def _unfolded(a: Tensor, shape: torch.Size) -> Tensor | None:
    """An input as `[B, T, I]`, from that, `[B, 1, T, I]` or `[B × T, I]`; None where documents cannot be told apart."""
    if a.shape[:-1] == shape:
        return a
    if a.ndim == 2 and len(a) == shape[0] * shape[1]:
        return a.reshape(*shape, a.shape[-1])
    if a.ndim > 3 and [size for size in a.shape[:-1] if size > 1] == [size for size in shape if size > 1]:
        return a.reshape(*shape, a.shape[-1])
    return None
