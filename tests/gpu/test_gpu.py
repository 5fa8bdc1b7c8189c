"""What only a CUDA device can show: it gives the scores of a CPU, and each precision is near float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import FitConfig, ScoreConfig
from influence.engine.doctor import examine
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.models.load import LanguageModel, load_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DOCUMENTS, QUERIES = MemoryCorpus(random_documents(40)), random_queries(5)


def scores(model: LanguageModel, folder: Path) -> np.ndarray:
    factors = fit_hessian(
        model, DOCUMENTS, out=folder / "hessian", config=FitConfig(max_length=32, empirical=True)
    )
    return np.asarray(
        score(model, factors, QUERIES, DOCUMENTS, folder / "scores", config=ScoreConfig(max_length=32)).dot
    )


def test_a_gpu_gives_the_scores_of_a_cpu(tmp_path: Path) -> None:
    on_cpu = scores(tiny_model(), tmp_path / "cpu")
    model = tiny_model()
    model.model.to("cuda")
    np.testing.assert_allclose(scores(model, tmp_path / "gpu"), on_cpu, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "tf32", "bfloat16"])
def test_each_precision_is_near(dtype: str, tmp_path: Path) -> None:
    made = tiny_model()
    made.model.save_pretrained(tmp_path / "model")
    made.tokenizer.save_pretrained(tmp_path / "model")
    before = torch.get_float32_matmul_precision()
    try:
        model = load_model(tmp_path / "model", dtype=dtype, device="cuda")  # type: ignore[arg-type]
        assert model.precision == dtype
        found = scores(model, tmp_path)
    finally:
        torch.set_float32_matmul_precision(before)
    exact = scores(made, tmp_path / "exact")
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(found, exact, strict=True)) > 0.98


def test_the_doctor_tries_tf32() -> None:
    model = tiny_model(dtype=torch.float32)
    model.model.to("cuda")
    changes = [one.change for one in examine(model, ("mlp",), [[1, 2, 3, 4, 5], [6, 7, 8]])]
    assert "tf32 instead of float32" in changes
    assert torch.get_float32_matmul_precision() == "highest"
