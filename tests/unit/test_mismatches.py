"""Artefacts of different models, tokenizers, layers, corpora or arguments are not mixed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stores import without_checksums
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import FitConfig, ScoreConfig
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.errors import InfluenceError, InputError, StoreError
from influence.models.load import LanguageModel
from influence.store.factors import Factors, open_factors
from influence.types import Document

CORPUS = MemoryCorpus(random_documents(8))
QUERIES = random_queries(2)
MODEL = tiny_model("llama")


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory) -> Factors:
    return fit_hessian(MODEL, CORPUS, out=tmp_path_factory.mktemp("fit") / "hessian")


def refused(call: Any, error: type[InfluenceError], match: str) -> InfluenceError:
    with pytest.raises(error, match=match) as caught:
        call()
    assert "next:" in str(caught.value)
    return caught.value


def test_factors_of_other_weights(factors: Factors, tmp_path: Path) -> None:
    other = tiny_model("llama", seed=1)
    error = refused(
        lambda: score(other, factors, QUERIES, CORPUS, tmp_path / "run"), StoreError, "of another model"
    )
    assert error.have == "fitted on tiny llama"
    assert not (tmp_path / "run").exists()


def test_factors_of_another_architecture(factors: Factors, tmp_path: Path) -> None:
    for other in (
        tiny_model("gpt2"),
        tiny_model("llama", intermediate_size=32),
        tiny_model("llama", num_hidden_layers=1),
    ):
        refused(
            lambda m=other: score(m, factors, QUERIES, CORPUS, tmp_path / "r"), StoreError, "of another model"
        )


def test_factors_of_another_architecture_that_records_no_model(factors: Factors, tmp_path: Path) -> None:
    """As kronfluence leaves them: names and shapes are all there is to compare."""
    bare = shutil.copytree(factors.folder, tmp_path / "bare")
    (bare / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="not verified"):
        error = refused(
            lambda: score(tiny_model("gpt2"), open_factors(bare), QUERIES, CORPUS, tmp_path / "run"),
            StoreError,
            "of another model",
        )
    assert "is in the Hessian but not in the model" in str(error.have)
    wide = tiny_model("llama", intermediate_size=32)
    with pytest.warns(UserWarning, match="not verified"):
        error = refused(
            lambda: score(wide, open_factors(bare), QUERIES, CORPUS, tmp_path / "run"),
            StoreError,
            "of another model",
        )
    assert "is (24, 16) there and (32, 16) here" in str(error.have)


def test_factors_of_another_tokenizer(factors: Factors, tmp_path: Path) -> None:
    other = tiny_model("llama", bos=True)
    refused(
        lambda: score(other, factors, QUERIES, CORPUS, tmp_path / "run"), StoreError, "with another tokenizer"
    )


def test_a_query_model_of_other_layers(factors: Factors, tmp_path: Path) -> None:
    for hessian in (factors, None):
        with pytest.raises((InputError, StoreError)):
            score(MODEL, hessian, QUERIES, CORPUS, tmp_path / "run", query_model=tiny_model("gpt2"))
    assert not (tmp_path / "run").exists()


def test_missing_and_unfinished_factors(factors: Factors, tmp_path: Path) -> None:
    refused(lambda: open_factors(tmp_path / "nowhere"), StoreError, "holds no hessian")
    unfinished = shutil.copytree(factors.folder, tmp_path / "unfinished")
    without_checksums(unfinished)
    manifest = unfinished / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    error = refused(lambda: open_factors(unfinished), StoreError, "hessian in .* is unfinished")
    assert "resumes" in str(error.fix)
    damaged = shutil.copytree(factors.folder, tmp_path / "damaged")
    (damaged / "gradient_eigenvectors.safetensors").unlink()
    error = refused(
        lambda: score(MODEL, open_factors(damaged), QUERIES, CORPUS, tmp_path / "run"),
        StoreError,
        r"gradient_eigenvectors\.safetensors is not the file that was written there",
    )
    assert "it is missing" in str(error.have)
    assert "run the command that made it again" in str(error.fix)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_length": 20}, "max_length: 512 there, 20 now"),
        ({"windows": True}, "windows: False there, True now"),
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"empirical": True}, "empirical: False there, True now"),
        ({"documents": 5}, "documents: 100000 there, 5 now"),
        ({"layers": ("all",)}, "layers: ['model.layers.0.mlp.gate_proj'"),
        ({"backend": "kronfluence"}, "backend: 'influence' there, 'kronfluence' now"),
    ],
)
def test_a_fit_with_other_arguments(factors: Factors, changes: dict[str, Any], named: str) -> None:
    error = refused(
        lambda: fit_hessian(MODEL, CORPUS, out=factors.folder, config=FitConfig(**changes)),
        StoreError,
        "made with other arguments",
    )
    assert named in str(error.have)


def test_a_fit_of_another_model_or_dtype(factors: Factors) -> None:
    error = refused(
        lambda: fit_hessian(tiny_model("llama", seed=1), CORPUS, out=factors.folder),
        StoreError,
        "other arguments",
    )
    assert str(error.have).startswith("model: ")
    single = tiny_model("llama", dtype=torch.float32)
    single.model.load_state_dict(MODEL.model.state_dict())
    error = refused(lambda: fit_hessian(single, CORPUS, out=factors.folder), StoreError, "other arguments")
    assert error.have == "dtype: 'float64' there, 'float32' now"


def changed_corpora() -> list[MemoryCorpus]:
    first, *rest = CORPUS.documents
    return [
        MemoryCorpus([Document(first.id, first.text + "a", first.source), *rest]),
        MemoryCorpus([Document("new", first.text, first.source), *rest]),
        MemoryCorpus([Document(first.id, first.text, "other"), *rest]),
        MemoryCorpus(rest),
        MemoryCorpus([*rest, first]),
    ]


@pytest.mark.parametrize("corpus", changed_corpora(), ids=["text", "id", "source", "fewer", "order"])
def test_a_corpus_that_changed_under_a_run(factors: Factors, tmp_path: Path, corpus: MemoryCorpus) -> None:
    error = refused(lambda: fit_hessian(MODEL, corpus, out=factors.folder), StoreError, "other arguments")
    assert str(error.have).startswith("corpus: ")
    score(MODEL, factors, QUERIES, CORPUS, tmp_path / "run")
    error = refused(
        lambda: score(MODEL, factors, QUERIES, corpus, tmp_path / "run"), StoreError, "other arguments"
    )
    assert str(error.have).startswith("corpus: ")


def test_scores_with_other_arguments(factors: Factors, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = score(MODEL, factors, QUERIES, CORPUS, run)
    refitted = fit_hessian(MODEL, CORPUS, out=tmp_path / "refit", config=FitConfig(seed=1))
    tuned = LanguageModel(tiny_model("llama", seed=1).model, MODEL.tokenizer)
    for call, named in (
        (
            lambda: score(MODEL, factors, QUERIES, CORPUS, run, config=ScoreConfig(damping=0.2)),
            "damping: 0.1 there, 0.2 now",
        ),
        (lambda: score(MODEL, factors, QUERIES[:1], CORPUS, run), "queries: "),
        (lambda: score(MODEL, refitted, QUERIES, CORPUS, run), "hessian.seed: 0 there, 1 now"),
        (lambda: score(MODEL, None, QUERIES, CORPUS, run), "now"),
        (lambda: score(MODEL, factors, QUERIES, CORPUS, run, query_model=tuned), "query_model: "),
    ):
        error = refused(call, StoreError, "other arguments")
        assert named in str(error.have)
    again = score(
        MODEL, factors, QUERIES, CORPUS, run, batch_tokens=50
    )  # no argument that changes the result
    np.testing.assert_array_equal(again.dot, first.dot)
    assert again.manifest == first.manifest


def test_a_fit_and_scores_do_not_share_a_folder(factors: Factors, tmp_path: Path) -> None:
    refused(
        lambda: score(MODEL, factors, QUERIES, CORPUS, factors.folder),
        StoreError,
        "holds a Hessian, not a score store",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 0}, "max_length must be positive"),
        ({"documents": -1}, "documents must be positive"),
        ({"backend": "bergson"}, "no backend 'bergson'"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_hessian(MODEL, CORPUS, out=tmp_path / "fit", config=FitConfig(**settings))
    assert not (tmp_path / "fit").exists()


@pytest.mark.parametrize("damping", [0.0, -0.1, float("nan")])
def test_damping_must_be_positive(factors: Factors, tmp_path: Path, damping: float) -> None:
    with pytest.raises(InputError, match="damping must be positive"):
        score(MODEL, factors, QUERIES, CORPUS, tmp_path / "run", config=ScoreConfig(damping=damping))


def test_no_queries(factors: Factors, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no queries"):
        score(MODEL, factors, [], CORPUS, tmp_path / "run")


def test_a_fit_on_a_draw_is_of_that_many_documents(tmp_path: Path) -> None:
    """Drawn uniformly by the seed, in corpus order, the same ones each time."""
    corpus = MemoryCorpus(random_documents(30))
    drawn = [
        fit_hessian(
            MODEL, corpus, out=tmp_path / f"fit{i}", config=FitConfig(documents=10, seed=seed)
        ).manifest
        for i, seed in enumerate((0, 0, 1))
    ]
    tokens = [manifest["provenance"]["tokens"] for manifest in drawn if manifest]
    assert [t["documents"] for t in tokens] == [10, 10, 10]
    assert tokens[0] == tokens[1]
    assert tokens[0]["tokens"] != tokens[2]["tokens"]
