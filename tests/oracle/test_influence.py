"""Scores of the whole engine against explicit sums over dense gradients, and the identities they must obey."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dense_world import MAX_LENGTH, World, dense_gradients, moved, negative_log_likelihood, precondition
from settings import arguments
from stores import without_checksums
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import FitConfig, ScoreConfig
from influence.curvature.dense import ekfac_matrix, solve
from influence.curvature.ekfac import damping
from influence.data.query_tokens import encode_query
from influence.engine.batching import Budget, pad
from influence.engine.decompose import token_scores
from influence.engine.fit import fit_hessian
from influence.engine.parallel.merge import merge
from influence.engine.query import PreconditionedQueries, precondition_queries, query_gradients
from influence.engine.score import score
from influence.errors import InputError
from influence.models.selection import find_layers
from influence.store.factors import Factors, load_tensors, open_factors, save_tensors
from influence.store.pieces import Shard
from influence.store.scores import Scores
from influence.types import Document, Query

QUERIES = random_queries(4)
Run = Callable[..., Scores]


@pytest.fixture
def run(dense: World, factors: Factors, tmp_path: Path) -> Run:
    """`score` of this world into a new folder."""

    def run(hessian: Factors | None = factors, queries: list[Query] = QUERIES, **settings: object) -> Scores:
        corpus = settings.pop("corpus", dense.corpus)
        folder = tmp_path / f"scores-{len(list(tmp_path.iterdir()))}"
        settings = {"max_length": MAX_LENGTH, **settings}
        return score(
            dense.model,
            hessian,
            queries,
            corpus,
            folder,
            **arguments(ScoreConfig, settings),
        )

    return run


def preconditioned(dense: World, factors: Factors) -> PreconditionedQueries:
    gradients = query_gradients(dense.model, dense.layers, QUERIES, MAX_LENGTH, Budget(4096))
    return precondition_queries(gradients, dense.layers, factors, 0.1, torch.float64)


def query_tokens(dense: World) -> list[tuple[list[int], int]]:
    return [encode_query(dense.model.tokenizer, query, MAX_LENGTH) for query in QUERIES]


def test_scores_norms_and_information_from_dense_gradients(dense: World, factors: Factors, run: Run) -> None:
    encoded = query_tokens(dense)
    query_dense = dense_gradients(
        dense.model, dense.layers, [tokens for tokens, _ in encoded], [start for _, start in encoded]
    )
    dot_QD, squared_norm_D = 0, 0
    for layer in dense.layers:
        fitted = factors.layer(layer.name)
        g_QP, g_DP = query_dense[layer.name].flatten(1), dense.gradients[layer.name].flatten(1)
        p_QP = solve(ekfac_matrix(fitted), 0.1 * float(fitted.lam.mean()), g_QP)
        dot_QD = dot_QD + p_QP @ g_DP.mT
        squared_norm_D = squared_norm_D + g_DP.square().sum(1)
    scores = run()
    np.testing.assert_allclose(scores.dot, dot_QD.numpy(), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(scores.gradient_norm, squared_norm_D.sqrt().numpy(), rtol=1e-10)
    nll = [negative_log_likelihood(dense.model, tokens, start) for tokens, start in encoded]
    np.testing.assert_allclose(scores.query_nll, nll, rtol=1e-12)
    assert (np.asarray(scores.dot) > 0).any()
    assert (np.asarray(scores.dot) < 0).any()


def test_self_influence_from_dense_gradients(dense: World, factors: Factors, run: Run) -> None:
    expected_D = 0
    for layer in dense.layers:
        fitted, g_DP = factors.layer(layer.name), dense.gradients[layer.name].flatten(1)
        p_DP = solve(ekfac_matrix(fitted), 0.1 * float(fitted.lam.mean()), g_DP)
        expected_D = expected_D + (p_DP * g_DP).sum(1)
    scores = run(self_influence=True)
    np.testing.assert_allclose(scores.self_influence, expected_D.numpy(), rtol=1e-7)
    np.testing.assert_array_equal(scores.dot, run().dot)
    identity = run(None, self_influence=True)
    np.testing.assert_allclose(identity.self_influence, np.square(identity.gradient_norm), rtol=1e-10)
    first = scores.top_self(3)
    assert first["self_influence"].tolist() == sorted(np.asarray(scores.self_influence))[:-4:-1]
    assert scores.top_self(1, bottom=True)["self_influence"][0] == np.min(scores.self_influence)
    with pytest.raises(InputError, match="has no influence of documents on themselves"):
        _ = run().self_influence


def test_pieces_and_reuse_keep_self_influence(
    dense: World, factors: Factors, run: Run, tmp_path: Path
) -> None:
    whole = run(self_influence=True)
    config = ScoreConfig(max_length=MAX_LENGTH, self_influence=True)
    for piece in (1, 2):
        score(
            dense.model, factors, QUERIES, dense.corpus, tmp_path / f"piece-{piece}",
            shard=Shard(piece, 2), config=config,
        )  # fmt: skip
    merged = merge([tmp_path / "piece-1", tmp_path / "piece-2"], tmp_path / "merged")
    np.testing.assert_allclose(merged.self_influence, whole.self_influence, rtol=1e-12)
    again = score(
        dense.model, factors, QUERIES, MemoryCorpus(dense.corpus.documents[:5]), tmp_path / "reused",
        reuse=whole, config=config,
    )  # fmt: skip
    np.testing.assert_array_equal(again.self_influence, np.asarray(whole.self_influence)[:5])


@pytest.mark.parametrize("damping_", [0.1, 10.0])
def test_scores_of_the_documents_themselves_are_a_symmetric_positive_form(
    run: Run, dense: World, damping_: float
) -> None:
    """A prompt of one character leaves the completion the same loss as the document's: all but the first token."""
    queries = [Query(d.id, "self", "control", d.text[:1], d.text[1:]) for d in dense.corpus]
    form = np.asarray(run(queries=queries, damping=damping_).dot)
    np.testing.assert_allclose(form, form.T, rtol=1e-8, atol=1e-8 * np.abs(form).max())
    assert (form.diagonal() > 0).all()
    assert np.linalg.eigvalsh((form + form.T) / 2).min() > -1e-8 * np.abs(form).max()


def test_infinite_damping_gives_the_gradient_dot_product(dense: World, factors: Factors, run: Run) -> None:
    """Layers have their own damping, so the limit weighs each layer's dot product by 1 / mean(lam)."""
    encoded = query_tokens(dense)
    query_dense = dense_gradients(
        dense.model, dense.layers, [tokens for tokens, _ in encoded], [start for _, start in encoded]
    )
    products = {
        name: (query_dense[name].flatten(1) @ g_DOI.flatten(1).mT) for name, g_DOI in dense.gradients.items()
    }
    expected = sum(products[name] / factors.layer(name).lam.mean() for name in products).numpy()
    found = np.asarray(run(damping=1e8).dot) * 1e8
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(run(hessian=None).dot, sum(products.values()).numpy(), rtol=1e-9, atol=1e-10)


def test_a_step_along_a_document_changes_the_completion_by_its_score(
    dense: World, factors: Factors, run: Run
) -> None:
    """The sign: weight ε on a document moves the weights by −ε H⁻¹ ∇NLL and log p(completion | prompt) by +ε score."""
    dot_QD = np.asarray(run().dot)
    # Llama's norms compute in fp32 whatever the model's dtype; OPT's ReLU has kinks.
    size = 1e-6 if dense.model.model.config.model_type == "opt" else 1e-4
    for column in (0, 5, 9):
        steps = [
            precondition(dense.gradients[layer.name][column : column + 1], factors.layer(layer.name), 0.1)[0]
            for layer in dense.layers
        ]
        for row, (tokens, start) in enumerate(query_tokens(dense)):
            upweighted, downweighted = (
                -negative_log_likelihood(moved(dense.model, dense.layers, steps, e), tokens, start)
                for e in (-size, size)
            )
            slope = (upweighted - downweighted) / (2 * size)
            assert slope == pytest.approx(dot_QD[row, column], rel=1e-3, abs=1e-3)


def test_permuting_documents_permutes_scores(dense: World, run: Run) -> None:
    order = list(range(len(dense.corpus.documents)))
    random.Random(1).shuffle(order)
    scores, permuted = run(), run(corpus=MemoryCorpus([dense.corpus.documents[i] for i in order]))
    assert list(permuted.documents.ids) == [dense.corpus.documents[i].id for i in order]
    np.testing.assert_allclose(permuted.dot, np.asarray(scores.dot)[:, order], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(permuted.gradient_norm, np.asarray(scores.gradient_norm)[order], rtol=1e-10)
    backwards = run(queries=QUERIES[::-1])
    np.testing.assert_allclose(backwards.dot, np.asarray(scores.dot)[::-1], rtol=1e-10, atol=1e-10)


def test_flipping_eigenvectors_changes_nothing(factors: Factors, run: Run, tmp_path: Path) -> None:
    expected = np.asarray(run().dot)
    flipped = tmp_path / "flipped"
    shutil.copytree(factors.folder, flipped)
    generator = torch.Generator().manual_seed(0)
    for kind in ("activation", "gradient"):
        path = flipped / f"{kind}_eigenvectors.safetensors"
        vectors = {
            name: q * (2 * torch.randint(2, q.shape[1:], generator=generator) - 1)
            for name, q in load_tensors(path).items()
        }
        save_tensors(path, vectors)
    without_checksums(flipped)
    np.testing.assert_allclose(run(hessian=open_factors(flipped)).dot, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("batch_tokens", [1, 40, 130])
def test_batches_change_nothing(run: Run, batch_tokens: int) -> None:
    one, other = run(), run(batch_tokens=batch_tokens)
    largest = np.abs(one.dot).max()
    np.testing.assert_allclose(other.dot, one.dot, rtol=1e-10, atol=1e-12 * largest)
    np.testing.assert_allclose(other.gradient_norm, one.gradient_norm, rtol=1e-10)
    np.testing.assert_allclose(other.query_nll, one.query_nll, rtol=1e-12)


def test_windows_are_documents_of_their_own(dense: World, run: Run) -> None:
    room = 7
    pieces = [
        Document(f"{d.id}#{n}" if len(d.text) > room else d.id, d.text[n * room : (n + 1) * room])
        for d in dense.corpus
        for n in range(-(-len(d.text) // room))
    ]
    pieces = [piece for piece in pieces if len(piece.text) > 1]
    queries = [Query("q", "task", "control", "ab", "cde")]
    cut = run(queries=queries, windows=True, max_length=room)
    expected = run(queries=queries, corpus=MemoryCorpus(pieces))
    assert list(cut.documents.ids) == [piece.id for piece in pieces]
    assert [cut.documents.text(i) for i in range(len(pieces))] == [piece.text for piece in pieces]
    np.testing.assert_allclose(cut.dot, expected.dot, rtol=1e-10, atol=1e-10)


def test_token_and_layer_scores_sum_to_the_documents(dense: World, factors: Factors, run: Run) -> None:
    dot_QD = np.asarray(run().dot)
    queries = preconditioned(dense, factors)
    parts_LQDT = token_scores(dense.model, dense.layers, queries, pad(dense.tokens, dense.model.device))
    assert parts_LQDT.shape == (len(dense.layers), len(QUERIES), len(dense.tokens), max(dense.lengths))
    np.testing.assert_allclose(parts_LQDT.sum((0, 3)).numpy(), dot_QD, rtol=1e-9, atol=1e-9)
    for layer, p_QOI, part_QDT in zip(dense.layers, queries.gradients, parts_LQDT, strict=True):
        layer_QD = p_QOI.flatten(1) @ dense.gradients[layer.name].flatten(1).mT
        torch.testing.assert_close(part_QDT.sum(-1), layer_QD, rtol=1e-9, atol=1e-9)
    for column, length in enumerate(dense.lengths):
        # Nothing is computed at padding, and nothing is predicted from a document's last token.
        assert (parts_LQDT[:, :, column, length - 1 :] == 0).all()
        assert (parts_LQDT[:, :, column, : length - 1] != 0).any()


def test_a_query_model_gives_the_queries_gradients(dense: World, factors: Factors, run: Run) -> None:
    steps = [torch.ones(layer.shape, dtype=torch.float64) for layer in dense.layers]
    tuned = moved(dense.model, dense.layers, steps, 0.01)
    scores = run(query_model=tuned)
    gradients = query_gradients(tuned, find_layers(tuned.model), QUERIES, MAX_LENGTH, Budget(4096))
    queries = precondition_queries(gradients, dense.layers, factors, 0.1, torch.float64)
    expected = sum(
        p_QOI.flatten(1) @ dense.gradients[layer.name].flatten(1).mT
        for layer, p_QOI in zip(dense.layers, queries.gradients, strict=True)
    )
    np.testing.assert_allclose(scores.dot, expected.numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scores.query_nll, queries.nll.numpy(), rtol=1e-12)
    assert np.abs(np.asarray(scores.dot) - np.asarray(run().dot)).max() > 1e-3


def test_single_precision_agrees_to_single_precision(tmp_path: Path) -> None:
    """The default dtype: sums in fp32 stay close to the exact scores of the same rounded weights."""
    corpus = MemoryCorpus(random_documents(20, seed=8, shortest=10, longest=40))
    found = {}
    for dtype in (torch.float32, torch.float64):
        model = tiny_model("llama", dtype=torch.float32)
        model.model.to(dtype)
        hessian = fit_hessian(
            model,
            corpus,
            out=tmp_path / f"fit{dtype}",
            config=FitConfig(max_length=MAX_LENGTH, empirical=True),
        )
        found[dtype] = score(
            model,
            hessian,
            QUERIES,
            corpus,
            tmp_path / f"run{dtype}",
            config=ScoreConfig(max_length=MAX_LENGTH),
        )
    exact = np.asarray(found[torch.float64].dot)
    assert found[torch.float32].dot.dtype == np.float32
    assert np.abs(np.asarray(found[torch.float32].dot) - exact).max() < 1e-4 * np.abs(exact).max()


def test_damping_is_relative_to_the_mean_eigenvalue() -> None:
    lam = torch.tensor([[1.0, 3.0], [0.0, 4.0]])
    assert float(damping(lam, 0.1)) == pytest.approx(0.2)
