"""The measurement of compressed queries at full width, at small width."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from bench.wide_queries import made_eigenbasis, measure, write_hessian


def test_a_made_eigenbasis_begins_with_the_tokens_own() -> None:
    x_KN = torch.randn(40, 300, generator=torch.Generator().manual_seed(0))
    values_N, vectors_NN = made_eigenbasis(x_KN, 0.9)
    torch.testing.assert_close(vectors_NN.mT @ vectors_NN, torch.eye(300), rtol=0, atol=1e-5)
    assert (values_N.diff() <= 0).sum() == 0
    own = torch.linalg.svdvals(x_KN).square().flip(0) / len(x_KN)
    torch.testing.assert_close(values_N[-40:], own, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close((x_KN @ vectors_NN[:, -1]).square().mean(), own[-1], rtol=1e-3, atol=0)


def test_what_is_kept_is_counted(tmp_path: Path) -> None:
    options = argparse.Namespace(
        width=128, mlp=192, blocks=1, queries=5, documents=4, error=0.02, folder=tmp_path
    )
    write_hessian(options)
    found = measure(options)
    assert found["kept"] == [round(5 * rank * (128 + 192 + 4)) for rank in found["ranks"]]
    assert found["compression"]["mean_rank"] == round(sum(found["ranks"]) / 3, 2)
    assert found["compression"]["documents"] == 4
    assert found["compression"]["r_mean"] > 0.97
