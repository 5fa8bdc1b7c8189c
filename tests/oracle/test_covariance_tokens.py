"""Covariances over some of the tokens: those drawn and no others, each as likely as the next."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sampling import SUMS, assert_equal_fits, sums
from texts import MemoryCorpus, random_documents
from tiny import tiny_model
from torch import Tensor

from influence.config import FitConfig
from influence.data.document_tokens import TokenReport, encode_documents
from influence.engine.batching import pad
from influence.engine.fit import fit_hessian
from influence.engine.fit_parts import COVARIANCE_TOKENS, Draws
from influence.engine.passes import backward
from influence.errors import InputError
from influence.models.selection import find_layers
from influence.store.documents import DocumentTable, write_documents
from influence.store.factors import load_tensors
from influence.types import Document

SHARE, SEED = 0.4, 3
DOCUMENTS = random_documents(14, seed=3, longest=24)


def drawn(name: str, length: int) -> list[int]:
    """Positions of a document that the covariances are summed over."""
    key = [SEED * 4 + 3, int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")]
    return np.flatnonzero(np.random.Generator(np.random.Philox(key=key)).random(length) < SHARE).tolist()


@pytest.mark.parametrize(
    ("family", "dtype"), [("llama", torch.float64), ("gpt2", torch.float64), ("llama", torch.bfloat16)]
)
def test_covariances_are_those_of_the_tokens_drawn(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny_model(family, dtype=dtype)
    layers = find_layers(model.model)
    factors = fit_hessian(
        model,
        MemoryCorpus(DOCUMENTS),
        out=tmp_path / "fit",
        config=FitConfig(empirical=True, covariance_tokens=SHARE, seed=SEED),
        batch_tokens=60,
    )
    expected: dict[tuple[str, str], Tensor] = {}
    count = 0
    for document, ids in encode_documents(DOCUMENTS, model.tokenizer, 512, False, TokenReport()):
        chosen = drawn(document.id, len(ids))
        count += len(chosen)

        def add(index: int, a_BTI: Tensor, s_BTO: Tensor, chosen: list[int] = chosen) -> None:
            for kind, x_BTN in (("activation", a_BTI), ("gradient", s_BTO)):
                for t in chosen:
                    x_N = x_BTN[0, t].to(torch.promote_types(dtype, torch.float32))
                    name = (f"{kind}_covariance", layers[index].name)
                    expected[name] = expected.get(name, 0) + torch.outer(x_N, x_N)

        backward(model, layers, pad([ids], model.device), add, what="the test")
    tolerance = 1e-10 if dtype == torch.float64 else 3e-2  # bfloat16 rounds otherwise in other batches
    for (kind, layer), expected_NN in expected.items():
        found_NN = load_tensors(factors.folder / f"{kind}.safetensors")[layer]
        torch.testing.assert_close(
            found_NN, expected_NN, rtol=tolerance, atol=tolerance * float(expected_NN.abs().max())
        )
        assert load_tensors(factors.folder / f"num_{kind}_processed.safetensors")[layer].item() == count
        values = load_tensors(factors.folder / f"{kind.replace('covariance', 'eigenvalues')}.safetensors")[
            layer
        ]
        torch.testing.assert_close(values.sum(), found_NN.trace() / count, rtol=1e-5, atol=0)
    assert factors.manifest is not None
    assert factors.manifest["config"]["covariance_tokens"] == SHARE


def test_the_tokens_do_not_depend_on_batches_or_on_the_order_of_documents(tmp_path: Path) -> None:
    model = tiny_model("gpt2")
    plain, small, turned = (
        fit_hessian(
            model,
            MemoryCorpus(documents),
            out=tmp_path / name,
            batch_tokens=size,
            config=FitConfig(covariance_tokens=SHARE),
        )
        for name, documents, size in (
            ("plain", DOCUMENTS, None),
            ("small", DOCUMENTS, 35),
            ("turned", DOCUMENTS[::-1], None),
        )
    )
    assert_equal_fits(plain, small, 1e-10)
    assert_equal_fits(plain, turned, 1e-10)


def test_every_token_is_as_likely_as_every_other(tmp_path: Path) -> None:
    """So the sum over tokens drawn, over their share, has the sum over all tokens as its mean."""
    seeds, share = 2000, 0.25
    write_documents(tmp_path, ((Document(name, name), [1] * 7) for name in ("a", "b", "c")))
    table = DocumentTable(tmp_path)
    drawn_STN = np.array(
        [[Draws(table, s).document(c, COVARIANCE_TOKENS) < share for c in range(3)] for s in range(seeds)]
    )
    drawn_SN = drawn_STN.reshape(seeds, -1).astype(float)
    error = np.sqrt(share * (1 - share) / seeds)
    assert np.abs(drawn_SN.mean(0) - share).max() < 4 * error
    together_NN = np.corrcoef(drawn_SN.T) - np.eye(21)
    assert np.abs(together_NN).max() < 5 / np.sqrt(seeds)  # one token says nothing about another
    x_NI = np.random.default_rng(0).standard_normal((21, 3))
    estimates_SII = np.einsum("sn,ni,nj->sij", drawn_SN, x_NI, x_NI) / share
    off_II = estimates_SII.mean(0) - x_NI.T @ x_NI
    assert (np.abs(off_II) < 4.5 * estimates_SII.std(0) / np.sqrt(seeds)).all()


def test_all_tokens_are_the_fit_as_it_was(tmp_path: Path) -> None:
    model = tiny_model("llama")
    one = fit_hessian(model, MemoryCorpus(DOCUMENTS), out=tmp_path / "one")
    other = fit_hessian(
        model, MemoryCorpus(DOCUMENTS), out=tmp_path / "other", config=FitConfig(covariance_tokens=1.0)
    )
    for name in SUMS:
        for layer in one.layers:
            assert torch.equal(sums(one)[name][layer], sums(other)[name][layer])
    assert one.identity == other.identity
    assert "covariance_tokens" not in one.identity  # a fit made before there was a choice is of the same kind


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    for share in (0.0, 1.5, -1.0, float("nan")):
        with pytest.raises(InputError, match="share"):
            FitConfig(covariance_tokens=share)
    with pytest.raises(InputError, match="all tokens"):
        FitConfig(covariance_tokens=0.5, backend="kronfluence")
    with pytest.raises(InputError, match="No token was drawn"):
        fit_hessian(
            tiny_model("llama"),
            MemoryCorpus(DOCUMENTS[:1]),
            out=tmp_path / "fit",
            config=FitConfig(covariance_tokens=1e-9),
        )
