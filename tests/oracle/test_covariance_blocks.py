"""Covariances in blocks against dense matrices whose off-diagonal blocks are zero, from the fit to the scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from dense_world import MAX_LENGTH, World, dense_covariances, dense_gradients, precondition, world
from hypothesis import given, settings
from hypothesis import strategies as st
from settings import arguments
from texts import random_queries
from torch import Tensor

import influence.engine.fit_parts as fit_module
from influence.blocks import BlockDiagonal, block_diagonal, block_sizes, dense
from influence.cli.main import cli
from influence.config import FitConfig, ScoreConfig
from influence.curvature.dense import ekfac_matrix, fisher, solve
from influence.curvature.ekfac import damping
from influence.curvature.low_rank import compress, document_roots
from influence.curvature.sketch import layer_metric, layer_sketch, sketch_documents, sketch_queries
from influence.curvature.statistics import document_gradients, squared_rotated_gradients
from influence.data.queries import write_queries
from influence.data.query_tokens import encode_query
from influence.engine.fit import fit_hessian
from influence.engine.plan.plan import plan_fit
from influence.engine.score import score
from influence.errors import InfluenceError, InputError, StoreError
from influence.store.factors import Factors, load_tensors, open_factors
from influence.types import LayerFactors

QUERIES = random_queries(3)


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis(size: int, count: int, seed: int) -> BlockDiagonal:
    """Random orthonormal blocks."""
    parts = [torch.linalg.qr(numbers(n, n, seed=seed + n)).Q for n in block_sizes(size, count)]
    return BlockDiagonal(tuple(parts))


def on_the_diagonal(size: int, count: int) -> Tensor:
    """1 within a block, 0 between blocks."""
    number_N = torch.repeat_interleave(torch.arange(count), torch.tensor(block_sizes(size, count)))
    return (number_N[:, None] == number_N[None]).double()


def fit(of: World, folder: Path, blocks: int, **more: object) -> Factors:
    settings = {
        "max_length": MAX_LENGTH,
        "empirical": True,
        "batch_tokens": 100,
        "covariance_blocks": blocks,
        **more,
    }
    return fit_hessian(of.model, of.corpus, out=folder, **arguments(FitConfig, settings))


@pytest.fixture(scope="module", params=[("gpt2", 2), ("llama", 3)], ids=str)
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Factors]:
    """Inputs of 17 and 25 in GPT-2, which has biases; of 16 and 24 in three blocks in Llama: sizes that differ."""
    family, blocks = request.param
    return world(family), fit(world(family), tmp_path_factory.mktemp("blocks") / "hessian", blocks)


# -- a fit and its scores


def test_covariances_eigenbases_and_corrected_eigenvalues(fitted: tuple[World, Factors]) -> None:
    of, factors = fitted
    stored = {
        kind: load_tensors(factors.folder / f"{kind}_covariance.safetensors")
        for kind in ("activation", "gradient")
    }
    for layer in of.layers:
        found = factors.layer(layer.name)
        e_S, e_A = factors.token_eigenvalues(layer.name)
        a_sum, s_sum = dense_covariances(of.model, layer.name, of.tokens)
        for kind, whole, q, values in (
            ("activation", a_sum, found.activation_eigenvectors, e_A),
            ("gradient", s_sum, found.gradient_eigenvectors, e_S),
        ):
            assert isinstance(q, BlockDiagonal)
            size, count = len(whole), factors.covariance_blocks
            expected = whole * on_the_diagonal(size, count)
            blocks = [stored[kind][f"{layer.name}/{number}"] for number in range(count)]
            torch.testing.assert_close(torch.block_diag(*blocks), expected, rtol=1e-10, atol=1e-10)
            assert sum(block.numel() for block in q.blocks) == int(on_the_diagonal(size, count).sum())
            q_NN, mean = dense(q), expected / sum(of.lengths)
            torch.testing.assert_close(q_NN @ values.diag() @ q_NN.mT, mean, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(q_NN.mT @ q_NN, torch.eye(size).double(), rtol=0, atol=1e-12)
        g_DP = of.gradients[layer.name].flatten(1)
        rotation = torch.kron(dense(found.gradient_eigenvectors), dense(found.activation_eigenvectors))
        diagonal = (rotation.mT @ fisher(g_DP) @ rotation).diagonal()
        torch.testing.assert_close(found.lam.flatten(), diagonal, rtol=1e-10, atol=1e-12)


def test_scores_are_those_of_the_dense_solve(fitted: tuple[World, Factors], tmp_path: Path) -> None:
    of, factors = fitted
    encoded = [encode_query(of.model.tokenizer, query, MAX_LENGTH) for query in QUERIES]
    asked = dense_gradients(of.model, of.layers, [ids for ids, _ in encoded], [at for _, at in encoded])
    dot_QD = torch.zeros(len(QUERIES), len(of.tokens), dtype=torch.float64)
    for layer in of.layers:
        found = factors.layer(layer.name)
        p_QP = solve(ekfac_matrix(found), damping(found.lam, 0.1), asked[layer.name].flatten(1))
        dot_QD += p_QP @ of.gradients[layer.name].flatten(1).mT
    for error in (None, 1e-20):
        out = tmp_path / f"scores-{error}"
        scores = score(
            of.model,
            factors,
            QUERIES,
            of.corpus,
            out,
            config=ScoreConfig(max_length=MAX_LENGTH, query_error=error),
        )
        np.testing.assert_allclose(scores.dot, dot_QD.numpy(), rtol=1e-8, atol=1e-8)
        assert scores.manifest["config"]["hessian"]["covariance_blocks"] == factors.covariance_blocks


# -- the parts


@settings(max_examples=40)
@given(size=st.integers(1, 9), count=st.integers(1, 9), rows=st.integers(0, 4), seed=st.integers(0, 99))
def test_products_are_those_of_the_dense_matrix(size: int, count: int, rows: int, seed: int) -> None:
    if count > size:
        with pytest.raises(InputError, match=f"has no {count} blocks"):
            block_sizes(size, count)
        return
    sizes = block_sizes(size, count)
    assert (len(sizes), sum(sizes), max(sizes) - min(sizes) <= 1) == (count, size, True)
    q = block_diagonal([numbers(n, n, seed=seed + n) for n in sizes])
    assert isinstance(q, Tensor) == (count == 1)  # whole matrices stay what they were
    q_NN, x_BRN = dense(q), numbers(2, rows, size, seed=seed)
    assert tuple(q.shape) == tuple(q_NN.shape) == (len(q), len(q))
    torch.testing.assert_close(x_BRN @ q, x_BRN @ q_NN)
    torch.testing.assert_close(q @ x_BRN.mT, q_NN @ x_BRN.mT)
    torch.testing.assert_close(q.mT @ x_BRN.mT, q_NN.mT @ x_BRN.mT)
    torch.testing.assert_close(x_BRN.float() @ q.to(torch.float32), (x_BRN @ q_NN).float())
    torch.testing.assert_close(dense(q.to(torch.float32).double()), q_NN.float().double())


def test_whatever_takes_eigenvectors_takes_blocks_of_them() -> None:
    outputs, inputs, tokens, documents = 7, 10, 5, 4
    q_S, q_A = basis(outputs, 2, seed=1), basis(inputs, 3, seed=2)
    in_blocks = LayerFactors(q_A, q_S, numbers(outputs, inputs, seed=3).exp())
    whole = LayerFactors(dense(q_A), dense(q_S), in_blocks.lam)
    s_BTO, a_BTI = numbers(documents, tokens, outputs, seed=4), numbers(documents, tokens, inputs, seed=5)
    g_BOI = document_gradients(s_BTO, a_BTI)
    roots = document_roots(numbers(outputs, seed=6).exp(), numbers(inputs, seed=7).exp())
    found, expected = [], []
    for factors, results in ((in_blocks, found), (whole, expected)):
        bases = factors.gradient_eigenvectors, factors.activation_eigenvectors
        results.append(squared_rotated_gradients(s_BTO, a_BTI, *bases, torch.float64))
        results.append(squared_rotated_gradients(s_BTO[:, :1], a_BTI[:, :1], *bases, torch.float64))
        results.append(precondition(g_BOI, factors, 0.1))
        results.append(ekfac_matrix(factors))
        results.append(compress(g_BOI[0], roots, *bases, 0.2).dense(slice(None), torch.float64)[0])
        metric = layer_metric(factors, (outputs, inputs), 0.1)
        results.append(metric.white_queries(g_BOI))
        sketch = layer_sketch(metric, numbers(3, outputs, seed=8), numbers(4, inputs, seed=9))
        results += [sketch_documents(s_BTO, a_BTI, sketch), sketch_queries(g_BOI, sketch)]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


# -- folders and commands


def test_a_fit_in_blocks_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = world("gpt2")
    whole = fit(of, tmp_path / "whole", 2)
    for name in ("eigenbasis", "squared_rotated_gradients"):
        original, calls = getattr(fit_module, name), []

        def dies(*args: object, original: object = original, calls: list[int] = calls) -> object:
            calls.append(1)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return original(*args)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(fit_module, name, dies)
            with pytest.raises(KeyboardInterrupt):
                fit(of, tmp_path / "killed", 2)
    with pytest.raises(StoreError, match="other arguments"):
        fit(of, tmp_path / "killed", 4)
    fit(of, tmp_path / "killed", 2)
    names = {path.name for path in whole.folder.iterdir()}
    assert {path.name for path in (tmp_path / "killed").iterdir()} == names
    for name in names - {"manifest.json"}:
        assert (whole.folder / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_one_block_is_the_fit_that_there_always_was(tmp_path: Path) -> None:
    assert "covariance_blocks" not in FitConfig(covariance_blocks=1).identity()
    factors = fit(world("llama"), tmp_path / "hessian", 1)
    assert factors.covariance_blocks == 1
    assert (tmp_path / "hessian" / "factor_arguments.json").exists()
    assert isinstance(factors.layer(factors.layers[0]).gradient_eigenvectors, Tensor)
    assert set(load_tensors(factors.folder / "activation_covariance.safetensors")) == set(factors.layers)


def test_what_is_refused(fitted: tuple[World, Factors], tmp_path: Path) -> None:
    of, factors = fitted
    for asked, message in (
        ({"backend": "kronfluence", "covariance_blocks": 2}, "keeps whole covariances"),
        ({"covariance_blocks": 0}, "must be positive"),
    ):
        with pytest.raises(InputError, match=message):
            FitConfig(**asked)
    with pytest.raises(InputError, match="has no 99 blocks"):
        fit(of, tmp_path / "narrow", 99)
    changed = dict(factors.manifest or {})
    for count in ("2", 0, 1 << 40, None):
        changed["config"] = {**changed["config"], "covariance_blocks": count}
        with pytest.raises(StoreError, match="damaged"):
            Factors(factors.folder, changed).layer(factors.layers[0])
    bare = tmp_path / "bare"  # what a program that looks for kronfluence's files would see
    shutil.copytree(factors.folder, bare)
    (bare / "manifest.json").unlink()
    with pytest.raises(InfluenceError, match="no hessian"):
        open_factors(bare)


def test_a_plan_counts_blocks() -> None:
    of = world("llama")
    saved = [plan_fit(of.model, of.corpus, config=FitConfig(covariance_blocks=n)).disk for n in (1, 2)]
    sides = [side for layer in of.layers for side in layer.shape]
    squares, eigenvalues = sum(side**2 for side in sides), sum(sides)
    whole = 3 * squares + 2 * eigenvalues  # when the eigenbases of all layers are joined
    halves = 2 * squares / 2 + eigenvalues + 2 * sum(o * i for o, i in (layer.shape for layer in of.layers))
    assert saved[0] - saved[1] == pytest.approx(8 * (whole - halves), rel=0.01)  # which then are the largest


def test_the_commands(tmp_path: Path) -> None:
    of = world("llama")
    of.model.model.save_pretrained(tmp_path / "model")
    of.model.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "corpus.jsonl").write_text('{"text": "one and two"}\n{"text": "3"}\n' * 9, encoding="utf-8")
    write_queries(QUERIES, tmp_path / "queries.jsonl")
    corpus = ["--corpus", f"{tmp_path}/corpus.jsonl"]
    made = CliRunner().invoke(
        cli,
        [
            "fit-hessian",
            "--model",
            f"{tmp_path}/model",
            *corpus,
            "--out",
            f"{tmp_path}/h",
            "--covariance-blocks",
            "2",
        ],
    )
    assert made.exit_code == 0, made.output
    assert not (tmp_path / "h" / "factor_arguments.json").exists()
    assert open_factors(tmp_path / "h").covariance_blocks == 2
    asked = ["--queries", f"{tmp_path}/queries.jsonl", "--model", f"{tmp_path}/model"]
    scored = CliRunner().invoke(
        cli, ["score", *asked, *corpus, "--hessian", f"{tmp_path}/h", "--out", f"{tmp_path}/scores"]
    )
    assert scored.exit_code == 0, scored.output
