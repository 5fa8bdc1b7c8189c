"""A fit, scores, token scores and tables of a small fixed run equal those of the version that stored them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from golden.measure import compare, numbers, table_numbers
from safetensors.numpy import load_file

from influence.cli.main import cli
from influence.store.scores import open_scores

ROOT = Path(__file__).resolve().parents[2]
MODEL = str(ROOT / "models/miniworld/base")
ANALYSES = ("correlation", "concentration", "answers", "sources", "reuse", "bm25")


def influence(*arguments: str | Path) -> None:
    """Run a command in this process."""
    cli(list(map(str, arguments)), standalone_mode=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    hessian, scores, asked = folder / "hessian", folder / "scores", folder / "queries.jsonl"
    queries = (str(folder / "asked"), "--out", folder / "corpus")
    influence("corpus", "miniworld", "--documents", "90", "--no-asides", "--queries", *queries)
    lines = [
        line
        for name, count in (("slopes", 3), ("arithmetic", 2), ("factual", 3), ("controls", 2))
        for line in (ROOT / "queries" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    ]
    asked.write_text("\n".join(lines) + "\n", encoding="utf-8")
    common = ("--corpus", folder / "corpus", "--max-length", "160", "--dtype", "float64", "--device", "cpu")
    fit = ("--documents", "16", "--layers", "*layers.1.mlp*", "--out", hessian)
    influence("fit-hessian", "--model", MODEL, *common, *fit)
    given = ("--model", MODEL, "--hessian", hessian)
    influence("score", *given, *common, "--queries", asked, "--out", scores)
    influence("tokens", scores, *given, "--k", "2")
    for name in ANALYSES:
        influence("analyze", name, scores)
    return folder


def test_generated_data_are_the_same_bytes(run: Path) -> None:
    files = [run / "corpus" / "documents.jsonl", *sorted((run / "asked").glob("*.jsonl"))]
    compare("data", {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})


def test_factors_are_the_same(run: Path) -> None:
    computed = {}
    for path in sorted((run / "hessian").glob("*.safetensors")):
        arrays = load_file(path)
        if "eigenvectors" in path.name:  # the sign of a column is free, and its sum of magnitudes is not
            arrays = {name: np.abs(array) for name, array in arrays.items()}
        computed[path.name] = {name: numbers(array) for name, array in arrays.items()}
    compare("factors", computed)


def test_scores_are_the_same(run: Path) -> None:
    scores = open_scores(run / "scores")
    compare(
        "scores",
        {
            name: numbers(getattr(scores, name))
            for name in ("dot", "per_nat", "normed", "gradient_norm", "query_nll")
        },
    )


def test_token_scores_are_the_same(run: Path) -> None:
    arrays = load_file(run / "scores" / "token_scores.safetensors")
    compare("token_scores", {name: numbers(array) for name, array in sorted(arrays.items())})


def test_tables_are_the_same(run: Path) -> None:
    folder = run / "scores" / "analysis"
    paths = sorted(folder.glob("*/*.parquet"))
    assert len(paths) >= 15
    compare("tables", {path.relative_to(folder).as_posix(): table_numbers(path) for path in paths})
