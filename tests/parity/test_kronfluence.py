"""Kronfluence as the second oracle: same model, documents and labels give the same factors and scores."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import ScoreArguments
from kronfluence.utils.dataset import DataLoaderKwargs
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import FitConfig, ScoreConfig
from influence.data.document_tokens import TokenReport, encode_documents
from influence.data.query_tokens import encode_query
from influence.engine.fit import fit_hessian
from influence.engine.kronfluence_fit import LanguageModelTask, TokenDataset, collate, with_linear_layers
from influence.engine.score import score
from influence.errors import InputError, StoreError
from influence.models.load import LanguageModel
from influence.store.factors import COVARIANCES, EIGEN, LAMBDA, Factors, load_tensors, open_factors

MAX_LENGTH = 48
CORPUS = MemoryCorpus(random_documents(16, seed=5, longest=24))
QUERIES = random_queries(3)

#: A `factors_NAME` folder is where kronfluence looks for factors called NAME.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*was fitted by kronfluence")


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Kronfluence collects garbage after every step; without this it walks all of transformers each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@dataclass(frozen=True)
class Pair:
    model: LanguageModel
    ours: Factors
    theirs: Factors
    folder: Path


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("analyses") / "analysis"
    model = tiny_model(request.param)
    ours, theirs = (
        fit_hessian(
            model,
            CORPUS,
            out=folder / f"factors_{backend}",
            config=FitConfig(max_length=MAX_LENGTH, empirical=True, backend=backend),
            batch_tokens=120,
        )
        for backend in ("influence", "kronfluence")
    )
    return Pair(model, ours, theirs, folder)


def tensors(factors: Factors, name: str) -> dict[str, torch.Tensor]:
    return load_tensors(factors.folder / f"{name}.safetensors")


def pairwise_scores(pair: Pair, name: str) -> np.ndarray:
    """Kronfluence's own scores `[Q, D]` with the factors in `factors_NAME`."""
    task = LanguageModelTask(pair.ours.layers)
    analyzer = Analyzer(
        analysis_name=pair.folder.name,
        model=prepare_model(with_linear_layers(pair.model.model).eval(), task),
        task=task,
        cpu=True,
        output_dir=str(pair.folder.parent),
        disable_tqdm=True,
    )
    analyzer.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=collate))
    tokenizer = pair.model.tokenizer
    documents = encode_documents(CORPUS, tokenizer, MAX_LENGTH, False, TokenReport())
    analyzer.compute_pairwise_scores(
        scores_name=f"by_{name}",
        factors_name=name,
        query_dataset=TokenDataset(
            [(*encode_query(tokenizer, query, MAX_LENGTH), None) for query in QUERIES]
        ),
        train_dataset=TokenDataset([(tokens, 1, None) for _, tokens in documents]),
        per_device_query_batch_size=2,
        per_device_train_batch_size=5,
        score_args=ScoreArguments(
            damping_factor=None,
            query_gradient_svd_dtype=torch.float64,
            per_sample_gradient_dtype=torch.float64,
            precondition_dtype=torch.float64,
            score_dtype=torch.float64,
        ),
    )
    return analyzer.load_pairwise_scores(f"by_{name}")["all_modules"].numpy()


def our_scores(pair: Pair, factors: Factors, folder: Path) -> np.ndarray:
    return np.asarray(
        score(pair.model, factors, QUERIES, CORPUS, folder, config=ScoreConfig(max_length=MAX_LENGTH)).dot
    )


def assert_close(found: torch.Tensor, expected: torch.Tensor, relative: float = 1e-9) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= relative * expected.abs().max()


def test_factors_agree(pair: Pair) -> None:
    for name in ("activation_covariance", "gradient_covariance"):
        for layer, expected in tensors(pair.theirs, name).items():
            assert expected.abs().max() > 0
            assert_close(tensors(pair.ours, name)[layer], expected)
    for name in ("activation_eigenvalues", "gradient_eigenvalues", "lambda_matrix"):
        for layer, expected in tensors(pair.theirs, name).items():
            assert_close(tensors(pair.ours, name)[layer], expected)
    for name in ("activation_eigenvectors", "gradient_eigenvectors"):
        for layer, expected in tensors(pair.theirs, name).items():
            found = tensors(pair.ours, name)[layer]
            identity = torch.eye(len(expected), dtype=expected.dtype)
            assert_close((found.mT @ expected).abs(), identity, 1e-6)  # up to signs
            for q in (found, expected):
                assert_close(q.mT @ q, identity)


def test_files_names_and_counts_are_those_of_kronfluence(pair: Pair) -> None:
    for name in (*COVARIANCES, *EIGEN, *LAMBDA):
        ours, theirs = tensors(pair.ours, name), tensors(pair.theirs, name)
        assert ours.keys() == theirs.keys()
        for layer, expected in theirs.items():
            assert ours[layer].shape == expected.shape
            if name.startswith("num_"):
                assert int(ours[layer]) == int(expected)


def test_kronfluences_scores_with_its_factors_are_ours(pair: Pair, tmp_path: Path) -> None:
    expected = pairwise_scores(pair, "kronfluence")
    found = our_scores(pair, pair.ours, tmp_path / "run")
    assert found.shape == expected.shape == (len(QUERIES), len(CORPUS.documents))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    assert (expected > 0).any()
    assert (expected < 0).any()


def test_kronfluence_scores_with_our_folder(pair: Pair, tmp_path: Path) -> None:
    found = pairwise_scores(pair, "influence")
    expected = our_scores(pair, pair.ours, tmp_path / "run")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_we_score_with_kronfluences_folder(pair: Pair, tmp_path: Path) -> None:
    """A folder without our manifest, as kronfluence leaves it: opened with a warning that names the gap."""
    bare = tmp_path / "factors_bare"
    bare.mkdir()
    for file in pair.theirs.folder.glob("*.safetensors"):
        (bare / file.name).symlink_to(file)
    with pytest.raises(StoreError, match="holds no hessian"):
        open_factors(bare)
    (bare / "factor_arguments.json").write_text((pair.theirs.folder / "factor_arguments.json").read_text())
    factors = open_factors(bare)
    assert set(factors.layers) == set(pair.ours.layers)
    with pytest.warns(UserWarning, match="does not record the model"):
        found = our_scores(pair, factors, tmp_path / "run")
    expected = our_scores(pair, pair.ours, tmp_path / "expected")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    (bare / "lambda_matrix.safetensors").unlink()
    with pytest.raises(StoreError, match="incomplete kronfluence fit") as error:
        open_factors(bare)
    assert "lambda_matrix" in str(error.value.have)


def test_kronfluences_fit_leaves_the_model_alone(tmp_path: Path) -> None:
    """It swaps modules and freezes weights: of a copy."""
    model = tiny_model("gpt2")
    model.model.train()
    before = {name: (p, p.detach().clone(), p.requires_grad) for name, p in model.model.named_parameters()}
    modules = dict(model.model.named_modules())
    fit_hessian(
        model,
        CORPUS,
        out=tmp_path / "fit",
        config=FitConfig(empirical=True, backend="kronfluence", documents=4),
    )
    assert dict(model.model.named_modules()) == modules
    assert all(module.training for module in model.model.modules())
    for name, parameter in model.model.named_parameters():
        same, value, flag = before[name]
        assert parameter is same
        assert torch.equal(parameter, value)
        assert parameter.requires_grad == flag


def test_sampled_labels_differ_but_agree_in_distribution(pair: Pair, tmp_path: Path) -> None:
    """With sampled labels the two draw different numbers: traces are close, not equal."""
    corpus = MemoryCorpus(random_documents(150, seed=6, shortest=8, longest=16))
    traces = {}
    for backend in ("influence", "kronfluence"):
        factors = fit_hessian(pair.model, corpus, out=tmp_path / backend, config=FitConfig(backend=backend))
        gradient = tensors(factors, "gradient_covariance")
        traces[backend] = np.array([float(gradient[layer].trace()) for layer in factors.layers])
    ratio = traces["influence"] / traces["kronfluence"]
    assert (np.abs(ratio - 1) < 0.2).all()
    assert (ratio != 1).all()


def test_without_the_package_its_fit_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influence.engine.fit.find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        fit_hessian(tiny_model(), MemoryCorpus([]), out=tmp_path, config=FitConfig(backend="kronfluence"))
    assert caught.value.fix == "Run pip install 'influence-lm[kronfluence]'."
