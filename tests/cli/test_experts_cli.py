"""A mixture of experts through the command line: every command on its experts and routers, and several processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inputs import write_records
from program import Server
from safetensors.numpy import load_file
from texts import random_documents, random_queries
from tiny import tiny_model

from influence.data.queries import write_queries
from influence.store.scores import open_scores

_SETTINGS = ("--batch-tokens", 150, "--device", "cpu", "--dtype", "float64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mixtral, 60 documents and two queries."""
    folder = tmp_path_factory.mktemp("mixture")
    model = tiny_model("mixtral", num_local_experts=4, num_experts_per_tok=2)
    model.model.save_pretrained(folder / "model")
    model.tokenizer.save_pretrained(folder / "model")
    documents = random_documents(60, seed=4, shortest=5, longest=30)
    write_records(
        folder / "corpus.jsonl", [{"id": d.id, "text": d.text, "source": d.source} for d in documents]
    )
    write_queries(random_queries(2), folder / "queries.jsonl")
    return folder


def run(program: Server, *arguments: object, processes: int | None = None) -> str:
    result = program.run(*arguments, processes=processes)
    assert result.exit_code == 0, result.stderr
    return result.stdout + result.stderr


def fit(folder: Path, out: Path) -> list[object]:
    return [
        *("fit-hessian", "--model", folder / "model", "--corpus", folder / "corpus.jsonl", "--out", out),
        *("--layers", "mlp", *_SETTINGS),
    ]


def score(folder: Path, hessian: object, out: Path) -> list[object]:
    return [
        *("score", "--queries", folder / "queries.jsonl", "--model", folder / "model"),
        *("--hessian", hessian, "--corpus", folder / "corpus.jsonl", "--out", out, *_SETTINGS),
    ]


def test_every_command_takes_experts(program: Server, folder: Path, tmp_path: Path) -> None:
    hessian, scores = tmp_path / "hessian", tmp_path / "scores"
    sharing = (*fit(folder, hessian), "--expert-covariances", "shared")
    assert "memory" in run(program, *sharing, "--dry-run")
    run(program, *sharing)
    assert len(load_file(hessian / "gradient_eigenvectors.safetensors")) == 2 * (2 + 1)
    lam = load_file(hessian / "lambda_matrix.safetensors")
    assert len(lam) == 2 * (4 * 2 + 1)
    assert lam["model.layers.1.mlp.experts.3.down_proj"].shape == (16, 24)
    assert lam["model.layers.1.mlp.gate"].shape == (4, 16)
    run(program, *score(folder, hessian, scores))
    exact = np.asarray(open_scores(scores).dot)
    run(program, *score(folder, hessian, tmp_path / "compressed"), "--query-error", "0.001")
    found = np.asarray(open_scores(tmp_path / "compressed").dot)
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(exact, found, strict=True)) > 0.99
    run(program, *score(folder, "identity", tmp_path / "identity"))
    model = ("--model", folder / "model", "--hessian", hessian, "--device", "cpu")
    run(program, "tokens", scores, *model)
    built = ("--bytes", 4096, "--corpus", folder / "corpus.jsonl", "--out", tmp_path / "index")
    run(program, "index", "build", *model, *built, "--dtype", "float64")
    found_here = ("--queries", folder / "queries.jsonl", "--best", "50%", "--out", tmp_path / "found")
    run(program, "index", "search", tmp_path / "index", *found_here, "--device", "cpu", "--dtype", "float64")
    searched = np.asarray(open_scores(tmp_path / "found").dot)
    scored = np.isfinite(searched)
    assert scored.any()
    np.testing.assert_allclose(searched[scored], exact[scored], rtol=1e-6, atol=1e-9 * np.abs(exact).max())
    assert "each document alone" in run(
        program, "doctor", "--model", folder / "model", "--layers", "experts", "--device", "cpu"
    )


@pytest.mark.parametrize(
    ("options", "covariances"), [((), "own"), (("--fsdp",), "shared")], ids=["whole", "sharded"]
)
def test_several_processes_give_the_same_scores(
    program: Server, folder: Path, tmp_path: Path, options: tuple[str, ...], covariances: str
) -> None:
    found = []
    for name, processes in (("alone", None), ("together", 2)):
        more = options if processes else ()
        settings = ("--empirical", "--expert-covariances", covariances)
        run(program, *fit(folder, tmp_path / f"{name}-fit"), *settings, *more, processes=processes)
        run(program, *score(folder, tmp_path / f"{name}-fit", tmp_path / name), *more, processes=processes)
        found.append(np.asarray(open_scores(tmp_path / name).dot))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-7, atol=1e-9 * np.abs(found[0]).max())
