"""Over random corpora: batches, blocks, padding, order and memory running out change no score."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from settings import arguments
from texts import LETTERS, MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

import influence.engine.fit_parts as fit_module
import influence.engine.query as precondition_module
import influence.engine.score as score_module
from influence.config import FitConfig, ScoreConfig
from influence.engine.batching import TokenBatch
from influence.engine.fit import fit_hessian
from influence.engine.passes import backward
from influence.engine.score import score
from influence.errors import ComputeError
from influence.store.scores import Scores
from influence.types import Document

MODELS = {family: tiny_model(family, num_hidden_layers=1) for family in ("llama", "opt")}
QUERIES = random_queries(2)
Texts = st.lists(st.text(LETTERS, min_size=2, max_size=25), min_size=2, max_size=12)
Folders = pytest.TempPathFactory


def documents(texts: list[str]) -> list[Document]:
    return [Document(f"d{i}", text) for i, text in enumerate(texts)]


@contextmanager
def block_tokens(size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_module, "BLOCK_TOKENS", size)
        yield


def run(folder: Path, family: str, corpus: MemoryCorpus, **settings: Any) -> Scores:
    """Fit and score.

    With the corpus's own labels: a basis of fewer tokens than the layer is wide is free to turn where the
    covariance is zero, and only there the gradients of sampled labels of the second pass would tell.
    """
    model = MODELS[family]
    factors = fit_hessian(
        model,
        corpus,
        out=folder / "hessian",
        **arguments(FitConfig, {"empirical": True, **settings}),
    )
    return score(
        model,
        factors,
        QUERIES,
        corpus,
        folder / "scores",
        **arguments(ScoreConfig, settings),
    )


def assert_equal(found: Scores, expected: Scores, columns: list[int] | None = None) -> None:
    dot = np.asarray(expected.dot)[:, columns or slice(None)]
    # Within 1e-10 of the query's largest score: the fit's eigenvectors pass rounding on.
    scale = np.abs(dot).max(1, keepdims=True)
    assert np.isfinite(dot).all()
    assert (np.abs(found.dot - dot) <= 1e-10 * scale + 1e-7 * np.abs(dot)).all()
    norm = np.asarray(expected.gradient_norm)[columns or slice(None)]
    np.testing.assert_allclose(found.gradient_norm, norm, rtol=1e-10)


@settings(max_examples=12)
@given(Texts, st.sampled_from(list(MODELS)), st.integers(1, 80), st.integers(1, 100))
def test_batches_and_blocks_change_nothing(
    tmp_path_factory: Folders, texts: list[str], family: str, batch_tokens: int, block_size: int
) -> None:
    folder, corpus = tmp_path_factory.mktemp("run"), MemoryCorpus(documents(texts))
    expected = run(folder / "one", family, corpus)
    with block_tokens(block_size):
        found = run(folder / "other", family, corpus, batch_tokens=batch_tokens)
    assert_equal(found, expected)


@settings(max_examples=8)
@given(Texts, st.randoms(use_true_random=False))
def test_order_changes_nothing(tmp_path_factory: Folders, texts: list[str], rng: random.Random) -> None:
    folder, items = tmp_path_factory.mktemp("run"), documents(texts)
    order = list(range(len(items)))
    rng.shuffle(order)
    expected = run(folder / "one", "llama", MemoryCorpus(items))
    found = run(folder / "other", "llama", MemoryCorpus([items[i] for i in order]))
    assert_equal(found, expected, order)


@settings(max_examples=8)
@given(Texts, st.text(LETTERS, min_size=40, max_size=45))
def test_a_longer_neighbour_changes_no_score(tmp_path_factory: Folders, texts: list[str], long: str) -> None:
    """It lengthens everybody's padding; the Hessian stays the one fitted without it."""
    folder, items = tmp_path_factory.mktemp("run"), documents(texts)
    model = MODELS["opt"]
    factors = fit_hessian(model, MemoryCorpus(items), out=folder / "hessian")
    expected = score(model, factors, QUERIES, MemoryCorpus(items), folder / "one")
    crowd = MemoryCorpus([*items, Document("long", long)])
    found = np.asarray(score(model, factors, QUERIES, crowd, folder / "other").dot)[:, :-1]
    np.testing.assert_allclose(found, expected.dot, rtol=1e-10, atol=1e-11 * np.abs(expected.dot).max())


class SmallMemory:
    """A `backward` that has memory for so many padded tokens."""

    def __init__(
        self, tokens: int, error: type[Exception] = torch.OutOfMemoryError, text: str = "no memory"
    ) -> None:
        self.tokens = tokens
        self.error = error
        self.text = text
        self.refused = 0

    def __call__(self, model: Any, layers: Any, batch: TokenBatch, reduce: Any, **options: Any) -> Any:
        if batch.input_ids.numel() > self.tokens:

            def half_way(*arguments: Any) -> None:
                reduce(*arguments)
                raise self.error(self.text)

            self.refused += 1
            return backward(model, layers, batch, half_way, **options)
        return backward(model, layers, batch, reduce, **options)

    @contextmanager
    def installed(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for module in (fit_module, score_module, precondition_module):
                patch.setattr(module, "backward", self)
            yield


@settings(max_examples=4)
@given(st.integers(0, 99), st.integers(30, 100), st.integers(200, 400))
def test_running_out_of_memory_halves_the_batches_and_changes_nothing(
    tmp_path_factory: Folders, seed: int, memory: int, block_size: int
) -> None:
    folder, corpus = tmp_path_factory.mktemp("run"), MemoryCorpus(random_documents(14, seed=seed, longest=30))
    with block_tokens(block_size):
        expected = run(folder / "one", "llama", corpus)
        small = SmallMemory(memory)
        with small.installed():
            found = run(folder / "other", "llama", corpus)
    assert_equal(found, expected)
    assert small.refused > 0
    recorded = found.manifest["provenance"]["batch_tokens"]
    assert recorded < 4096
    assert 4096 % recorded == 0


@pytest.mark.parametrize(
    ("error", "text", "have"),
    [
        (torch.OutOfMemoryError, "CUDA out of memory.\nTried to allocate", "CUDA out of memory."),
        (MemoryError, "", "MemoryError"),
        (RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried", "DefaultCPUAllocator"),
    ],
)
@pytest.mark.parametrize("stage", ["fit", "score", "queries"])
def test_a_document_that_does_not_fit_alone_is_an_error(
    tmp_path: Path, stage: str, error: type[Exception], text: str, have: str
) -> None:
    corpus = MemoryCorpus(random_documents(6, seed=1, shortest=5, longest=30))
    longest = max(len(document.text) for document in corpus)
    modules = {"fit": fit_module, "score": score_module, "queries": precondition_module}
    model = MODELS["llama"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules[stage], "backward", SmallMemory(4, error, text))
        with pytest.raises(ComputeError) as caught:
            run(tmp_path, "llama", corpus)
    assert "Not enough memory for a single" in caught.value.message
    if stage != "queries":
        assert f"{longest} tokens" in caught.value.message
    assert have in str(caught.value.have)
    assert "--max-length" in str(caught.value.fix)
    assert not any(parameter.grad is not None for parameter in model.model.parameters())
    # With memory again, the same command goes on.
    np.testing.assert_array_equal(
        run(tmp_path, "llama", corpus).dot, run(tmp_path / "fresh", "llama", corpus).dot
    )


def test_other_runtime_errors_are_not_taken_for_memory(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="shapes"),
        SmallMemory(0, RuntimeError, "shapes differ").installed(),
    ):
        run(tmp_path, "llama", MemoryCorpus(random_documents(4)))
