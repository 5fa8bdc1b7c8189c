"""Time and memory of every analysis and of the report on a score store of 5 M documents × 100 queries, in one command:

    python tests/bench/analyses.py                      # 5,000,000 documents: a 2 GB file of scores, 20 minutes or so
    python tests/bench/analyses.py --documents 200000

Memory is what the process holds itself (RssAnon), sampled; pages of the mapped file are the system's to take back.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from influence.analysis import tables
from influence.analysis.answers import corpus_hits
from influence.report.pages import write_report
from influence.store.arrays import allocate_arrays, map_arrays
from influence.store.artefact import claim, finish
from influence.store.documents import FILE, ROWS_PER_BATCH
from influence.store.scores import ARRAYS, Scores, open_scores, write_query_records
from influence.types import Query, Step

SOURCES = (
    "wiki",
    "math_and_trivia",
    "stackexchange",
    "arxiv_markdown",
    "code",
    "webdata",
    "general_knowledge",
)
STRINGS = ("id", "source", "text", "metadata")
FILLER = (
    "the slope of a line is the change in y over that in x and so we find that it goes on for many words more"
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=5_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--only", help="the name of one of them")
    parser.add_argument("--folder", type=Path, help="where the store is made; by default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        scores = big_store(Path(folder) / "scores", arguments.queries, arguments.documents)
        print(f"{arguments.queries} queries × {arguments.documents:,} documents")
        results = {}
        for name, work in jobs(scores).items():
            if arguments.only not in (None, name):
                continue
            results[name] = measured(work)
            print(
                f"{name:<16} {results[name]['seconds']:8.1f} s {results[name]['megabytes']:8.0f} MB",
                flush=True,
            )
        print(json.dumps(results))


def jobs(scores: Scores) -> dict[str, Callable[[], Any]]:
    """Each analysis as `influence analyze` runs it, `stages` on a run and itself; and the report."""
    return {
        "concentration": lambda: tables.concentration_tables(scores, "per_nat", "task", 500),
        "correlation": lambda: tables.correlation_tables(scores, "normed", "task"),
        "sources": lambda: tables.source_tables(scores, "normed", "task"),
        "reuse": lambda: tables.reuse_tables(scores, "normed", "task", 500),
        "answers in top": lambda: tables.answer_tables(scores, "normed", "task", 500, scan=False),
        "corpus scan": lambda: corpus_hits(scores),
        "bm25": lambda: tables.bm25_tables(scores, "task", 500),
        "sanity": lambda: tables.sanity_tables(scores, 20),
        "stages": lambda: tables.checkpoint_tables([("a", scores), ("b", scores)], "normed", "task", 500),
        "report": lambda: write_report(scores.folder, scores.folder.parent / "report.html"),
    }


def big_store(folder: Path, n_queries: int, n_documents: int) -> Scores:
    """A finished store whose rows differ, written row by row: one row of noise, shifted and scaled for each query."""
    manifest = claim(folder, "scores", {"documents": n_documents})
    queries = [
        Query(
            id=f"q{n:03d}",
            task=("slopes", "arithmetic", "capital")[n % 3],
            group="factual" if n % 3 == 2 else "reasoning",
            prompt=f"question {n}",
            completion=f"so {n} - 4 = {n - 4} it is, and the town is Town{n}, as the slope of the line has shown",
            answer=f"Town{n}",
            steps=(Step(f"{n} - 4 = {n - 4}"), Step(f"{n - 4} * 7 = {7 * (n - 4)}")),
            correct=True,
        )
        for n in range(n_queries)
    ]
    write_query_records(folder, queries)
    _write_documents(folder, n_documents)
    shapes = {"dot": (n_queries, n_documents), "gradient_norm": (n_documents,), "query_nll": (n_queries,)}
    allocate_arrays(folder / ARRAYS, {name: (shape, "F32") for name, shape in shapes.items()})
    arrays = map_arrays(folder / ARRAYS, "r+")
    noise = np.random.default_rng(0).standard_t(3, n_documents).astype(np.float32)
    arrays["gradient_norm"][:] = np.abs(noise[::-1]) + np.float32(1)
    arrays["query_nll"][:] = np.arange(1, n_queries + 1)
    for row in range(n_queries):
        arrays["dot"][row] = np.roll(noise, 7919 * row)
    finish(folder, manifest, {"finished": "2025-01-01T00:00:00+00:00"})
    return open_scores(folder)


def _write_documents(folder: Path, n_documents: int) -> None:
    """Short texts, so that the file stays small; their number is what counts here."""
    strings = [(name, pa.large_string() if name == "text" else pa.string()) for name in STRINGS]
    schema = pa.schema([*strings, ("tokens", pa.list_(pa.int32()))])
    with pa.OSFile(str(folder / FILE), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, n_documents, ROWS_PER_BATCH):
            numbers = range(start, min(start + ROWS_PER_BATCH, n_documents))
            columns = [
                [f"document-{n}" for n in numbers],
                [SOURCES[n % len(SOURCES)] for n in numbers],
                [f"Text {n}: {FILLER}, {n % 97} - 4 = {n % 97 - 4}." for n in numbers],
                ["{}" for _ in numbers],
                [[1] for _ in numbers],
            ]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds, and the most anonymous memory of the process while `work` runs, in MB."""
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {"seconds": round(seconds, 1), "megabytes": round(peak / 1e6)}


def anonymous_bytes() -> int:
    """Memory of this process that no file backs (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell RssAnon")


if __name__ == "__main__":
    main()
