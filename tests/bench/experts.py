"""What a mixture of experts costs: each pass of a fit and a scan, beside a plain training step on the same documents.

`python tests/bench/experts.py`; `--device cuda --width 1024 --inner 768 --experts 64 --choices 8` on a GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import FitConfig
from influence.engine.batching import pad
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.models.losses import token_nll


def seconds(run: Callable[[], object], device: str) -> float:
    """CPU time, which other work does not lengthen; of a GPU wall time, the device having finished."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    started = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def main() -> None:
    """Print a line for each part: seconds, and multiples of the faster training."""
    parser = argparse.ArgumentParser()
    for name, default in (("width", 256), ("inner", 192), ("experts", 16), ("choices", 2), ("blocks", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--queries", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    model = tiny_model(
        "mixtral",
        dtype=torch.float32,
        hidden_size=a.width,
        intermediate_size=a.inner,
        num_local_experts=a.experts,
        num_experts_per_tok=a.choices,
        num_hidden_layers=a.blocks,
        max_position_embeddings=a.tokens,
    )
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.mul_(0.1)
    model.model.to(a.device)
    documents = random_documents(a.documents, shortest=a.tokens - 8, longest=a.tokens - 1)
    corpus, queries = MemoryCorpus(documents), random_queries(a.queries)
    rows = [model.tokenizer(document.text)["input_ids"] for document in documents]

    def train() -> None:
        for start in range(0, len(rows), a.batch):
            batch = pad(rows[start : start + a.batch], model.device)
            logits_BTV = model.model(input_ids=batch.input_ids, use_cache=False).logits
            token_nll(logits_BTV, batch.input_ids, batch.loss_BT).sum().backward()
            model.model.zero_grad(set_to_none=True)

    plain = float("inf")
    for implementation in ("grouped_mm", "eager"):
        model.model.set_experts_implementation(implementation)
        train()
        taken = min(seconds(train, a.device) for _ in range(2))
        print(f"training with {implementation}, forward and backward: {taken:.2f} s")
        plain = min(plain, taken)
    with tempfile.TemporaryDirectory() as folder:
        out, size = Path(folder), a.batch * a.tokens
        config = FitConfig(layers=("experts",), empirical=True)
        times: dict[str, float] = {}
        from influence.engine.fit_parts import Fit

        for name in ("covariances", "eigenbases", "corrected_eigenvalues"):
            whole = getattr(Fit, name)

            def timed(fit: Fit, whole: Callable[[Fit], None] = whole, name: str = name) -> None:
                times[name] = seconds(lambda: whole(fit), a.device)

            setattr(Fit, name, timed)
        short_corpus = MemoryCorpus(documents[:2])
        for name in ("warm", "short"):
            fit_hessian(model, short_corpus, out=out / name, config=config, batch_tokens=size)
        short_times = dict(times)
        factors = fit_hessian(model, corpus, out=out / "fit", config=config, batch_tokens=size)
        for name in ("covariances", "corrected_eigenvalues"):
            rest = (times[name] - short_times[name]) * len(documents) / (len(documents) - 2)
            times[f"{name}, what grows with the tokens"] = rest
        few = MemoryCorpus(documents[:2])
        short = seconds(lambda: score(model, factors, queries, few, out / "few", batch_tokens=size), a.device)
        long = seconds(
            lambda: score(model, factors, queries, corpus, out / "all", batch_tokens=size), a.device
        )
        times["scan"] = (long - short) * len(documents) / (len(documents) - 2)
    for name, taken in times.items():
        print(f"{name}: {taken:.2f} s, {taken / plain:.2f} × training")


if __name__ == "__main__":
    main()
