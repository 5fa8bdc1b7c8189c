"""Nothing is scored wrong without a word: probes at load and before a run, and what a run does where one answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from texts import MemoryCorpus, random_documents, random_queries
from tiny import VOCABULARY, character_tokenizer, tiny_model
from torch import Tensor, nn
from transformers import AddedToken

from influence.config import FitConfig
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.errors import ComputeError, ModelError
from influence.models.load import LanguageModel, load_model
from influence.types import Document

CORPUS = MemoryCorpus(random_documents(8, shortest=4, longest=30))


def saved(model: LanguageModel, folder: Path) -> Path:
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


class MixingEmbedding(nn.Embedding):
    """Each document sees the mean of its batch."""

    def forward(self, ids: Tensor) -> Tensor:
        x_BTI: Tensor = super().forward(ids)
        return x_BTI + x_BTI.mean(0, keepdim=True)


class CountingEmbedding(nn.Embedding):
    """All passes after the third one differ from the first three."""

    passes = 0

    def forward(self, ids: Tensor) -> Tensor:
        self.passes += 1
        x_BTI: Tensor = super().forward(ids)
        return x_BTI * (1.1 if self.passes > 3 else 1)


def with_embedding(kind: type[nn.Embedding]) -> LanguageModel:
    model = tiny_model("llama")
    embedding = kind(VOCABULARY, 16, dtype=torch.float64)
    embedding.load_state_dict(model.model.get_input_embeddings().state_dict())
    model.model.set_input_embeddings(embedding)
    return model


@pytest.mark.parametrize(
    ("family", "settings"),
    [("bert", {}), ("roberta", {"pad_token_id": 1}), ("gemma", {"use_bidirectional_attention": True})],
)
def test_a_model_that_looks_ahead_is_refused_at_load(
    tmp_path: Path, family: str, settings: dict[str, object]
) -> None:
    model = tiny_model(family, dtype=torch.float32, **settings)
    with pytest.raises(ModelError, match=r"is not causal: a later token changes") as caught:
        load_model(saved(model, tmp_path / "model"), device="cpu")
    assert "causal language model" in str(caught.value.fix)
    with pytest.raises(ModelError, match="is not causal"):
        fit_hessian(model, CORPUS, out=tmp_path / "fit", config=FitConfig(layers=("all",)))


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom", "mistral", "gemma"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_causal_models_pass_in_every_precision(family: str, dtype: torch.dtype) -> None:
    model = tiny_model(family, dtype=dtype)
    model.require_causal()
    assert model.movement <= 0.1 * model.rounding**0.5


def test_neighbours_that_change_a_gradient_get_batches_of_their_own(tmp_path: Path) -> None:
    model = with_embedding(MixingEmbedding)
    factors = fit_hessian(model, CORPUS, out=tmp_path / "fit")
    assert factors.manifest is not None
    assert factors.manifest["provenance"]["probe"]["alone"]
    together = score(model, factors, random_queries(2), CORPUS, tmp_path / "together")
    alone = score(model, factors, random_queries(2), CORPUS, tmp_path / "alone", batch_tokens=1)
    made = together.manifest["provenance"]
    assert (made["batch_tokens"], made["probe"]["alone"]) == (1, True)
    assert made["probe"]["neighbour"] > 0.01
    assert np.array_equal(together.dot, alone.dot)


def test_a_sound_model_says_so_in_its_manifests(tmp_path: Path) -> None:
    factors = fit_hessian(tiny_model("llama"), CORPUS, out=tmp_path / "fit")
    assert factors.manifest is not None
    probe = factors.manifest["provenance"]["probe"]
    assert not probe["alone"]
    assert (probe["past"], probe["later_tokens"]) == (0, 0)
    assert probe["neighbour"] < probe["tolerated"] < 1e-7


def test_a_model_that_remembers_is_refused(tmp_path: Path) -> None:
    model = with_embedding(CountingEmbedding)
    with pytest.raises(ModelError, match=r"keeps a state: the loss of a document depends on what ran before"):
        fit_hessian(model, CORPUS, out=tmp_path / "fit")


def test_documents_end_where_learned_positions_do(tmp_path: Path) -> None:
    model = tiny_model("gpt2", max_position_embeddings=16, n_positions=16)
    factors = fit_hessian(model, CORPUS, out=tmp_path / "fit")
    assert factors.manifest is not None
    made = factors.manifest["provenance"]
    assert factors.manifest["config"]["max_length"] == 16
    assert made["tokens"]["truncated"] > 0
    assert "truncated to 16 tokens, all the positions of the model" in made["summary"]
    assert np.isfinite(score(model, factors, random_queries(1), CORPUS, tmp_path / "run").dot).all()


@pytest.mark.parametrize(
    ("family", "settings", "limit"),
    [
        ("gpt2", {"max_position_embeddings": 16, "n_positions": 16}, 16),
        ("opt", {"max_position_embeddings": 16}, 16),
        ("gpt_neo", {"max_position_embeddings": 16, "attention_types": [[["global"], 2]]}, 16),
        (
            "gptj",
            {"max_position_embeddings": 16, "n_embd": 16, "n_layer": 2, "n_head": 2, "rotary_dim": 4},
            16,
        ),
        ("llama", {"max_position_embeddings": 16}, None),
        ("bloom", {"max_position_embeddings": None}, None),
    ],
)
def test_where_positions_end(family: str, settings: dict[str, object], limit: int | None) -> None:
    model = tiny_model(family, **settings)
    assert model.positions == limit
    ids = torch.zeros(1, model.fitting(40), dtype=torch.int64)
    assert ids.shape[1] == (limit or 40)
    model.model(input_ids=ids)
    if limit:
        with pytest.raises((IndexError, RuntimeError)):
            model.model(input_ids=torch.zeros(1, limit + 1, dtype=torch.int64))


def test_documents_longer_than_the_trained_context_are_counted(tmp_path: Path) -> None:
    model = tiny_model("llama", max_position_embeddings=16)
    factors = fit_hessian(model, CORPUS, out=tmp_path / "fit")
    assert factors.manifest is not None
    made = factors.manifest["provenance"]
    longer = sum(len(document.text) > 16 for document in CORPUS.documents)
    assert made["tokens"]["beyond_context"] == longer > 0
    assert f"{longer} longer than any text the model was trained on" in made["summary"]


def test_a_tokenizer_of_another_model_is_refused_at_load(tmp_path: Path) -> None:
    model = tiny_model("llama", dtype=torch.float32, vocab_size=40)
    with pytest.raises(ModelError, match="makes tokens that the model has no embedding of") as caught:
        load_model(saved(model, tmp_path / "model"), device="cpu")
    assert "40 embeddings" in str(caught.value.have)


def test_an_added_token_without_embedding_matters_where_a_text_has_it(tmp_path: Path) -> None:
    tokenizer = character_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_tokens([AddedToken("<pad>", special=True)])
    model = tiny_model("llama", dtype=torch.float32, vocab_size=rows)
    loaded = load_model(saved(LanguageModel(model.model, tokenizer), tmp_path / "model"), device="cpu")
    fit_hessian(loaded, CORPUS, out=tmp_path / "fit")
    corpus = MemoryCorpus([*CORPUS.documents, Document("culprit", "ab<pad>c")])
    with pytest.raises(ModelError, match=r"no embedding of a token in document culprit") as caught:
        fit_hessian(loaded, corpus, out=tmp_path / "other")
    assert "'<pad>'" in str(caught.value.have)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_scores_that_overflow_are_not_stored(tmp_path: Path, dtype: torch.dtype) -> None:
    model = tiny_model("llama", dtype=dtype)
    with torch.no_grad():  # gradients of 1e30 or 1e200, whose products are not finite
        model.model.lm_head.weight.mul_(1e200 if dtype == torch.float64 else 1e30)
    with pytest.raises(ComputeError, match="not finite"):
        score(model, None, random_queries(2), CORPUS, tmp_path / "run")
    assert not (tmp_path / "run" / "scores.safetensors").exists()
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] != "complete"
