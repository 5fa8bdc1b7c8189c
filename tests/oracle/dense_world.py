"""A tiny model with everything about it computed the slow way: no hooks, no batches, no Kronecker factors."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from texts import MemoryCorpus, random_documents
from tiny import tiny_model
from torch import Tensor
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from influence.curvature.dense import per_document_gradients
from influence.curvature.ekfac import Inverse
from influence.data.document_tokens import TokenReport, encode_documents
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.selection import find_layers
from influence.types import LayerFactors

#: No bias and gated; Conv1D with bias; Linear with bias on folded batches; Linear with bias; gated, biased attention.
ORACLE_FAMILIES = ("llama", "gpt2", "opt", "phi", "qwen2")
MAX_LENGTH = 48


@dataclass(frozen=True)
class World:
    """A model, documents of different lengths, and their exact gradients, layer name -> `[D, O, I]`."""

    model: LanguageModel
    layers: list[TrackedLayer]
    corpus: MemoryCorpus
    tokens: list[list[int]]
    gradients: dict[str, Tensor]

    @property
    def lengths(self) -> list[int]:
        return [len(tokens) for tokens in self.tokens]


def precondition(g_DOI: Tensor, factors: LayerFactors, relative_damping: float) -> Tensor:
    """`P` of gradient matrices by what the engine calls, which takes tokens: `G = Σ_t e_t (row t of G)ᵀ`."""
    s_DTO = torch.eye(g_DOI.shape[1], dtype=g_DOI.dtype).expand(len(g_DOI), -1, -1)
    stacks = Inverse.of(factors, relative_damping, g_DOI).precondition(s_DTO, g_DOI)
    return torch.cat([p_DOI for _, p_DOI in stacks])


@cache
def world(family: str) -> World:
    model = tiny_model(
        family, **({"n_inner": 24} if family == "gpt2" else {})
    )  # small enough for dense matrices
    layers = find_layers(model.model)
    corpus = MemoryCorpus(random_documents(14, seed=3, longest=24))
    encoded = encode_documents(corpus, model.tokenizer, MAX_LENGTH, False, TokenReport())
    tokens = [ids for _, ids in encoded]
    return World(model, layers, corpus, tokens, dense_gradients(model, layers, tokens, [1] * len(tokens)))


def dense_gradients(
    model: LanguageModel, layers: list[TrackedLayer], tokens: list[list[int]], starts: list[int]
) -> dict[str, Tensor]:
    """Gradient of `−Σ_{t ≥ start} log p(token t | tokens before)` of each document by `vmap(grad)`."""
    length = max(map(len, tokens))
    ids_DT = torch.tensor([ids + [0] * (length - len(ids)) for ids in tokens])
    counts_DT = torch.tensor(
        [[start <= t < len(ids) for t in range(length)] for ids, start in zip(tokens, starts, strict=True)]
    )
    documents_DT2 = torch.stack([ids_DT, counts_DT.long()], -1)

    def loss(parameters: Mapping[str, Tensor], document_T2: Tensor) -> Tensor:
        ids_T, counts_T = document_T2.unbind(-1)
        inputs = {"input_ids": ids_T[None], "use_cache": False}
        logits_TV = functional_call(model.model, dict(parameters), (), inputs).logits[0]
        log_p_TV = logits_TV[:-1].log_softmax(-1)
        return -(log_p_TV.gather(1, ids_T[1:, None])[:, 0] * counts_T[1:]).sum()

    parameters = {
        f"{layer.name}.{name}": parameter.detach()
        for layer in layers
        for name, parameter in layer.module.named_parameters(recurse=False)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        found = per_document_gradients(loss, parameters, documents_DT2)
    result = {}
    for layer in layers:
        weight = found[f"{layer.name}.weight"].detach()
        g_DOI = weight.mT if isinstance(layer.module, Conv1D) else weight
        if layer.has_bias:
            g_DOI = torch.cat([g_DOI, found[f"{layer.name}.bias"].detach()[..., None]], -1)
        result[layer.name] = g_DOI
    return result


def dense_covariances(
    model: LanguageModel, layer_name: str, tokens: list[list[int]]
) -> tuple[Tensor, Tensor]:
    """`Σ a aᵀ` and `Σ s sᵀ` of one layer over tokens, a document at a time, by autograd alone."""
    module = model.model.get_submodule(layer_name)
    seen: list[Tensor] = []

    def hook(_module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[:] = [inputs[0], output]

    handle = module.register_forward_hook(hook)
    a_sum, s_sum = 0, 0
    for ids in tokens:
        row = torch.tensor([ids])
        log_p = model.model(input_ids=row, use_cache=False).logits[0, :-1].log_softmax(-1)
        nll = -log_p.gather(1, row[0, 1:, None]).sum()
        (s,) = torch.autograd.grad(nll, seen[1])
        a_TI, s_TO = seen[0].detach().flatten(0, -2), s.flatten(0, -2)
        if getattr(module, "bias", None) is not None:
            a_TI = torch.cat([a_TI, torch.ones_like(a_TI[:, :1])], 1)
        a_sum, s_sum = a_sum + a_TI.T @ a_TI, s_sum + s_TO.T @ s_TO
    handle.remove()
    return a_sum, s_sum


def moved(
    model: LanguageModel, layers: list[TrackedLayer], steps: list[Tensor], size: float
) -> LanguageModel:
    """A copy whose tracked weights went `size` times along `steps`, one `[O, I]` a layer."""
    changed = copy.deepcopy(model.model)
    with torch.no_grad():
        for layer, step_OI in zip(layers, steps, strict=True):
            module = changed.get_submodule(layer.name)
            weight = step_OI[:, : layer.inputs]
            module.weight += size * (weight.T if isinstance(module, Conv1D) else weight)
            if layer.has_bias:
                module.bias += size * step_OI[:, -1]
    return LanguageModel(changed, model.tokenizer)


def negative_log_likelihood(model: LanguageModel, tokens: list[int], start: int) -> float:
    """`−log p(tokens from start on | tokens before)`, one plain forward pass, nats."""
    with torch.no_grad():
        log_p = model.model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
    return -sum(float(log_p[t - 1, tokens[t]]) for t in range(start, len(tokens)))
