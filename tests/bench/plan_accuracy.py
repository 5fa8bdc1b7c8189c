"""Whether a dry run says what then happens: time and memory of fits and scores, planned and measured.

    python tests/bench/plan_accuracy.py                                # all shapes
    python tests/bench/plan_accuracy.py --documents 40                  # enough for memory

Each plan and each run is a forked process of its own on one thread; which of the two comes first alternates. Times are
CPU seconds from the moment the model is loaded, on both sides: other work on the machine disturbs them least. Memory is
the peak of the process. Models are random, Llama-like; texts are random, their lengths drawn log-normally.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # read when torch is imported
sys.path.insert(0, str(Path(__file__).parents[1]))  # tiny, texts

#: name -> (width, MLP width, blocks, documents, queries, dtype, query_error).
SHAPES: dict[str, tuple[int, int, int, int, int, str, float | None]] = {
    "narrow, 5 queries": (256, 704, 4, 200, 5, "float32", None),
    "narrow, 80 queries": (256, 704, 4, 200, 80, "float32", None),
    "narrow, 80 queries, bfloat16": (256, 704, 4, 200, 80, "bfloat16", None),
    "wide, 5 queries": (512, 2048, 2, 150, 5, "float32", None),
    "wide, 60 queries, bfloat16": (512, 2048, 2, 150, 60, "bfloat16", None),
    "wide, 40 queries at low rank": (512, 2048, 2, 150, 40, "float32", 0.05),
}


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(SHAPES), help="Repeatable.")
    parser.add_argument("--documents", type=int, help="So many instead: few are enough for memory.")
    options = parser.parse_args()
    importlib.import_module("influence.engine.plan.plan")  # and torch with it
    print(
        "| shape | command | CPU seconds planned | measured | ratio | memory planned, MB | measured | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for number, name in enumerate(options.only or SHAPES):
        with tempfile.TemporaryDirectory() as folder:
            for command in ("fit", "score"):
                order = ("plan", "run") if number % 2 else ("run", "plan")
                found = {
                    what: in_process(f"{name}/{command}/{what}", Path(folder), options.documents)
                    for what in order
                }
                print_row(name, command, found["plan"], found["run"])


def print_row(name: str, command: str, plan: dict[str, Any], run: dict[str, Any]) -> None:
    """One line of the table, and below it the parts of the plan."""
    columns = []
    for planned, measured, digits in (
        (sum(plan["seconds"].values()), run["seconds"], 1),
        (plan["host"] / 1e6, run["host"] / 1e6, 0),
    ):
        columns.append(f"{planned:.{digits}f} | {measured:.{digits}f} | {planned / measured:.2f}")
    print(f"| {name} | {command} | {' | '.join(columns)} |", flush=True)
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in plan["seconds"].items())
    print(f"{parts}; the rehearsal itself {plan['took']:.1f}; measured: {run['parts']}", file=sys.stderr)


def in_process(which: str, folder: Path, documents: int | None) -> dict[str, Any]:
    """Run one plan or run in a child of this process, which has imported everything and done nothing."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=lambda: results.put(one(which, folder, documents)))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(f"{which} failed")
    result: dict[str, Any] = results.get()
    return result


def one(which: str, folder: Path, count: int | None) -> dict[str, Any]:
    """Plan or run one command in this process."""
    import torch
    from texts import LETTERS, MemoryCorpus
    from tiny import tiny_model

    from influence.config import ScoreConfig
    from influence.engine.batching import most_memory
    from influence.engine.fit import fit_hessian
    from influence.engine.plan import plan, rehearsal
    from influence.engine.score import score
    from influence.store.factors import open_factors
    from influence.types import Document, Query

    torch.set_num_threads(1)
    name, command, what = which.split("/")
    width, mlp, blocks, documents, queries, dtype, error = SHAPES[name]
    documents = count or documents
    generator = random.Random(0)

    def text(length: float) -> str:
        return "".join(generator.choice(LETTERS) for _ in range(max(8, int(length))))

    corpus = MemoryCorpus(
        [Document(f"d{i}", text(generator.lognormvariate(5.0, 0.75))) for i in range(documents)]
    )
    asked = [Query(f"q{i}", "task", "factual", text(50), text(100)) for i in range(queries)]
    model = tiny_model(
        "llama",
        dtype=getattr(torch, dtype),
        vocab_size=4096,
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=blocks,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=512,
    )
    rehearsal.clock = time.process_time
    started = time.process_time()
    parts: dict[str, float] = {}
    if what == "run":
        follow(parts)
    if command == "fit" and what == "plan":
        planned = plan.plan_fit(model, corpus)
    elif command == "fit":
        fit_hessian(model, corpus, out=folder / "fit")
    elif what == "plan":
        config = ScoreConfig(query_error=error)
        planned = plan.plan_score(model, open_factors(folder / "fit"), asked, corpus, config=config)
    else:
        factors = open_factors(folder / "fit")
        score(model, factors, asked, corpus, folder / "scores", config=ScoreConfig(query_error=error))
    took = time.process_time() - started
    if what == "plan":
        return {**asdict(planned), "took": took}
    host = most_memory()
    rounded = ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts.items())
    return {"seconds": took, "host": host, "parts": rounded}


def follow(parts: dict[str, float]) -> None:
    """From now on, add up the CPU seconds of each part of a run."""
    from influence.engine import fit_parts as fit
    from influence.engine import score

    for owner, name in (
        (fit, "tokenised_documents"),
        (fit.Fit, "covariances"),
        (fit.Fit, "eigenbases"),
        (fit.Fit, "corrected_eigenvalues"),
        (score, "tokenised_documents"),
        (score, "query_gradients"),
        (score, "precondition_queries"),
        (score, "compress_queries"),
        (score.Scan, "run"),
    ):
        work = getattr(owner, name)

        def timed(*given: Any, work: Any = work, name: str = name, **named: Any) -> Any:
            started = time.process_time()
            result = work(*given, **named)
            parts[name] = parts.get(name, 0.0) + time.process_time() - started
            return result

        setattr(owner, name, timed)


if __name__ == "__main__":
    main()
