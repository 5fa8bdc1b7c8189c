"""Output heads and embeddings against autograd and dense sums: alone, together, tied and untied, with a bias."""

from __future__ import annotations

import functools
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from dense_world import dense_gradients
from texts import MemoryCorpus, random_documents, random_queries
from tiny import character_tokenizer, tiny_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from influence.config import FitConfig, IndexConfig, ScoreConfig
from influence.data.document_tokens import TokenReport, encode_documents
from influence.data.query_tokens import encode_query
from influence.engine.batching import pad
from influence.engine.decompose import decompose
from influence.engine.fit import fit_hessian
from influence.engine.index.build import build_index
from influence.engine.passes import backward
from influence.engine.score import score
from influence.errors import ModelError, StoreError
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.selection import find_layers
from influence.store.factors import Factors
from influence.types import VocabularyTokens

MAX_LENGTH = 48
CORPUS = MemoryCorpus(random_documents(9, seed=5, longest=20))
QUERIES = random_queries(3)


def model_of(case: str) -> LanguageModel:
    if case == "biased":  # phi's head has a bias
        return tiny_model("phi")
    if case == "padding":
        model = tiny_model("llama", tie_word_embeddings=True)
        embedding = model.model.get_input_embeddings()
        embedding.padding_idx = int(character_tokenizer()("a")["input_ids"][-1])
        return model
    return tiny_model("gpt2" if case == "gpt2" else "llama", tie_word_embeddings=case != "untied")


CASES = ("untied", "tied", "gpt2", "biased", "padding")


@functools.cache
def encoded() -> tuple[list[int], ...]:
    corpus = encode_documents(CORPUS, tiny_model().tokenizer, MAX_LENGTH, False, TokenReport())
    return tuple(tuple(ids) for _, ids in corpus)


def exact_gradients(
    model: LanguageModel, layers: list[TrackedLayer], tokens: list[list[int]], starts: list[int]
) -> dict[str, Tensor]:
    """`G` of each layer and document by autograd, a document at a time; a head's bias is a last column."""
    found: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    for ids, start in zip(tokens, starts, strict=True):
        model.model.zero_grad(set_to_none=True)
        row = torch.tensor([ids])
        log_p = model.model(input_ids=row, use_cache=False).logits[0, :-1].log_softmax(-1)
        (-log_p.gather(1, row[0, 1:, None])[start - 1 :].sum()).backward()
        for layer in layers:
            gradient = layer.module.weight.grad
            if layer.has_bias:
                gradient = torch.cat([gradient, layer.module.bias.grad[:, None]], 1)
            found[layer.name].append(gradient.clone())
    model.model.zero_grad(set_to_none=True)
    return {name: torch.stack(parts) for name, parts in found.items()}


def test_words_and_names_take_the_weight_with_both_its_uses() -> None:
    untied, tied = tiny_model("llama").model, tiny_model("llama", tie_word_embeddings=True).model
    both = [layer.name for layer in find_layers(untied, ("head", "embedding"))]
    assert both == ["model.embed_tokens", "lm_head"]
    for word in ("head", "embedding", "lm_head", "model.embed_tokens", "lm_*"):
        (layer,) = find_layers(tied, (word,))
        assert layer.vocabulary
        assert (layer.name, len(layer.modules)) == ("lm_head", 2)
    assert [layer.name for layer in find_layers(untied, ("*",))][-1] == "lm_head"
    assert not any("embed" in layer.name for layer in find_layers(untied, ("*",)))
    assert len(find_layers(untied, ("mlp", "head"))) == len(find_layers(untied)) + 1


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_a_padded_batch_are_those_of_autograd(case: str) -> None:
    model = model_of(case)
    layers = find_layers(model.model, ("head", "embedding", "mlp"))
    tokens = [list(ids) for ids in encoded()]
    seen: dict[str, Tensor] = {}

    def vocabulary(index: int, words: VocabularyTokens) -> None:
        from influence.curvature.vocabulary import vocabulary_gradients

        seen[layers[index].name] = torch.cat([g for _, g in vocabulary_gradients(words)], 1)

    def linear(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        seen[layers[index].name] = s_BTO.mT @ a_BTI

    backward(model, layers, pad(tokens, torch.device("cpu")), linear, vocabulary=vocabulary, what="test")
    words = [layer for layer in layers if layer.vocabulary]
    exact = exact_gradients(model, words, tokens, [1] * len(tokens))
    linears = [layer for layer in layers if layer not in words]
    exact |= dense_gradients(model, linears, tokens, [1] * len(tokens))
    assert seen.keys() == exact.keys() == {layer.name for layer in layers}
    for name, expected in exact.items():
        torch.testing.assert_close(seen[name], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_fit_and_scores_from_dense_gradients(case: str, tmp_path: Path) -> None:
    model = model_of(case)
    config = FitConfig(layers=("head", "embedding"), max_length=MAX_LENGTH, empirical=True)
    factors = fit_hessian(model, CORPUS, out=tmp_path / "h", config=config, batch_tokens=60)
    layers = find_layers(model.model, config.layers)
    tokens = [list(ids) for ids in encoded()]
    g = exact_gradients(model, layers, tokens, [1] * len(tokens))
    queries = [encode_query(model.tokenizer, query, MAX_LENGTH) for query in QUERIES]
    g_q = exact_gradients(model, layers, [ids for ids, _ in queries], [start for _, start in queries])
    scores = score(
        model,
        factors,
        QUERIES,
        CORPUS,
        tmp_path / "s",
        config=ScoreConfig(max_length=MAX_LENGTH),
        batch_tokens=60,
    )
    dot, norm = 0, 0
    for layer in layers:
        fitted = factors.vocabulary_layer(layer.name)
        q = fitted.eigenvectors
        rotated_DVI = g[layer.name] @ q
        lam_VI = rotated_DVI.square().mean(0)
        torch.testing.assert_close(fitted.lam, lam_VI, rtol=1e-8, atol=1e-12)
        p_QVI = (g_q[layer.name] @ q) / (lam_VI + 0.1 * lam_VI.mean())
        dot = dot + torch.einsum("qvi,dvi->qd", p_QVI, rotated_DVI)
        norm = norm + g[layer.name].square().sum((1, 2))
    np.testing.assert_allclose(scores.dot, dot.numpy(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(scores.gradient_norm, norm.sqrt().numpy(), rtol=1e-9)


@pytest.mark.parametrize("case", ["untied", "tied", "biased"])
def test_the_basis_diagonalises_the_sum_of_both_uses(case: str, tmp_path: Path) -> None:
    """`C = Σ_t ‖u_t‖² w_t w_tᵀ` from hooks of autograd's own, a document at a time."""
    model = model_of(case)
    config = FitConfig(layers=("head", "embedding"), max_length=MAX_LENGTH, empirical=True)
    factors = fit_hessian(model, CORPUS, out=tmp_path / "h", config=config, batch_tokens=60)
    head, embedding = model.model.get_output_embeddings(), model.model.get_input_embeddings()
    kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept[module] = inputs[0], output

    handles = [module.register_forward_hook(keep) for module in (head, embedding)]
    c_head, c_embedding = 0, 0
    for ids in encoded():
        row = torch.tensor([ids])
        log_p = model.model(input_ids=row, use_cache=False).logits[0, :-1].log_softmax(-1)
        nll = -log_p.gather(1, row[0, 1:, None]).sum()
        s_TV, g_TI = (x[0] for x in torch.autograd.grad(nll, (kept[head][1], kept[embedding][1])))
        a_TI = kept[head][0][0].detach()
        if head.bias is not None:
            a_TI = torch.cat([a_TI, torch.ones_like(a_TI[:, :1])], 1)
        c_head = c_head + (a_TI * s_TV.square().sum(1, keepdim=True)).T @ a_TI
        c_embedding = c_embedding + g_TI.T @ g_TI
    for handle in handles:
        handle.remove()
    expected = {"tied": [("lm_head", c_head + c_embedding if case == "tied" else 0)]}.get(
        case, [("lm_head", c_head), (find_layers(model.model, ("embedding",))[0].name, c_embedding)]
    )
    for name, c_II in expected:
        q = factors.vocabulary_layer(name).eigenvectors
        turned = q.T @ c_II @ q
        torch.testing.assert_close(
            turned, torch.diag(turned.diagonal()), rtol=0, atol=1e-8 * float(turned.diagonal().max())
        )
    assert not (tmp_path / "h" / "factor_arguments.json").exists()


def fitted(model: LanguageModel, folder: Path, *layers: str, **settings: object) -> Factors:
    config = FitConfig(layers=layers, max_length=MAX_LENGTH, **settings)
    return fit_hessian(model, CORPUS, out=folder, config=config, batch_tokens=60)


@pytest.mark.parametrize("case", ["untied", "tied"])
def test_layers_add_up_and_tokens_add_up(case: str, tmp_path: Path) -> None:
    model = model_of(case)
    config = ScoreConfig(max_length=MAX_LENGTH)
    parts = [("mlp",), ("head",), ("mlp", "head")]
    stores = []
    for number, layers in enumerate(parts):
        factors = fitted(model, tmp_path / f"h{number}", *layers, covariance_blocks=2)
        stores.append(score(model, factors, QUERIES, CORPUS, tmp_path / f"s{number}", config=config))
    np.testing.assert_allclose(stores[2].dot, stores[0].dot + stores[1].dot, rtol=1e-9, atol=1e-12)
    squares = [np.square(store.gradient_norm) for store in stores]
    np.testing.assert_allclose(squares[2], squares[0] + squares[1], rtol=1e-9)
    found = decompose(stores[2], model, factors, k=3)
    assert found.pairs
    assert found.worst < 1e-9


def test_batches_and_order_change_nothing(tmp_path: Path) -> None:
    model = model_of("tied")
    factors = fitted(model, tmp_path / "h", "mlp", "head")
    config = ScoreConfig(max_length=MAX_LENGTH)
    backwards = MemoryCorpus(CORPUS.documents[::-1])
    one = score(model, factors, QUERIES, CORPUS, tmp_path / "a", config=config, batch_tokens=500)
    two = score(model, factors, QUERIES, backwards, tmp_path / "b", config=config, batch_tokens=1)
    np.testing.assert_allclose(two.dot[:, ::-1], one.dot, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(two.gradient_norm[::-1], one.gradient_norm, rtol=1e-9)


def test_what_cannot_take_the_vocabulary_says_so(tmp_path: Path) -> None:
    model = model_of("tied")
    factors = fitted(model, tmp_path / "h", "mlp", "head")
    config = ScoreConfig(max_length=MAX_LENGTH, query_error=0.05)
    with pytest.raises(ModelError, match="--query-error does not work with output heads"):
        score(model, factors, QUERIES, CORPUS, tmp_path / "s", config=config)
    with pytest.raises(ModelError, match="An index does not work with output heads"):
        build_index(model, factors, CORPUS, tmp_path / "i", config=IndexConfig(max_length=MAX_LENGTH))
    with pytest.raises(ModelError, match="kronfluence knows linear layers only") as caught:
        fitted(model, tmp_path / "k", "mlp", "head", backend="kronfluence")
    assert caught.value.have == "1 of them are tracked, first lm_head"
    untied = model_of("untied")
    with pytest.raises(StoreError):
        score(untied, factors, QUERIES, CORPUS, tmp_path / "u", config=ScoreConfig(max_length=MAX_LENGTH))


def test_an_embedding_that_does_more_than_look_up_is_refused() -> None:
    model = model_of("untied").model
    model.get_input_embeddings().max_norm = 1.0
    with pytest.raises(ModelError, match="does more than look up a row") as caught:
        find_layers(model, ("embedding",))
    assert caught.value.fix == "Leave it out: --exclude-layers 'model.embed_tokens'"


def test_a_vocabulary_of_50_000_needs_the_memory_of_its_weights(tmp_path: Path) -> None:
    """A covariance of the vocabulary would take 10 GB; gradients of all documents 20 times the weights."""
    config = LlamaConfig(
        vocab_size=50_000, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LanguageModel(LlamaForCausalLM(config).eval(), character_tokenizer(), "wide")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    corpus = MemoryCorpus(random_documents(20, seed=5, longest=20))
    fit = FitConfig(layers=("mlp", "head"), max_length=MAX_LENGTH)
    factors = fit_hessian(model, corpus, out=tmp_path / "h", config=fit, batch_tokens=64)
    scores = score(
        model,
        factors,
        QUERIES,
        corpus,
        tmp_path / "s",
        config=ScoreConfig(max_length=MAX_LENGTH),
        batch_tokens=64,
    )
    assert np.isfinite(scores.dot).all()
    weights = 50_000 * 32 * 4
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert used < 40 * weights, f"{used / weights:.0f} times the weights"
