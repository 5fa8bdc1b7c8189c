"""Labels sampled from the model: the right distribution, reproducible, and the true Fisher in the limit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.stats import chisquare
from texts import MemoryCorpus, random_documents
from tiny import tiny_model
from torch import Tensor

from influence.config import FitConfig
from influence.curvature.statistics import sample_labels
from influence.engine import fit_parts as fit
from influence.engine.batching import pad
from influence.engine.fit import fit_hessian
from influence.engine.passes import backward
from influence.models.selection import find_layers
from influence.store.factors import Factors, load_tensors
from influence.types import Document

SUMS = ("activation_covariance", "gradient_covariance", "lambda_matrix")


def sums(factors: Factors) -> dict[str, dict[str, Tensor]]:
    return {name: load_tensors(factors.folder / f"{name}.safetensors") for name in SUMS}


def assert_equal_fits(one: Factors, other: Factors, rtol: float) -> None:
    """Covariances, and the matrix that the corrected eigenvalues make with their basis."""
    for name in SUMS[:2]:
        for layer, tensor in sums(one)[name].items():
            torch.testing.assert_close(
                sums(other)[name][layer], tensor, rtol=rtol, atol=rtol * float(tensor.abs().max())
            )
    for layer in one.layers:
        found, expected = sums(other)["lambda_matrix"][layer], sums(one)["lambda_matrix"][layer]
        # Directions of almost no curvature are free to turn; those that matter are not.
        torch.testing.assert_close(found.sum(), expected.sum(), rtol=rtol, atol=0)
        torch.testing.assert_close(found.max(), expected.max(), rtol=1e-6, atol=0)


def test_frequencies_are_the_models_probabilities() -> None:
    logits_V = torch.tensor([0.0, 1.0, -2.0, 3.0, float("-inf"), 0.5], dtype=torch.float64)
    count = 20_000
    uniform_BT = torch.rand(4, count // 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels_BT = sample_labels(logits_V.expand(4, count // 4, 6), uniform_BT)
    observed = torch.bincount(labels_BT.flatten(), minlength=6)
    assert observed[4] == 0
    kept = [0, 1, 2, 3, 5]
    assert chisquare(observed[kept].numpy(), (count * logits_V.softmax(-1))[kept].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_impossible_labels_are_never_drawn_even_at_the_ends(dtype: torch.dtype) -> None:
    logits_V = torch.tensor([float("-inf"), 0.3, float("-inf"), 1.1, float("-inf")], dtype=dtype)
    uniform_BT = torch.tensor([[0.0, 1e-300, 0.5, 1 - 1e-9, 1 - 2**-53]], dtype=torch.float64)
    labels_BT = sample_labels(logits_V.expand(1, 5, 5), uniform_BT)
    assert labels_BT[0, 0] == 1
    assert labels_BT[0, -1] == 3
    assert set(labels_BT.flatten().tolist()) <= {1, 3}


def test_each_position_has_its_own_distribution() -> None:
    """Nearly certain logits leave no choice: the label drawn at t is what position t predicts."""
    certain_BT = torch.tensor([[3, 0, 2], [1, 1, 4]])
    logits_BTV = 50.0 * torch.nn.functional.one_hot(certain_BT, 5).double()
    uniform_BT = torch.rand(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.equal(sample_labels(logits_BTV, uniform_BT), certain_BT)


def test_a_fit_is_reproducible_by_its_seed(tmp_path: Path) -> None:
    model, corpus = tiny_model("llama"), MemoryCorpus(random_documents(12, seed=1))
    first, again, other = (
        fit_hessian(model, corpus, out=tmp_path / name, config=FitConfig(seed=seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for name in SUMS:
        for layer in first.layers:
            assert torch.equal(sums(first)[name][layer], sums(again)[name][layer])
            assert name == "activation_covariance" or not torch.equal(
                sums(first)[name][layer], sums(other)[name][layer]
            )


def test_labels_do_not_depend_on_batches_or_on_the_order_of_documents(tmp_path: Path) -> None:
    model, documents = tiny_model("gpt2"), random_documents(12, seed=2)
    plain = fit_hessian(model, MemoryCorpus(documents), out=tmp_path / "plain")
    small = fit_hessian(model, MemoryCorpus(documents), out=tmp_path / "small", batch_tokens=35)
    turned = fit_hessian(model, MemoryCorpus(documents[::-1]), out=tmp_path / "turned")
    assert_equal_fits(plain, small, 1e-10)
    assert_equal_fits(plain, turned, 1e-10)


def test_the_two_passes_draw_their_own_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the corrected eigenvalues would be those of the very sample that chose the basis."""
    drawn: list[Tensor] = []

    def watched(logits_BTV: Tensor, uniform_BT: Tensor) -> Tensor:
        drawn.append(uniform_BT)
        return sample_labels(logits_BTV, uniform_BT)

    monkeypatch.setattr(fit, "sample_labels", watched)
    fit_hessian(tiny_model("llama"), MemoryCorpus(random_documents(12, seed=1)), out=tmp_path / "fit")
    first, second = drawn
    assert first.shape == second.shape
    assert (first != second).sum() == (first > 0).sum()
    assert len(first[first > 0].unique()) == (first > 0).sum()


def test_sampled_fisher_converges_to_the_expectation_over_labels(tmp_path: Path) -> None:
    """Two tokens, one prediction: the expectation is an explicit sum over the vocabulary."""
    model, count = tiny_model("gpt2", n_inner=24), 4000
    corpus = MemoryCorpus([Document(f"d{i}", "ab") for i in range(count)])
    factors = fit_hessian(model, corpus, out=tmp_path / "fit", batch_tokens=8000)
    layers = find_layers(model.model)
    (tokens,) = [model.tokenizer("ab")["input_ids"]]
    probabilities = model.model(input_ids=torch.tensor([tokens])).logits[0, 0].softmax(-1).detach()
    expected_s = {
        layer.name: torch.zeros(layer.outputs, layer.outputs, dtype=torch.float64) for layer in layers
    }
    expected_lam = {layer.name: torch.zeros(layer.shape, dtype=torch.float64) for layer in layers}
    for label, probability in enumerate(probabilities):

        def add(index: int, a_BTI: Tensor, s_BTO: Tensor, weight: Tensor = probability) -> None:
            name = layers[index].name
            fitted = factors.layer(name)
            expected_s[name] += weight * s_BTO[0].T @ s_BTO[0]
            rotated = fitted.gradient_eigenvectors.T @ s_BTO[0].T @ a_BTI[0] @ fitted.activation_eigenvectors
            expected_lam[name] += weight * rotated.square()

        backward(model, layers, pad([[tokens[0], label]], model.device), add, what="the test")
    for layer in layers:
        mean_s = load_tensors(factors.folder / "gradient_covariance.safetensors")[layer.name] / count
        assert (mean_s - expected_s[layer.name]).norm() < 0.08 * expected_s[layer.name].norm()
        lam = factors.layer(layer.name).lam
        assert (lam - expected_lam[layer.name]).norm() < 0.08 * expected_lam[layer.name].norm()
