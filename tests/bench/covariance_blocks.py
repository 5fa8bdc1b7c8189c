"""What covariances in blocks cost in agreement and save in time: R with scores by whole covariances.

    python tests/bench/covariance_blocks.py --model MODEL --queries QUERIES.jsonl --corpus CORPUS --out FOLDER

One Hessian for each number of blocks, on the same documents and labels; then every tenth document is scored by each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from influence.config import FitConfig
from influence.data.corpus import read_corpus
from influence.data.queries import read_queries
from influence.engine.batching import PeakMemory
from influence.engine.fit import fit_hessian
from influence.engine.fit_parts import Fit
from influence.engine.score import score
from influence.models.load import load_model
from influence.store.scores import Scores

BLOCKS = (1, 2, 4)
STAGES = ("covariances", "eigenbases", "corrected_eigenvalues")


def main() -> None:
    """Fit, score and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("model", "queries", "corpus", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=1000, help="of each fit")
    parser.add_argument("--every", type=int, default=10, help="one of so many is scored")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, queries = load_model(options.model), read_queries(options.queries)
    corpus = read_corpus(options.corpus)
    some = options.out / "scored.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    with some.open("w", encoding="utf-8") as file:
        for number, document in enumerate(corpus):
            if number % options.every == 0:
                file.write(json.dumps({"id": document.id, "text": document.text}) + "\n")
    seconds: dict[str, float] = {}
    for stage in STAGES:
        setattr(Fit, stage, timed(getattr(Fit, stage), stage, seconds))
    whole: Scores | None = None
    print("| blocks | CPU seconds of each stage | peak MB | R of `dot` | R of `normed` | of its top 10 |")
    print("|---|---|---|---|---|---|")
    for blocks in BLOCKS:
        peak = PeakMemory(model.device)
        factors = fit_hessian(
            model,
            corpus,
            out=options.out / f"hessian-{blocks}",
            config=FitConfig(documents=options.documents, covariance_blocks=blocks),
        )
        host, _ = peak.read()
        scores = score(model, factors, queries, read_corpus(some), options.out / f"scores-{blocks}")
        whole = whole or scores
        spent = ", ".join(f"{stage} {seconds.get(stage, 0):.1f}" for stage in STAGES)
        agreed = [agreement(getattr(whole, name), getattr(scores, name)) for name in ("dot", "normed")]
        agreed.append(f"{shared(whole.normed, scores.normed):.0%}")
        print(f"| {blocks} | {spent} | {(host or 0) / 1e6:.0f} | {' | '.join(agreed)} |", flush=True)


def timed(work: Callable[[Fit], None], name: str, seconds: dict[str, float]) -> Callable[[Fit], None]:
    """The same, and its CPU seconds into `seconds`."""

    def run(fit: Fit) -> None:
        started = time.process_time()
        work(fit)
        seconds[name] = time.process_time() - started

    return run


def agreement(whole_QD: npt.ArrayLike, blocks_QD: npt.ArrayLike) -> str:
    """Pearson's R a query: mean, its 95 % interval by bootstrap over queries, and least."""
    pairs = zip(np.asarray(whole_QD, np.float64), np.asarray(blocks_QD, np.float64), strict=True)
    r_Q = np.array([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    drawn = np.random.default_rng(0).integers(0, len(r_Q), (10_000, len(r_Q)))
    low, high = np.percentile(r_Q[drawn].mean(1), (2.5, 97.5))
    return f"{r_Q.mean():.4f} [{low:.4f}, {high:.4f}], least {r_Q.min():.4f}"


def shared(whole_QD: npt.ArrayLike, blocks_QD: npt.ArrayLike, k: int = 10) -> float:
    """Share of the `k` largest of a query that are so in both, mean over queries."""
    whole_QK, blocks_QK = (np.argsort(-np.asarray(x_QD))[:, :k] for x_QD in (whole_QD, blocks_QD))
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(whole_QK, blocks_QK, strict=True)]))


if __name__ == "__main__":
    main()
