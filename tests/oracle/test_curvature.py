"""The Kronecker factors and what is made of them against the dense empirical Fisher."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from dense_world import World, dense_covariances, precondition

from influence.curvature import statistics
from influence.curvature.dense import ekfac_matrix, fisher, kfac_matrix, solve
from influence.curvature.ekfac import damping
from influence.curvature.statistics import add_covariance, squared_rotated_gradients, symmetric
from influence.store.factors import Factors, load_tensors


def test_covariances_are_sums_over_real_tokens(dense: World, factors: Factors) -> None:
    activation = load_tensors(factors.folder / "activation_covariance.safetensors")
    gradient = load_tensors(factors.folder / "gradient_covariance.safetensors")
    for layer in dense.layers:
        a_sum, s_sum = dense_covariances(dense.model, layer.name, dense.tokens)
        torch.testing.assert_close(activation[layer.name], a_sum, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(gradient[layer.name], s_sum, rtol=1e-9, atol=1e-10)


def test_eigenvectors_diagonalise_the_covariances(dense: World, factors: Factors) -> None:
    for kind in ("activation", "gradient"):
        tensors = {
            name: load_tensors(factors.folder / f"{kind}_{name}.safetensors")
            for name in ("covariance", "eigenvectors", "eigenvalues")
        }
        for layer in dense.layers:
            q, values = tensors["eigenvectors"][layer.name], tensors["eigenvalues"][layer.name]
            mean = tensors["covariance"][layer.name] / sum(dense.lengths)
            torch.testing.assert_close(q @ torch.diag(values) @ q.mT, mean, rtol=1e-9, atol=1e-11)
            torch.testing.assert_close(q.mT @ q, torch.eye(len(q), dtype=q.dtype), rtol=0, atol=1e-12)


def test_corrected_eigenvalues_are_the_diagonal_of_the_rotated_fisher(dense: World, factors: Factors) -> None:
    for layer in dense.layers:
        fitted = factors.layer(layer.name)
        fisher_PP = fisher(dense.gradients[layer.name].flatten(1))
        q_S, q_A = fitted.gradient_eigenvectors, fitted.activation_eigenvectors
        basis = torch.kron(q_S, q_A)
        diagonal = (basis.mT @ fisher_PP @ basis).diagonal()
        torch.testing.assert_close(fitted.lam.flatten(), diagonal, rtol=1e-8, atol=1e-12)
        swapped = torch.kron(q_A, q_S)
        wrong = (swapped.mT @ fisher_PP @ swapped).diagonal().view(q_A.shape[0], q_S.shape[0]).mT
        assert (fitted.lam - wrong).norm() > 0.1 * fitted.lam.norm()


def test_ekfac_is_the_better_approximation_and_has_the_trace_of_the_fisher(
    dense: World, factors: Factors
) -> None:
    tokens = sum(dense.lengths)
    activation = load_tensors(factors.folder / "activation_covariance.safetensors")
    gradient = load_tensors(factors.folder / "gradient_covariance.safetensors")
    for layer in dense.layers:
        fisher_PP = fisher(dense.gradients[layer.name].flatten(1))
        ekfac_PP = ekfac_matrix(factors.layer(layer.name))
        kfac_PP = kfac_matrix(
            activation[layer.name] / tokens, gradient[layer.name] / tokens, tokens / len(dense.tokens)
        )
        assert (fisher_PP - ekfac_PP).norm() < (fisher_PP - kfac_PP).norm()
        torch.testing.assert_close(ekfac_PP.trace(), fisher_PP.trace(), rtol=1e-10, atol=0)
        # K-FAC in its own eigenbasis differs from EK-FAC in the eigenvalues only.
        q_S = factors.layer(layer.name).gradient_eigenvectors
        q_A = factors.layer(layer.name).activation_eigenvectors
        basis = torch.kron(q_S, q_A)
        rotated = basis.mT @ kfac_PP @ basis
        assert (rotated - torch.diag(rotated.diagonal())).norm() < 1e-9 * rotated.norm()


def test_preconditioned_gradient_is_the_dense_solve(dense: World, factors: Factors) -> None:
    for layer in dense.layers:
        fitted = factors.layer(layer.name)
        g_DOI = dense.gradients[layer.name]
        amount = damping(fitted.lam, 0.1)
        torch.testing.assert_close(amount, 0.1 * fitted.lam.mean(), rtol=1e-14, atol=0)
        expected = solve(ekfac_matrix(fitted), amount, g_DOI.flatten(1)).view_as(g_DOI)
        torch.testing.assert_close(precondition(g_DOI, fitted, 0.1), expected, rtol=1e-7, atol=1e-10)


def test_large_damping_leaves_the_gradient(dense: World, factors: Factors) -> None:
    layer = dense.layers[0].name
    fitted, g_DOI = factors.layer(layer), dense.gradients[layer]
    preconditioned = precondition(g_DOI, fitted, 1e9) * damping(fitted.lam, 1e9)
    assert (preconditioned - g_DOI).norm() < 1e-6 * g_DOI.norm()


@pytest.mark.parametrize(
    ("tokens", "inputs", "outputs", "rotates_tokens"),
    [(3, 20, 17, True), (40, 5, 6, False), (3, 30, 2, False)],
)
def test_both_ways_of_rotating_and_any_stack_size_agree(
    tokens: int, inputs: int, outputs: int, rotates_tokens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    s_BTO = torch.randn(9, tokens, outputs, generator=generator, dtype=torch.float64)
    a_BTI = torch.randn(9, tokens, inputs, generator=generator, dtype=torch.float64)
    q_S, _ = torch.linalg.qr(torch.randn(outputs, outputs, generator=generator, dtype=torch.float64))
    q_A, _ = torch.linalg.qr(torch.randn(inputs, inputs, generator=generator, dtype=torch.float64))
    gradient_BOI = torch.stack([s.mT @ a for s, a in zip(s_BTO, a_BTI, strict=True)])
    expected_OI = (q_S.mT @ gradient_BOI @ q_A).square().sum(0)
    original_stacks = statistics.gradient_stacks
    rotated: list[bool] = []

    def stacks(s: torch.Tensor, a: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        rotated.append(not torch.equal(a, a_BTI))
        return original_stacks(s, a)

    monkeypatch.setattr(statistics, "gradient_stacks", stacks)
    for elements in (1 << 25, 2 * inputs * outputs, 1):
        monkeypatch.setattr(statistics, "GRADIENT_STACK_ELEMENTS", elements)
        found_OI = squared_rotated_gradients(s_BTO, a_BTI, q_S, q_A, torch.float64)
        torch.testing.assert_close(found_OI, expected_OI, rtol=1e-10, atol=1e-10)
    assert rotated == [rotates_tokens] * 3


@pytest.mark.parametrize("width", [5, 128, 300])
def test_a_covariance_from_its_upper_blocks_is_the_whole_one(width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x_BTN = torch.randn(3, 4, width, generator=generator, dtype=torch.float64)
    mask_BT = torch.tensor(
        [[True, True, True, True], [True, True, False, False], [True, False, False, False]]
    )
    total = torch.zeros(width, width, dtype=torch.float64)
    for _ in range(2):
        add_covariance(total, x_BTN, mask_BT)
    x_KN = x_BTN[mask_BT]
    torch.testing.assert_close(symmetric(total), 2 * x_KN.mT @ x_KN)
