"""Exact Gauss–Newton products and conjugate gradients against dense matrices, with and without biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from dense_world import dense_gradients, world
from torch import Tensor
from torch.func import functional_call, jacrev
from transformers.pytorch_utils import Conv1D

from influence.curvature.conjugate import conjugate_gradients
from influence.curvature.dense import solve
from influence.curvature.ekfac import damping
from influence.engine.batching import TokenBatch, pad
from influence.engine.fit import fit_hessian
from influence.engine.gauss_newton import EkfacInverse, GaussNewton, TrackedWeights
from influence.errors import ModelError
from influence.models.layers import TrackedLayer
from influence.models.selection import find_layers

DAMPING, DOCUMENTS = 0.1, 3
#: The norms of Llama compute in float32 whatever the weights are.
ROUNDING = {"llama": 1e-5, "gpt2": 1e-10}


@dataclass
class Exact:
    """A model's products, and the same matrix dense."""

    weights: TrackedWeights
    batches: list[TokenBatch]
    products: GaussNewton
    inverse: EkfacInverse
    dense_PP: Tensor
    gradients_DP: Tensor
    rounding: float

    def assert_equal(self, a: Tensor, b: Tensor) -> None:
        torch.testing.assert_close(a, b, rtol=self.rounding, atol=self.rounding * float(b.abs().max()))


def flat(jacobian: Mapping[str, Tensor], layers: list[TrackedLayer]) -> Tensor:
    """`[T, V, P]`."""
    parts = []
    for layer in layers:
        weight = jacobian[f"{layer.name}.weight"]
        j_TVOI = weight.mT if isinstance(layer.module, Conv1D) else weight
        if layer.has_bias:
            j_TVOI = torch.cat([j_TVOI, jacobian[f"{layer.name}.bias"][..., None]], -1)
        parts.append(j_TVOI.flatten(2))
    return torch.cat(parts, 2)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def exact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exact:
    made = world(request.param)
    factors = fit_hessian(made.model, made.corpus, out=tmp_path_factory.mktemp("fit") / "hessian")
    weights, tokens = TrackedWeights(made.model, made.layers), made.tokens[:DOCUMENTS]
    batches = [pad(tokens[:2], made.model.device), pad(tokens[2:], made.model.device)]
    total = torch.zeros((), dtype=torch.float64)
    for ids in tokens:

        def logits(values: dict[str, Tensor], ids: list[int] = ids) -> Tensor:
            row = torch.tensor([ids])
            return functional_call(made.model.model, values, (row,), {"use_cache": False}).logits[0, :-1]

        j_TVP = flat(jacrev(logits)(weights.values), made.layers).detach()
        p_TV = logits(weights.values).softmax(-1).detach()
        mean_TP = torch.einsum("tv,tvp->tp", p_TV, j_TVP)
        centred_NP = ((j_TVP - mean_TP[:, None]) * p_TV.sqrt()[..., None]).flatten(0, 1)
        total = total + centred_NP.mT @ centred_NP
    shift = [
        damping(factors.layer(layer.name).lam, DAMPING).repeat(layer.shape[0] * layer.shape[1])
        for layer in made.layers
    ]
    dense_PP = total / DOCUMENTS + torch.diag(torch.cat(shift))
    g_of = dense_gradients(made.model, made.layers, tokens, [1] * DOCUMENTS)
    inverse = EkfacInverse(weights, factors, DAMPING)
    gradients_DP = torch.cat([g_of[layer.name].flatten(1) for layer in made.layers], 1)
    return Exact(
        weights,
        batches,
        GaussNewton(weights, batches, inverse.dampings),
        inverse,
        dense_PP,
        gradients_DP,
        ROUNDING[request.param],
    )


def test_products_are_those_of_the_dense_matrix(exact: Exact) -> None:
    vector_P = torch.randn(
        len(exact.dense_PP), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    exact.assert_equal(exact.products(vector_P), exact.dense_PP @ vector_P)
    along_B = torch.cat([exact.weights.along(vector_P, batch) for batch in exact.batches])
    exact.assert_equal(along_B, exact.gradients_DP @ vector_P)
    g_P = sum((exact.weights.gradient(batch) for batch in exact.batches), torch.zeros(()))
    exact.assert_equal(g_P, exact.gradients_DP.sum(0))


def test_conjugate_gradients_find_the_dense_solution(exact: Exact) -> None:
    g_P = exact.gradients_DP[0]

    def dense(vector_P: Tensor) -> Tensor:
        return exact.dense_PP @ vector_P

    found = conjugate_gradients(dense, g_P, exact.inverse, 1e-7, 3000)
    expected_P = solve(exact.dense_PP, 0.0, g_P[None])[0]
    assert found.residual <= 1.1e-7
    torch.testing.assert_close(found.x, expected_P, rtol=1e-4, atol=1e-5 * float(expected_P.abs().max()))
    start_P = exact.inverse(g_P)
    left = torch.linalg.vector_norm(g_P - dense(start_P)) / torch.linalg.vector_norm(g_P)
    assert found.first == pytest.approx(float(left), rel=1e-6)
    by_products = conjugate_gradients(exact.products, g_P, exact.inverse, 1e-10, 2)
    short = conjugate_gradients(dense, g_P, exact.inverse, 1e-10, 2)
    assert by_products.steps == short.steps == 2
    exact.assert_equal(by_products.x, short.x)
    assert by_products.residual == pytest.approx(short.residual, rel=1e-4)


def test_layers_over_the_vocabulary_are_refused() -> None:
    model = world("llama").model
    with pytest.raises(ModelError, match="for linear layers only"):
        TrackedWeights(model, find_layers(model.model, ("head",)))
