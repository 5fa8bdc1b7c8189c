"""A value that is not finite is reported when it appears, with the layer and the documents, and nothing is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stores import without_checksums
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import FitConfig
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.errors import ComputeError, StoreError
from influence.models.load import LanguageModel
from influence.store.factors import load_tensors, open_factors, save_tensors
from influence.types import Document

CORPUS = MemoryCorpus(random_documents(6, longest=20))
MLP = {
    "llama": ("model.layers.{}.mlp.", "gate_proj", "down_proj"),
    "gpt2": ("transformer.h.{}.mlp.", "c_fc", "c_proj"),
}


def broken(family: str, name: str, value: float) -> LanguageModel:
    """One number of one weight is not finite."""
    model = tiny_model(family)
    with torch.no_grad():
        model.model.get_parameter(name)[0, 0] = value
    return model


@pytest.mark.parametrize("family", MLP)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_weight_is_named_with_the_layer_that_first_sees_it(
    tmp_path: Path, family: str, value: float
) -> None:
    prefix, first, last = MLP[family]
    weight = f"{prefix.format(1)}{first}.weight"
    with pytest.raises(ComputeError) as caught:
        fit_hessian(broken(family, weight, value), CORPUS, out=tmp_path / "fit")
    assert f"going into layer {prefix.format(1)}{last}," in caught.value.message
    assert "pass “covariances”, a batch of 6 documents: d" in caught.value.message
    assert caught.value.have == f"weights that are not finite: {weight}"
    assert "checkpoint is damaged" in str(caught.value.fix)
    assert not list((tmp_path / "fit").glob("*covariance*"))


@pytest.mark.parametrize("family", MLP)
def test_the_last_weight_shows_in_the_gradients_only(tmp_path: Path, family: str) -> None:
    prefix, _, last = MLP[family]
    name = f"{prefix.format(1)}{last}"
    with pytest.raises(ComputeError, match=f"coming back to layer {name}, in") as caught:
        fit_hessian(broken(family, f"{name}.weight", float("nan")), CORPUS, out=tmp_path / "fit")
    assert caught.value.have == f"weights that are not finite: {name}.weight"


def test_it_is_reported_in_the_pass_and_the_documents_where_it_appears(tmp_path: Path) -> None:
    """The embedding of one character is broken: only the document that holds it is to blame."""
    model = tiny_model("llama")
    (token,) = model.tokenizer("J")["input_ids"]
    corpus = MemoryCorpus([*CORPUS.documents, Document("culprit", "aaJ"), Document("other", "aab")])
    factors = fit_hessian(model, CORPUS, out=tmp_path / "fit")
    queries = random_queries(2)
    with torch.no_grad():
        model.model.get_input_embeddings().weight[token] = float("inf")
    model = LanguageModel(model.model, model.tokenizer)
    clean = fit_hessian(model, CORPUS, out=tmp_path / "clean")  # nobody reads that embedding
    with pytest.raises(ComputeError, match=r"layers\.0\..*a batch of 1 documents: culprit\."):
        score(model, clean, queries, corpus, tmp_path / "run", batch_tokens=1)
    queries[1] = type(queries[1])("bad", "t", "control", "a", "bJ")
    with pytest.raises(ComputeError, match=r"in the queries .*bad"):
        score(model, clean, queries, CORPUS, tmp_path / "queries")
    assert not (tmp_path / "run" / "scores.safetensors").exists()
    assert factors.layers == clean.layers


def test_values_too_large_for_the_dtype_are_reported(tmp_path: Path) -> None:
    model = tiny_model("llama", dtype=torch.float32)
    with torch.no_grad():
        model.model.get_parameter("model.layers.1.mlp.up_proj.weight").fill_(3e38)
    with pytest.raises(ComputeError, match=r"going into layer model\.layers\.1\.mlp\.down_proj") as caught:
        fit_hessian(model, CORPUS, out=tmp_path / "fit")
    assert caught.value.have is None
    assert "bfloat16" in str(caught.value.fix)


def test_layers_without_gradient_contribute_nothing_and_are_named(tmp_path: Path) -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.model.layers[1].mlp.down_proj.weight.zero_()
    factors = fit_hessian(model, CORPUS, out=tmp_path / "fit")
    rest = fit_hessian(
        model, CORPUS, out=tmp_path / "rest", config=FitConfig(layers=("*.0.mlp.*", "*.1.mlp.down_proj"))
    )
    assert factors.manifest is not None
    summary = factors.manifest["provenance"]["summary"]
    assert "2 tracked layers have no gradient on any document and contribute nothing: " in summary
    assert "model.layers.1.mlp.gate_proj, model.layers.1.mlp.up_proj" in summary
    assert sorted(factors.layers) == sorted(rest.layers)
    queries = random_queries(1)
    both = [score(model, f, queries, CORPUS, tmp_path / f"run-{f.folder.name}").dot for f in (factors, rest)]
    assert np.isfinite(both[0]).all()
    np.testing.assert_allclose(both[0], both[1], rtol=1e-10)
    with pytest.raises(ComputeError, match="The gradient of all 1 tracked layers is zero on every document"):
        fit_hessian(model, CORPUS, out=tmp_path / "dead", config=FitConfig(layers=("*.1.mlp.up_proj",)))


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("lambda_matrix", float("nan"), "lambda_matrix of .*up_proj .* is not finite"),
        ("gradient_eigenvectors", float("inf"), "gradient_eigenvectors of .*up_proj .* is not finite"),
        ("lambda_matrix", 0.0, "up_proj has no curvature"),
    ],
)
def test_damaged_factors_are_refused_by_layer(tmp_path: Path, kind: str, value: float, message: str) -> None:
    model = tiny_model("llama")
    folder = fit_hessian(model, CORPUS, out=tmp_path / "fit").folder
    tensors = load_tensors(folder / f"{kind}.safetensors")
    tensors["model.layers.1.mlp.up_proj"].fill_(value)
    save_tensors(folder / f"{kind}.safetensors", tensors)
    without_checksums(folder)
    with pytest.raises(StoreError, match=message):
        score(model, open_factors(folder), random_queries(1), CORPUS, tmp_path / "run")
