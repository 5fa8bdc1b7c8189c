"""Sketches against the exact dot products they estimate, in float64, on layers made of random numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from dense_world import precondition
from torch import Tensor

from influence.curvature.sketch import (
    LayerSketch,
    Metric,
    best_sizes,
    even_sizes,
    layer_metric,
    layer_sketch,
    leading_rows,
    low_rank,
    random_rows,
    sketch_documents,
    sketch_queries,
)
from influence.curvature.statistics import document_gradients
from influence.types import LayerFactors

OUTPUTS, INPUTS, TOKENS, DOCUMENTS, QUERIES = 6, 9, 7, 5, 4
DAMPING = 0.1


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def factors() -> LayerFactors:
    """Eigenvalues over four orders of magnitude, far from rank one."""
    return LayerFactors(
        activation_eigenvectors=torch.linalg.qr(numbers(INPUTS, INPUTS, seed=1)).Q,
        gradient_eigenvectors=torch.linalg.qr(numbers(OUTPUTS, OUTPUTS, seed=2)).Q,
        lam=(2 * numbers(OUTPUTS, INPUTS, seed=3)).exp(),
    )


S_BTO, A_BTI = numbers(DOCUMENTS, TOKENS, OUTPUTS, seed=4), numbers(DOCUMENTS, TOKENS, INPUTS, seed=5)
G_QOI = numbers(QUERIES, OUTPUTS, INPUTS, seed=6)
G_DOI = document_gradients(S_BTO, A_BTI)
P_QOI = precondition(G_QOI, factors(), DAMPING)
EXACT_QD = P_QOI.flatten(1) @ G_DOI.flatten(1).T
METRIC = layer_metric(factors(), (OUTPUTS, INPUTS), DAMPING)


def estimate(sketch: LayerSketch, p_QOI: Tensor = P_QOI) -> Tensor:
    return sketch_queries(p_QOI, sketch) @ sketch_documents(S_BTO, A_BTI, sketch).T


def rows_of(kind: str, metric: Metric, kept_S: int, kept_A: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    if kind == "random":
        generator = torch.Generator().manual_seed(seed)
        return random_rows(kept_S, OUTPUTS, generator), random_rows(kept_A, INPUTS, generator)
    if kind == "weighted":
        moments = metric.weight_OI.sum(1).diag(), metric.weight_OI.sum(0).diag()
    else:
        white_QOI = metric.white_queries(G_QOI)
        moments = (white_QOI @ white_QOI.mT).sum(0), (white_QOI.mT @ white_QOI).sum(0)
    return leading_rows(moments[0])[0][:kept_S], leading_rows(moments[1])[0][:kept_A]


@pytest.mark.parametrize("kind", ["random", "weighted", "data"])
def test_a_sketch_of_full_rank_gives_the_exact_score(kind: str) -> None:
    sketch = layer_sketch(METRIC, *rows_of(kind, METRIC, OUTPUTS, INPUTS))
    assert sketch.size == OUTPUTS * INPUTS
    torch.testing.assert_close(estimate(sketch), EXACT_QD, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["random", "weighted", "data"])
def test_without_a_hessian_it_is_the_dot_product_of_gradients(kind: str) -> None:
    metric = layer_metric(None, (OUTPUTS, INPUTS), DAMPING)
    sketch = layer_sketch(metric, *rows_of(kind, metric, OUTPUTS, INPUTS))
    torch.testing.assert_close(estimate(sketch, G_QOI), G_QOI.flatten(1) @ G_DOI.flatten(1).T)


def test_where_the_eigenvalues_have_rank_one_both_sides_are_white_coordinates() -> None:
    """Then query and document are `(Q_Sᵀ G Q_A) / sqrt(lam + damping)` of their own gradients."""
    lam = torch.outer(torch.arange(1.0, OUTPUTS + 1), torch.arange(1.0, INPUTS + 1)).double()
    own = LayerFactors(factors().activation_eigenvectors, factors().gradient_eigenvectors, lam)
    metric = layer_metric(own, (OUTPUTS, INPUTS), 1e-12)
    sketch = layer_sketch(metric, torch.eye(OUTPUTS).double(), torch.eye(INPUTS).double())
    rotated_DOI = own.gradient_eigenvectors.mT @ G_DOI @ own.activation_eigenvectors
    torch.testing.assert_close(
        sketch_documents(S_BTO, A_BTI, sketch), (rotated_DOI / lam.sqrt()).flatten(1), rtol=1e-8, atol=1e-8
    )
    torch.testing.assert_close(
        sketch_queries(precondition(G_QOI, own, 1e-12), sketch),
        metric.white_queries(G_QOI).flatten(1),
        rtol=1e-8,
        atol=1e-8,
    )


def test_white_queries_are_the_preconditioned_ones_in_the_eigenbasis() -> None:
    eye_S, eye_A = torch.eye(OUTPUTS).double(), torch.eye(INPUTS).double()
    torch.testing.assert_close(
        sketch_queries(P_QOI, layer_sketch(METRIC, eye_S, eye_A)), METRIC.white_queries(G_QOI).flatten(1)
    )


def test_random_sketches_are_unbiased() -> None:
    """The mean of many draws lies within five standard errors of the exact scores."""
    draws = torch.stack(
        [estimate(layer_sketch(METRIC, *rows_of("random", METRIC, 3, 4, seed))) for seed in range(4000)]
    )
    error_QD = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - EXACT_QD).abs() < 5 * error_QD).all()
    assert (error_QD < 0.1 * EXACT_QD.abs().mean()).all()  # the test could see a bias


def test_more_of_the_leading_rows_of_these_queries_never_estimate_worse_on_white_documents() -> None:
    errors = []
    for kept in range(1, OUTPUTS + 1):
        sketch = layer_sketch(METRIC, *rows_of("data", METRIC, kept, INPUTS))
        errors.append(
            float(METRIC.white_queries(G_QOI).square().sum() - sketch_queries(P_QOI, sketch).square().sum())
        )
    assert all(a >= b - 1e-9 for a, b in pairwise(errors))
    assert errors[0] > 0.1 * errors[0] > abs(errors[-1])


@pytest.mark.parametrize("tokens", [1, 200])
def test_projecting_tokens_or_gradients_is_the_same(tokens: int) -> None:
    """One token is cheaper to project; of many, the gradient."""
    s_BTO, a_BTI = numbers(3, tokens, OUTPUTS, seed=7), numbers(3, tokens, INPUTS, seed=8)
    sketch = layer_sketch(METRIC, *rows_of("random", METRIC, OUTPUTS - 1, INPUTS - 1))
    expected = sketch.left @ document_gradients(s_BTO, a_BTI) @ sketch.right.mT
    torch.testing.assert_close(sketch_documents(s_BTO, a_BTI, sketch), expected.flatten(1))


@pytest.mark.parametrize("budget", [3, 50, 400, 5000])
def test_sizes_stay_within_the_budget_and_the_layers(budget: int) -> None:
    shapes = [(6, 9), (30, 8), (8, 30)]
    spectra = [
        (torch.rand(o).sort(descending=True).values, torch.rand(i).sort(descending=True).values)
        for o, i in shapes
    ]
    spectra = [(s / s.sum(), a / a.sum()) for s, a in spectra]
    for sizes in (even_sizes(shapes, budget), best_sizes(spectra, budget)):
        assert sum(s * a for s, a in sizes) <= budget
        assert all(1 <= s <= o and 1 <= a <= i for (s, a), (o, i) in zip(sizes, shapes, strict=True))
    if budget >= sum(o * i for o, i in shapes):
        assert even_sizes(shapes, budget) == best_sizes(spectra, budget) == shapes


def test_the_budget_goes_where_contributions_are() -> None:
    flat, steep = torch.ones(16) / 16, torch.tensor([1.0] + [0.0] * 15)
    (of_flat, of_steep) = best_sizes([(flat, flat), (steep, steep)], 150)
    assert of_steep == (1, 1)
    assert of_flat[0] * of_flat[1] > 100


def rebuilt(rank: int, start: int) -> Tensor:
    """`<Y_q, Σ σ u vᵀ>` in white coordinates."""
    sketch = layer_sketch(METRIC, torch.eye(OUTPUTS).double(), torch.eye(INPUTS).double())
    values_BR, u_BRS, v_BRA = low_rank(
        S_BTO, A_BTI, sketch, numbers(start, OUTPUTS, seed=9) @ sketch.left, rank
    )
    z_BSA = (u_BRS * values_BR[..., None]).mT @ v_BRA
    return METRIC.white_queries(G_QOI).flatten(1) @ z_BSA.flatten(1).T


def test_all_singular_pairs_of_a_document_give_the_exact_score() -> None:
    torch.testing.assert_close(rebuilt(OUTPUTS, OUTPUTS), EXACT_QD, rtol=1e-8, atol=1e-8)


def test_the_leading_singular_pairs_are_those_of_the_white_gradient() -> None:
    sketch = layer_sketch(METRIC, torch.eye(OUTPUTS).double(), torch.eye(INPUTS).double())
    z_DSA = sketch.left @ G_DOI @ sketch.right.mT
    values_BR, u_BRS, v_BRA = low_rank(
        S_BTO, A_BTI, sketch, numbers(OUTPUTS, OUTPUTS, seed=9) @ sketch.left, 2
    )
    u, values, vh = torch.linalg.svd(z_DSA)
    torch.testing.assert_close(values_BR, values[:, :2])
    torch.testing.assert_close((u_BRS * (u[:, :, :2].mT)).sum(-1).abs(), torch.ones_like(values_BR))
    torch.testing.assert_close((v_BRA * vh[:, :2]).sum(-1).abs(), torch.ones_like(values_BR))


def test_a_document_of_fewer_tokens_than_pairs_is_kept_whole_and_one_without_gradient_is_zero() -> None:
    """Two tokens have rank two; the rest of the pairs is 0, and nothing is NaN."""
    sketch = layer_sketch(METRIC, torch.eye(OUTPUTS).double(), torch.eye(INPUTS).double())
    s_BTO, a_BTI = S_BTO.clone(), A_BTI
    s_BTO[0, 2:] = 0
    s_BTO[1] = 0
    values_BR, u_BRS, v_BRA = low_rank(s_BTO, a_BTI, sketch, numbers(5, OUTPUTS, seed=9) @ sketch.left, 4)
    assert (values_BR[0, 2:] == 0).all()
    assert (values_BR[1] == 0).all()
    z_BSA = (u_BRS * values_BR[..., None]).mT @ v_BRA
    expected = sketch.left @ document_gradients(s_BTO, a_BTI) @ sketch.right.mT
    torch.testing.assert_close(z_BSA[:2], expected[:2], rtol=1e-7, atol=1e-7)
