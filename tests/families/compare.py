"""Per-document gradients of a family in the engine against plain autograd on a batch of one document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from build import VOCABULARY, tiny_model
from tiny import character_tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from influence.curvature.statistics import document_gradients
from influence.engine.batching import pad
from influence.engine.passes import backward
from influence.errors import InfluenceError
from influence.models.experts import expert_matrices
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.losses import token_nll
from influence.models.probe import independence
from influence.models.selection import find_layers

#: Tokens of the documents compared.
LENGTHS = (7, 44, 19, 31)
#: Largest relative difference from autograd that counts as right, in float32.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a family with a selection of layers.

    Attributes:
        verdict: `right`, `wrong`, `refused`, `traceback` or `not built`.
        difference: Largest relative difference from autograd.
        layers: Tracked layers.
        reason: Why it was refused.
        followed: The verdict where the options that the refusal names are given.
    """

    verdict: str
    difference: float = 0.0
    layers: int = 0
    reason: str = ""
    followed: str = ""


def documents() -> list[list[int]]:
    """Random token ids."""
    generator = np.random.default_rng(0)
    return [generator.integers(1, VOCABULARY, length).tolist() for length in LENGTHS]


def outcomes(kind: str, selections: Sequence[str]) -> list[Outcome]:
    """Build a family and compare it with each selection of layers."""
    try:
        net = tiny_model(kind)
        net(input_ids=torch.tensor([documents()[0]]), use_cache=False)
    except Exception as error:  # the many ways in which a configuration does not fit a family
        return [Outcome("not built", reason=_first_line(error)) for _ in selections]
    return [outcome(net, selection) for selection in selections]


def outcome(
    net: PreTrainedModel, selection: str, exclude: tuple[str, ...] = (), follow: bool = True
) -> Outcome:
    """Compare a model, whatever becomes of it; the options that a refusal names are followed once."""
    try:
        return compared(net, selection, exclude)
    except InfluenceError as error:
        advice = _advice(error.fix or "", selection, exclude) if follow else None
        return Outcome(
            "refused",
            reason=f"{error.message} {error.have or ''}".strip(),
            followed="" if advice is None else outcome(net, *advice, follow=False).verdict,
        )
    except Exception as error:
        return Outcome("traceback", reason=f"{type(error).__name__}: {_first_line(error)}")


def _advice(fix: str, selection: str, exclude: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """The selection and exclusions that a refusal advises first; None where it names none."""
    fix = fix.partition(", or ")[0]
    excluded = tuple(re.findall(r"--exclude-layers '([^']*)'", fix))
    chosen = re.search(r"--layers (\w+)", fix)
    if chosen is None and not excluded:
        return None
    return (chosen[1] if chosen else selection), (*exclude, *excluded)


def compared(net: PreTrainedModel, selection: str, exclude: tuple[str, ...] = ()) -> Outcome:
    """The gradients of all documents padded in one batch and alone, each against autograd.

    Raises:
        InfluenceError: the model or its layers are refused.
    """
    model = LanguageModel(net, character_tokenizer(), "tiny")
    model.require_causal()
    rows = documents()
    probe = independence(net, rows[1], rows[2], model.rounding)
    layers = find_layers(net, (selection,), exclude)
    plans = [[[row] for row in rows]] if probe.alone else [[rows], [[row] for row in rows]]
    found = [_engine(model, layers, plan) for plan in plans]
    expected = [_autograd(net, layers, row) for row in rows]
    worst = max(_difference(gradients, expected) for gradients in found)
    return Outcome("right" if worst < TOLERANCE else "wrong", worst, len(layers))


def _engine(
    model: LanguageModel, layers: list[TrackedLayer], plan: list[list[list[int]]]
) -> list[list[Tensor]]:
    """`G_d` of each document and layer."""
    result: list[list[Tensor]] = []
    for rows in plan:
        found: dict[int, Tensor] = {}

        def reduce(index: int, a_BTI: Tensor, s_BTO: Tensor, found: dict[int, Tensor] = found) -> None:
            found[index] = document_gradients(s_BTO, a_BTI)

        backward(model, layers, pad(rows, model.device), reduce, what="the documents of this comparison")
        result += [[found[index][row] for index in range(len(layers))] for row in range(len(rows))]
    return result


def _autograd(net: PreTrainedModel, layers: list[TrackedLayer], row: list[int]) -> list[Tensor]:
    """The same by plain autograd, `[O, I + 1]` of each layer."""
    ids_BT = torch.tensor([row])
    net.zero_grad(set_to_none=True)
    logits_BTV = net(input_ids=ids_BT, use_cache=False).logits
    token_nll(logits_BTV, ids_BT, torch.ones_like(ids_BT, dtype=torch.bool)).sum().backward()
    return [_own_gradient(layer) for layer in layers]


def _own_gradient(layer: TrackedLayer) -> Tensor:
    gradient = _gradient(layer.module, layer.parameter)
    if layer.expert is not None:
        gradient = expert_matrices(layer.module, layer.parameter, gradient)[layer.expert]
    elif gradient.shape != (layer.outputs, layer.inputs) or type(layer.module).__name__ == "Conv1D":
        gradient = gradient.mT
    if layer.has_bias:
        name = "bias" if layer.expert is None else f"{layer.parameter}_bias"
        bias = _gradient(layer.module, name)
        gradient = torch.cat([gradient, (bias if layer.expert is None else bias[layer.expert])[:, None]], 1)
    return gradient


def _gradient(module: nn.Module, parameter: str) -> Tensor:
    weight = module.get_parameter(parameter)
    return torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()


def _difference(found: list[list[Tensor]], expected: list[list[Tensor]]) -> float:
    """Largest relative difference of a layer's gradient, a document's norm, or a dot product of two documents."""
    scale = max(float(torch.linalg.vector_norm(g)) for document in expected for g in document)
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        for g, h in zip(ours, theirs, strict=True):
            norm = max(float(torch.linalg.vector_norm(h)), 1e-3 * scale)
            worst = max(worst, float(torch.linalg.vector_norm(g - h)) / norm)
    flat, truth = (
        torch.stack([torch.cat([g.flatten() for g in d]) for d in each]) for each in (found, expected)
    )
    dots, true_dots = flat @ flat.mT, truth @ truth.mT
    return max(worst, float((dots - true_dots).abs().max() / true_dots.abs().max()))


def _first_line(error: Exception) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:160]
