"""Captured gradients against `vmap(grad)`; the loss against a plain forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dense_world import MAX_LENGTH, World, dense_gradients, negative_log_likelihood, world
from texts import random_queries
from torch import Tensor

from influence.curvature.statistics import document_gradients
from influence.data.query_tokens import encode_query
from influence.engine import query as query_module
from influence.engine.batching import Budget, TokenBatch, pad
from influence.engine.passes import backward
from influence.engine.query import query_gradients
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.selection import find_layers
from influence.types import Query


def captured(
    model: LanguageModel, layers: list[TrackedLayer], tokens: list[list[int]]
) -> tuple[dict[str, Tensor], Tensor]:
    gradients: dict[str, Tensor] = {}

    def keep(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        gradients[layers[index].name] = document_gradients(s_BTO, a_BTI)

    nll_B = backward(model, layers, pad(tokens, model.device), keep, what="the test")
    return gradients, nll_B


@pytest.mark.parametrize("selection", ["mlp", "all"])
def test_document_gradients_are_those_of_vmap_grad(dense: World, selection: str) -> None:
    layers = find_layers(dense.model.model, (selection,))
    expected = (
        dense.gradients
        if selection == "mlp"
        else dense_gradients(dense.model, layers, dense.tokens, [1] * len(dense.tokens))
    )
    found, _ = captured(dense.model, layers, dense.tokens)
    assert found.keys() == expected.keys()
    for name, g_DOI in expected.items():
        assert g_DOI.abs().max() > 1e-3
        torch.testing.assert_close(found[name], g_DOI, rtol=1e-9, atol=1e-12)


def test_padding_changes_no_gradient(dense: World) -> None:
    together, nll_B = captured(dense.model, dense.layers, dense.tokens)
    for row, tokens in enumerate(dense.tokens):
        alone, nll = captured(dense.model, dense.layers, [tokens])
        torch.testing.assert_close(nll_B[row], nll[0], rtol=1e-12, atol=0)
        for name, g_DOI in together.items():
            torch.testing.assert_close(g_DOI[row], alone[name][0], rtol=1e-9, atol=1e-12)


def test_nll_is_the_sum_of_a_plain_forward_pass(dense: World) -> None:
    _, nll_B = captured(dense.model, dense.layers, dense.tokens)
    expected = [negative_log_likelihood(dense.model, tokens, 1) for tokens in dense.tokens]
    torch.testing.assert_close(nll_B, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_query_gradients_and_information_count_completion_tokens_only(dense: World) -> None:
    queries = random_queries(5)
    found = query_gradients(dense.model, dense.layers, queries, MAX_LENGTH, Budget(60))
    encoded = [encode_query(dense.model.tokenizer, query, MAX_LENGTH) for query in queries]
    starts = [start for _, start in encoded]
    assert starts == [len(query.prompt) for query in queries]  # one token a character
    expected = dense_gradients(dense.model, dense.layers, [tokens for tokens, _ in encoded], starts)
    for index, layer in enumerate(dense.layers):
        torch.testing.assert_close(found.layer(index), expected[layer.name], rtol=1e-9, atol=1e-12)
    nll = [negative_log_likelihood(dense.model, tokens, start) for tokens, start in encoded]
    torch.testing.assert_close(found.nll, torch.tensor(nll, dtype=torch.float64), rtol=1e-12, atol=0)


def test_queries_run_longest_first_in_batches_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, sizes = world("llama"), []

    def watched(
        model: LanguageModel, layers: list[TrackedLayer], batch: TokenBatch, *args: Any, **named: Any
    ) -> Tensor:
        sizes.append(tuple(batch.input_ids.shape))
        return backward(model, layers, batch, *args, **named)

    monkeypatch.setattr(query_module, "backward", watched)
    queries = [Query(str(n), "task", "control", "a" * n, "bc") for n in (3, 20, 1, 8, 12, 2)]
    query_gradients(dense.model, dense.layers, queries, MAX_LENGTH, Budget(30))
    assert sizes == [(1, 22), (2, 14), (3, 5)]
