"""Queries of low rank: what is lost is what was asked for, and what is kept meets documents exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dense_world import MAX_LENGTH, World
from hypothesis import given
from hypothesis import strategies as st
from texts import MemoryCorpus, random_queries
from torch import Tensor

from influence.config import ScoreConfig
from influence.curvature.low_rank import (
    LowRank,
    Roots,
    compress,
    document_roots,
    joined,
    leading_pairs,
    low_rank_products,
    plain_roots,
    squared_norms,
    token_route,
)
from influence.curvature.statistics import document_gradients
from influence.engine import compress as compress_module
from influence.engine import products
from influence.engine.products import DenseProducts, LowRankProducts, QueryProducts
from influence.engine.score import score
from influence.errors import InputError
from influence.store.factors import Factors
from influence.store.pieces import Shard
from influence.store.scores import Scores
from influence.types import Document

OUTPUTS, INPUTS, QUERIES = 9, 6, 5


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis(size: int, seed: int) -> Tensor:
    q: Tensor = torch.linalg.qr(numbers(size, size, seed=seed)).Q
    return q


def cut(error: float, roots: Roots | None = None) -> tuple[Tensor, LowRank]:
    """`P` of some queries, dense and compressed."""
    p_QOI, q_S, q_A = numbers(QUERIES, OUTPUTS, INPUTS, seed=1), basis(OUTPUTS, 2), basis(INPUTS, 3)
    roots = roots or plain_roots(OUTPUTS, INPUTS)
    found = joined([compress(p_OI, roots, q_S, q_A, error) for p_OI in p_QOI])
    return q_S @ p_QOI @ q_A.mT, found


@given(error=st.floats(0.001, 0.9), seed=st.integers(0, 50), tall=st.booleans())
def test_the_rank_is_the_least_that_loses_no_more(error: float, seed: int, tall: bool) -> None:
    m_OI = numbers(60, 40, seed=seed) * torch.logspace(0, -2, 40, dtype=torch.float64)
    m_OI = m_OI if tall else m_OI.mT
    u_RO, v_RI = leading_pairs(m_OI, error)
    total = float(m_OI.square().sum())
    assert float((m_OI - u_RO.mT @ v_RI).square().sum()) <= error * total * (1 + 1e-6)
    spectrum = torch.linalg.svdvals(m_OI).square()
    needed = int((total - spectrum.cumsum(0) > error * total).sum()) + 1
    assert needed <= len(u_RO) <= needed + 1  # the search is only nearly exact


def test_some_queries_and_outputs_are_those_of_all() -> None:
    _, found = cut(0.3)
    whole_QOI = found.dense(slice(None), torch.float64)
    for rows in (slice(0, 1), slice(1, 3), slice(2, 99)):
        part_QoI = found.dense(rows, torch.float64, slice(3, 7))
        torch.testing.assert_close(part_QoI, whole_QOI[rows, 3:7])


def test_nothing_is_lost_where_nothing_may_be_lost() -> None:
    p_QOI, found = cut(
        1e-12, document_roots(numbers(OUTPUTS, seed=4).square(), numbers(INPUTS, seed=5).square())
    )
    torch.testing.assert_close(found.dense(slice(None), torch.float64), p_QOI, rtol=1e-5, atol=1e-5)
    assert found.ranks == (INPUTS,) * QUERIES


def test_the_documents_metric_loses_less_of_what_documents_see() -> None:
    eigenvalues = (
        torch.logspace(0, -4, OUTPUTS, dtype=torch.float64),
        torch.logspace(-3, 0, INPUTS, dtype=torch.float64),
    )
    roots = document_roots(*eigenvalues)
    p_OI = numbers(OUTPUTS, INPUTS, seed=1)
    seen = roots.outputs[:, None] * p_OI * roots.inputs
    u_RO, v_RI = leading_pairs(seen, 0.2)
    plain = torch.linalg.svd(p_OI)
    rank = len(u_RO)
    plain_OI = plain.U[:, :rank] * plain.S[:rank] @ plain.Vh[:rank]
    lost = (seen - u_RO.mT @ v_RI).norm()
    assert lost < 0.5 * (seen - roots.outputs[:, None] * plain_OI * roots.inputs).norm()


def test_products_from_tokens_are_those_of_matrices() -> None:
    p_QOI, found = cut(0.3)
    s_BTO, a_BTI = numbers(4, 7, OUTPUTS, seed=7), numbers(4, 7, INPUTS, seed=8)
    g_BOI = document_gradients(s_BTO, a_BTI)
    kept_QOI = found.dense(slice(None), torch.float64)
    expected = g_BOI.flatten(1) @ kept_QOI.flatten(1).mT
    torch.testing.assert_close(low_rank_products(found, s_BTO, a_BTI), expected)
    torch.testing.assert_close(squared_norms(s_BTO, a_BTI), g_BOI.square().sum((1, 2)))
    assert (kept_QOI - p_QOI).norm() > 0.1 * p_QOI.norm()


@pytest.mark.parametrize("by_tokens", [True, False])
@pytest.mark.parametrize("room", [1, 2 * INPUTS, 20 * INPUTS, 1000 * INPUTS])
def test_both_routes_and_any_workspace_give_the_same(
    by_tokens: bool, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "token_route", lambda *_: by_tokens)
    monkeypatch.setattr(products, "_CPU_WORKSPACE", room)
    _, found = cut(0.3)
    tokens = [
        (numbers(count, length, INPUTS, seed=length), numbers(count, length, OUTPUTS, seed=10 + length))
        for count, length in ((2, 9), (3, 5), (1, 2))
    ]
    sums = []
    for queries in (
        LowRankProducts(found),
        DenseProducts(found.dense(slice(None), torch.float64)),
    ):
        dot_BQ, squared_B = torch.zeros(6, QUERIES, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
        nll = torch.ones(QUERIES, dtype=torch.float64)
        room_N = QueryProducts([queries], nll).workspace(torch.float64)
        queries.add(tokens, room_N, dot_BQ, squared_B)
        sums.append((dot_BQ, squared_B))
    torch.testing.assert_close(sums[0], sums[1])


@given(seed=st.integers(0, 50), spread=st.floats(1e-6, 1e6))
def test_eight_bits_are_off_by_half_a_step_at_most_and_cost_half_of_bfloat16(
    seed: int, spread: float
) -> None:
    left, right = numbers(4, 40, seed=seed) * spread, numbers(4, 30, seed=seed + 1)
    left[1] = 0
    whole = LowRank(left, right, torch.ones(4, dtype=torch.float64), (3, 1))
    rounded = whole.in_eight_bits()
    assert rounded.left.nbytes + rounded.right.nbytes == 4 * (40 + 30)
    off = (rounded.dense(slice(None), torch.float64) - whole.dense(slice(None), torch.float64)).abs()
    steps = [rows.abs().amax(1) / 127 for rows in (left, right)]
    most = [(side.abs().amax(1), step / 2) for side, step in zip((left, right), steps, strict=True)]
    (l_most, l_off), (r_most, r_off) = most
    bound_K = l_most * r_off + l_off * r_most + l_off * r_off
    assert (off.amax((1, 2)) <= torch.stack([bound_K[:3].sum(), bound_K[3]]) * (1 + 1e-9)).all()
    s_BTO, a_BTI = numbers(2, 5, 40, seed=7), numbers(2, 5, 30, seed=8)
    expected = (
        document_gradients(s_BTO, a_BTI).flatten(1) @ rounded.dense(slice(None), torch.float64).flatten(1).mT
    )
    torch.testing.assert_close(low_rank_products(rounded, s_BTO, a_BTI), expected)


def test_tokens_are_cheaper_where_layers_are_wide() -> None:
    assert token_route([16] * 80, (11008, 4096), tokens=4096, documents=10)
    assert not token_route([16] * 80, (1024, 384), tokens=4096, documents=20)


def test_a_compressed_run_says_how_well_it_agrees(dense: World, factors: Factors, tmp_path: Path) -> None:
    queries = random_queries(4)

    def run(name: str, **settings: Any) -> tuple[np.ndarray, dict[str, float] | None]:
        folder = tmp_path / name
        scores = score(
            dense.model,
            factors,
            queries,
            dense.corpus,
            folder,
            config=ScoreConfig(max_length=MAX_LENGTH, **settings),
        )
        made_by = json.loads((folder / "manifest.json").read_text())["provenance"]
        return np.asarray(scores.dot), made_by.get("compression")

    exact, none = run("exact")
    near, all_but = run("near", query_error=1e-9)
    far, cut_to = run("far", query_error=0.2)
    assert none is None
    assert all_but is not None
    assert cut_to is not None
    np.testing.assert_allclose(near, exact, rtol=1e-3, atol=1e-3 * np.abs(exact).max())
    assert all_but["r_least"] == pytest.approx(1, abs=1e-5)
    assert all_but["mean_rank"] > cut_to["mean_rank"] >= 1
    assert (all_but["bits"], cut_to["bits"]) == (64, 8)
    measured = [np.corrcoef(a, b)[0, 1] for a, b in zip(exact, far, strict=True)]
    assert cut_to["documents"] == exact.shape[1]  # so few that all of them were drawn
    assert cut_to["r_mean"] == pytest.approx(np.mean(measured), abs=1e-5)
    assert cut_to["r_least"] == pytest.approx(min(measured), abs=1e-5)
    assert cut_to["r_mean"] < 0.9999


def test_queries_of_many_tokens_are_compressed_in_groups(
    dense: World, factors: Factors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> Scores:
        settings: dict[str, Any] = {"max_length": MAX_LENGTH, "query_error": 0.05}
        return score(
            dense.model,
            factors,
            random_queries(5),
            dense.corpus,
            tmp_path / name,
            config=ScoreConfig(**settings),
        )

    together = run("together")
    monkeypatch.setattr(compress_module, "GROUP_BYTES", 1)  # each by itself
    monkeypatch.setattr(compress_module, "_SAMPLE_BYTES", 1)  # the beginnings of the fewest documents
    apart = run("apart")
    tolerance = 1e-6 * float(np.abs(together.dot).max())
    np.testing.assert_allclose(apart.dot, together.dot, rtol=1e-6, atol=tolerance)
    np.testing.assert_allclose(apart.query_nll, together.query_nll)
    cut = apart.manifest["provenance"]["compression"]
    assert cut["documents"] == 3
    assert cut["mean_rank"] == together.manifest["provenance"]["compression"]["mean_rank"]


def test_without_a_hessian_there_is_no_metric(dense: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metric of a Hessian"):
        score(
            dense.model,
            None,
            random_queries(2),
            dense.corpus,
            tmp_path / "run",
            config=ScoreConfig(query_error=0.1),
        )


def test_a_piece_without_text_is_compressed_too(dense: World, factors: Factors, tmp_path: Path) -> None:
    empty = MemoryCorpus([Document("a", "")])
    scores = score(
        dense.model,
        factors,
        random_queries(2),
        empty,
        tmp_path / "run",
        shard=Shard(1, 1),
        config=ScoreConfig(query_error=0.1),
    )
    assert scores.dot.shape == (2, 0)
    assert scores.manifest["provenance"]["compression"]["r_mean"] is None
