"""One batch forward and backward with a reducer, and what can go wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from influence.curvature.statistics import augment
from influence.engine.batching import Columns, TokenBatch, pad
from influence.errors import ComputeError, ModelError
from influence.models.capture import VocabularyConsumer, capture
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.losses import SummedNll
from influence.models.probe import weights_moving_logits
from influence.store.documents import DocumentTable
from influence.types import VocabularyTokens

#: `(index of the layer, a_BTI with the bias's 1, s_BTO)`.
Reducer = Callable[[int, Tensor, Tensor], None]
#: From logits to the labels `[B, T]` the loss is taken of.
Labels = Callable[[Tensor], Tensor]


def backward(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    batch: TokenBatch,
    reduce: Reducer,
    *,
    vocabulary: VocabularyConsumer | None = None,
    labels: Labels | None = None,
    positions: dict[int, Tensor] | None = None,
    what: str,
) -> Tensor:
    """One batch forward and backward; `reduce` sees each tracked layer. Returns the NLL of each document `[B]`, nats.

    Args:
        vocabulary: Sees each tracked output head and embedding, with the bias's 1; None refuses them.
        labels: Draws labels from the logits; default the batch's own tokens.
        positions: Of the rows of experts, for a `reduce` that must know them: see `capture`.
        what: Says which documents these are, for an error.

    Raises:
        ComputeError: an activation or gradient is not finite, naming the layer and the documents.
    """
    sums: dict[int, Tensor] = {}

    def consume(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        sums[index] = torch.stack([a_BTI.sum(dtype=torch.float32), s_BTO.sum(dtype=torch.float32)])
        reduce(index, augment(a_BTI, layers[index].has_bias), s_BTO)

    def consume_vocabulary(index: int, tokens: VocabularyTokens) -> None:
        assert vocabulary is not None
        uses = [use for use in (tokens.head, tokens.embedding) if use is not None]
        sums[index] = torch.stack([sum_of(uses, 0), sum_of(uses, 1)])
        vocabulary(index, _augmented(tokens, layers[index].has_bias))

    def sum_of(uses: Sequence[tuple[Tensor, Tensor]], side: int) -> Tensor:
        return torch.stack([use[side].sum(dtype=torch.float32) for use in uses]).sum()

    see = None if vocabulary is None else consume_vocabulary
    with capture(model.model, layers, batch.input_ids.shape, consume, positions, see):
        logits_BTV = model.model(input_ids=batch.input_ids, use_cache=False).logits
        label_BT = batch.input_ids if labels is None else labels(logits_BTV)
        nll_BT: Tensor = SummedNll.apply(logits_BTV, label_BT, batch.loss_BT)  # type: ignore[no-untyped-call]
        del logits_BTV
        if nll_BT.requires_grad:
            nll_BT.sum().backward()
    if not nll_BT.requires_grad and all(layer.expert is None for layer in layers):
        raise _without_effect(model, layers, what)  # experts may see no token of a batch
    finite_L2 = torch.isfinite(torch.stack([sums[index] for index in range(len(layers))]))
    if not finite_L2.all():
        raise _not_finite(model, layers, finite_L2, what)
    return nll_BT.detach().sum(-1)


def _without_effect(model: LanguageModel, layers: Sequence[TrackedLayer], what: str) -> ModelError:
    weights_moving_logits(
        model.model, [layer.module for layer in layers]
    )  # says so where none has a gradient
    return ModelError(
        f"None of the tracked layers has an effect on the loss of {what}.",
        have=f"{len(layers)} tracked, first {layers[0].name}",
        fix="Track other layers of the model.",
    )


def _augmented(tokens: VocabularyTokens, has_bias: bool) -> VocabularyTokens:
    """Append the constant input 1 of the head's bias, which no embedding has."""
    if not has_bias:
        return tokens
    head = tokens.head and (augment(tokens.head[0], True), tokens.head[1])
    embedding = tokens.embedding and (F.pad(tokens.embedding[0], (0, 1)), tokens.embedding[1])
    return VocabularyTokens(tokens.vocabulary, head, embedding)


def _not_finite(
    model: LanguageModel, layers: Sequence[TrackedLayer], finite_L2: Tensor, what: str
) -> ComputeError:
    """Name where it began: the first layer with a bad input, else the last one with a bad gradient."""
    forward_L, backward_L = (~finite_L2).unbind(1)
    index = int(forward_L.nonzero()[0] if forward_L.any() else backward_L.nonzero()[-1])
    where = "going into" if forward_L.any() else "coming back to"
    weights = [
        (name, p.to_local() if isinstance(p, DTensor) else p) for name, p in model.model.named_parameters()
    ]
    broken = [name for name, p in weights if not torch.isfinite(p).all()]
    return ComputeError(
        f"A value that is not finite appeared {where} layer {layers[index].name}, in {what}.",
        have=f"weights that are not finite: {', '.join(broken[:3])}" if broken else None,
        fix="The checkpoint is damaged: fetch or train it again."
        if broken
        else "Check these documents; in bfloat16, try --dtype float32.",
    )


def describe_documents(ids: npt.NDArray[np.object_]) -> str:
    """A batch in an error message: how many documents, and the first of them."""
    return f"a batch of {len(ids)} documents: {', '.join(map(str, ids[:3]))}{', …' if len(ids) > 3 else ''}"


def document_batch(
    table: DocumentTable, columns: Columns, device: torch.device, longest: int | None = None
) -> TokenBatch:
    """The documents of some columns, or their first `longest` tokens, padded, with their loss masks."""
    masks = [table.loss_mask(int(column)) for column in columns]
    return pad(
        [table.tokens(int(column))[:longest] for column in columns],
        device,
        masks=[None if mask is None else mask[:longest] for mask in masks],
    )


def idle_pass(model: LanguageModel, layers: Sequence[TrackedLayer], table: DocumentTable) -> None:
    """A pass whose result is dropped. It takes the longest document, so that no layer is without effect."""
    batch = document_batch(table, np.array([table.lengths.argmax()]), model.device)
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    backward(model, layers, batch, nothing, vocabulary=nothing, what="a pass that only keeps step")
