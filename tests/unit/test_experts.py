"""Fused experts and routers are tracked one by one; the model leaves as it came."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from texts import MemoryCorpus, random_documents, random_queries
from tiny import character_tokenizer, tiny_model
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from influence.config import FitConfig, ScoreConfig
from influence.curvature.statistics import document_gradients
from influence.engine.batching import pad
from influence.engine.decompose import decompose
from influence.engine.fit import fit_hessian
from influence.engine.passes import backward
from influence.engine.score import score
from influence.errors import ComputeError, ModelError
from influence.models.load import LanguageModel
from influence.models.quantised import QuantisedLinear
from influence.models.routers import router_part
from influence.models.selection import find_layers
from influence.store.factors import load_tensors
from influence.types import Document

DOCUMENTS = random_documents(12)
CORPUS = MemoryCorpus(DOCUMENTS)
QUERIES = random_queries(2)


def mixture(family: str = "mixtral", experts: int = 4, choices: int = 2, **settings: Any) -> LanguageModel:
    """A tiny model in float64, whose own products of experts are those that float64 has."""
    model = tiny_model(family, num_local_experts=experts, num_experts_per_tok=choices, **settings)
    model.model.set_experts_implementation("eager")
    return model


def count(model: LanguageModel, *selection: str, exclude: tuple[str, ...] = ()) -> int:
    return len(find_layers(model.model, selection, exclude))


def test_layers_are_chosen_by_words_globs_and_names() -> None:
    model = mixture()
    assert [layer.name for layer in find_layers(model.model, ("*.0.mlp.experts.1.*",))] == [
        f"model.layers.0.mlp.experts.1.{x}_proj" for x in ("gate_up", "down")
    ]
    assert count(model, "experts") == count(model, "*.experts") == 2 * 4 * 2
    assert count(model, "router") == count(model, "*.gate") == 2
    assert count(model, "mlp") == 2 * (4 * 2 + 1)
    assert count(model, "all") == 2 * (4 * 2 + 1 + 4)
    assert count(model, "mlp", exclude=("*.experts",)) == 2
    assert count(model, "model.layers.1.mlp.experts.3.down_proj") == 1
    assert all("experts" not in layer.name for layer in find_layers(model.model, ("router",)))


def test_a_linear_layer_called_gate_is_seen_as_any_other() -> None:
    plain = nn.Linear(4, 3)
    adapted = peft.tuners.lora.Linear(nn.Linear(4, 3), "default", peft.LoraConfig(r=2), r=2)
    for module in (plain, QuantisedLinear(plain), adapted):
        assert router_part("model.layers.0.mlp.gate", module) is None
    gate = mixture().model.model.layers[0].mlp.gate
    assert router_part("model.layers.0.mlp.gate", gate) is gate


def gradients(model: LanguageModel, selection: tuple[str, ...], texts: list[list[int]]) -> list[Tensor]:
    """`G_d` of each layer, `[D, O, I]`."""
    layers = find_layers(model.model, selection)
    result: dict[int, Tensor] = {}
    backward(
        model,
        layers,
        pad(texts, model.device),
        lambda index, a, s: result.update({index: document_gradients(s, a)}),
        what="the test",
    )
    return [result[index] for index in range(len(layers))]


def test_one_expert_is_an_ordinary_layer_to_the_last_digit(tmp_path: Path) -> None:
    model = mixture(experts=1, choices=1)
    dense = LanguageModel(copy.deepcopy(model.model), model.tokenizer)

    class Dense(nn.Module):
        def __init__(self, block: Any) -> None:
            super().__init__()
            gate_up, down = block.experts.gate_up_proj[0], block.experts.down_proj[0]
            self.gate_up_proj = nn.Linear(*gate_up.mT.shape, bias=False, dtype=gate_up.dtype)
            self.down_proj = nn.Linear(*down.mT.shape, bias=False, dtype=down.dtype)
            self.gate_up_proj.weight, self.down_proj.weight = nn.Parameter(gate_up), nn.Parameter(down)

        def forward(self, hidden: Tensor) -> Tensor:
            gate, up = self.gate_up_proj(hidden).chunk(2, dim=-1)
            result: Tensor = self.down_proj(nn.functional.silu(gate) * up)
            return result

    for block in dense.model.model.layers:
        block.mlp = Dense(block.mlp)
    texts = [dense.tokenizer(d.text)["input_ids"] for d in DOCUMENTS]
    pairs = zip(
        gradients(model, ("experts",), texts),
        gradients(dense, ("*.gate_up_proj", "*.down_proj"), texts),
        strict=True,
    )
    assert all(torch.equal(found, expected) for found, expected in pairs)
    runs = []
    for name, net, chosen, covariances in (
        ("experts", model, ("experts",), "shared"),
        ("dense", dense, ("*.gate_up_proj", "*.down_proj"), "own"),
    ):
        config = FitConfig(layers=chosen, empirical=True, expert_covariances=covariances)
        factors = fit_hessian(net, CORPUS, out=tmp_path / f"{name}-fit", config=config)
        runs.append(score(net, factors, QUERIES, CORPUS, tmp_path / name))
    assert np.array_equal(runs[0].dot, runs[1].dot)
    assert np.array_equal(runs[0].gradient_norm, runs[1].gradient_norm)


@pytest.mark.parametrize(
    ("family", "error"),
    [("mixtral", None), ("mixtral", 0.1), ("gpt_oss", None)],
    ids=["whole", "compressed", "biased"],
)
def test_batches_and_order_change_no_score(tmp_path: Path, family: str, error: float | None) -> None:
    model = mixture(family, head_dim=8)
    order = [5, 3, 8, 0, 11, 1, 10, 2, 4, 7, 9, 6]
    found = []
    for name, corpus, size in (
        ("together", CORPUS, 400),
        ("alone", CORPUS, 1),
        ("shuffled", MemoryCorpus([DOCUMENTS[i] for i in order]), 100),
    ):
        config = FitConfig(layers=("all",), empirical=True)
        factors = fit_hessian(model, corpus, out=tmp_path / f"{name}-fit", config=config, batch_tokens=size)
        scores = score(
            model,
            factors,
            QUERIES,
            corpus,
            tmp_path / name,
            config=ScoreConfig(query_error=error),
            batch_tokens=size,
        )
        columns = slice(None) if name != "shuffled" else np.argsort(order)
        found.append((np.asarray(scores.dot)[:, columns], np.asarray(scores.gradient_norm)[columns]))
    scale = np.abs(found[0][0]).max()
    for dot, norm in found[1:]:
        if error is None:
            np.testing.assert_allclose(dot, found[0][0], rtol=1e-7, atol=1e-9 * scale)
        np.testing.assert_allclose(norm, found[0][1], rtol=1e-10)
    covariances = [
        load_tensors(tmp_path / f"{name}-fit" / "activation_covariance.safetensors")
        for name in ("together", "alone")
    ]
    for name, matrix in covariances[0].items():
        torch.testing.assert_close(matrix, covariances[1][name], rtol=1e-10, atol=1e-10)


def test_the_covariance_of_an_expert_is_over_its_own_tokens(tmp_path: Path) -> None:
    model = mixture()
    expected = torch.zeros(16, 16, dtype=torch.float64)

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        nonlocal expected
        hidden_NH, index_NK, _ = inputs
        x_KH = hidden_NH[(index_NK == 2).any(1)]
        expected += x_KH.mT @ x_KH

    with torch.no_grad():
        handle = model.model.model.layers[1].mlp.experts.register_forward_hook(see)
        for document in DOCUMENTS:
            model.model(input_ids=torch.tensor([model.tokenizer(document.text)["input_ids"]]))
        handle.remove()
    fit_hessian(model, CORPUS, out=tmp_path / "fit", config=FitConfig(layers=("experts",), empirical=True))
    found = load_tensors(tmp_path / "fit" / "activation_covariance.safetensors")
    torch.testing.assert_close(found["model.layers.1.mlp.experts.2.gate_up_proj"], expected)


def test_experts_that_share_covariances_have_eigenvalues_of_their_own(tmp_path: Path) -> None:
    model, matrix = mixture(), "model.layers.1.mlp.experts.{}down_proj"
    stored, factors = {}, {}
    for kind in ("own", "shared"):
        config = FitConfig(layers=("mlp",), empirical=True, expert_covariances=kind)
        factors[kind] = fit_hessian(model, CORPUS, out=tmp_path / kind, config=config)
        stored[kind] = load_tensors(tmp_path / kind / "gradient_covariance.safetensors")
    whole = sum(stored["own"][matrix.format(f"{expert}.")] for expert in range(4))
    torch.testing.assert_close(stored["shared"][matrix.format("")], whole)
    gate = "model.layers.0.mlp.gate"
    torch.testing.assert_close(factors["shared"].layer(gate).lam, factors["own"].layer(gate).lam)
    texts = [model.tokenizer(d.text)["input_ids"] for d in DOCUMENTS]
    for expert in range(4):
        name = matrix.format(f"{expert}.")
        layer = factors["shared"].layer(name)
        (g_DOI,) = gradients(model, (name,), texts)
        rotated = layer.gradient_eigenvectors.mT @ (g_DOI @ layer.activation_eigenvectors)
        torch.testing.assert_close(layer.lam, rotated.square().mean(0))
    other = FitConfig(layers=("router",), expert_covariances="shared")
    with pytest.raises(ModelError, match="No tracked layer is an expert"):
        fit_hessian(model, CORPUS, out=tmp_path / "router", config=other)
    assert "expert_covariances" not in FitConfig().identity()  # a store from before has none


def test_experts_of_one_document_alone_and_of_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of many experts some see one document, and some see nothing."""
    model = mixture(experts=24, choices=1)
    reached: dict[int, set[int]] = {expert: set() for expert in range(24)}

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        for expert in inputs[1].unique().tolist():
            reached[expert].add(column)

    handle = model.model.model.layers[0].mlp.experts.register_forward_hook(see)
    with torch.no_grad():
        for column, document in enumerate(DOCUMENTS):  # noqa: B007 (read by the hook)
            model.model(input_ids=torch.tensor([model.tokenizer(document.text)["input_ids"]]))
    handle.remove()
    alone = next(expert for expert, columns in reached.items() if len(columns) == 1)
    never = next(expert for expert, columns in reached.items() if not columns)
    (column,) = reached[alone]
    queries = [
        *QUERIES,
        random_queries(1)[0].__class__("own", "task", "factual", *_halves(DOCUMENTS[column])),
    ]
    name = "model.layers.0.mlp.experts.{}.*"
    config = FitConfig(layers=(name.format(alone), name.format(never)), empirical=True)
    factors = fit_hessian(model, CORPUS, out=tmp_path / "fit", config=config)
    assert {layer.rsplit(".", 2)[1] for layer in factors.layers} == {str(alone)}
    scores = score(model, factors, queries, CORPUS, tmp_path / "scores")
    assert np.flatnonzero(scores.gradient_norm).tolist() == [column]
    assert scores.dot[-1, column] != 0
    assert not np.delete(np.asarray(scores.dot), column, axis=1).any()
    with pytest.raises(ComputeError, match="zero on every document"):
        fit_hessian(
            model,
            CORPUS,
            out=tmp_path / "none",
            config=FitConfig(layers=(name.format(never),), empirical=True),
        )


def _halves(document: Document) -> tuple[str, str]:
    middle = len(document.text) // 2
    return document.text[:middle], document.text[middle:]


def test_token_scores_add_up(tmp_path: Path) -> None:
    model = mixture()
    factors = fit_hessian(model, CORPUS, out=tmp_path / "fit", config=FitConfig(layers=("mlp",)))
    scores = score(model, factors, QUERIES, CORPUS, tmp_path / "scores")
    assert decompose(scores, model, factors, k=3).worst < 1e-9


def state(model: LanguageModel) -> list[object]:
    modules = list(model.model.modules())
    return [
        *(p.requires_grad for p in model.model.parameters()),
        *(m.training for m in modules),
        *(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules),
        *(sorted(vars(m)) for m in modules),
        str(model.model.config.to_dict()),
        model.model.config._experts_implementation,
        sorted(ALL_EXPERTS_FUNCTIONS),
    ]


def test_the_model_leaves_as_it_came() -> None:
    model = tiny_model("mixtral", num_local_experts=4, dtype=torch.float32)
    before, text = state(model), [[3, 4, 5, 6]]
    assert model.model.config._experts_implementation == "grouped_mm"
    gradients(model, ("all",), text)
    assert state(model) == before

    def fail(*_: object) -> None:
        raise KeyError("of the test")

    with pytest.raises(KeyError):
        backward(model, find_layers(model.model, ("all",)), pad(text, model.device), fail, what="the test")
    assert state(model) == before
    token = int(1e6)
    with pytest.raises(IndexError):
        gradients(model, ("all",), [[3, token]])
    assert state(model) == before


def test_a_module_of_experts_that_runs_twice_is_refused() -> None:
    model = mixture()
    model.model.model.layers[1].mlp.experts = model.model.model.layers[0].mlp.experts
    with pytest.raises(ModelError, match="shares its weight"):
        gradients(model, ("*.0.mlp.experts.*",), [[3, 4, 5]])


def test_kronfluence_is_refused_by_name(tmp_path: Path) -> None:
    model = LanguageModel(mixture().model, character_tokenizer())
    config = FitConfig(layers=("mlp",), backend="kronfluence")
    with pytest.raises(ModelError, match="kronfluence knows"):
        fit_hessian(model, CORPUS, out=tmp_path / "fit", config=config)
