"""No analysis holds the matrix: 100 queries × 200,000 documents within a fraction of the 80 MB they take.

`tests/bench/analyses.py` measures all of them at 5 million documents.
"""

from __future__ import annotations

import importlib.util
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from influence.analysis.agreement import cross_correlation
from influence.analysis.concentration import concentration, document_reuse, pareto_tail, power_law
from influence.analysis.correlation import correlation
from influence.analysis.documents import document_texts, source_codes, top_documents
from influence.analysis.sources import source_curves
from influence.store.scores import Scores

QUERIES, DOCUMENTS = 100, 200_000
ROW = 4 * DOCUMENTS


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    path = Path(__file__).parents[1] / "bench" / "analyses.py"
    spec = importlib.util.spec_from_file_location("bench_analyses", path)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    made: Scores = bench.big_store(tmp_path_factory.mktemp("big") / "scores", QUERIES, DOCUMENTS)
    return made


def scan(scores: Scores) -> int:
    return sum(len(text) for _, texts in document_texts(scores) for text in texts)


@pytest.mark.parametrize(
    ("work", "rows"),
    [
        (concentration, 25),
        (power_law, 25),
        (pareto_tail, 50),  # mostly its simulations, whatever the number of documents
        (lambda scores: source_curves(scores, ks=(50, 5000), resamples=100), 25),
        (lambda scores: top_documents(scores, 500), 50),
        (lambda scores: document_reuse(scores, 500), 50),
        (lambda scores: cross_correlation(scores, scores), 25),
        (correlation, 5 * 2**24 // ROW),  # blocks of 16 MB, whatever the number of documents
        (source_codes, 5),
        (scan, 5),
    ],
    ids=["concentration", "power law", "Pareto", "sources", "top", "reuse", "cross", "R", "codes", "scan"],
)
def test_memory_is_a_few_rows(scores: Scores, work: Callable[[Scores], Any], rows: int) -> None:
    tracemalloc.start()
    try:
        work(scores)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows * ROW, f"{peak / ROW:.1f} rows of scores"
