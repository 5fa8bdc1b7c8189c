"""What covariances that experts share cost in agreement: R with scores by own ones, on a small trained mixture.

`python tests/bench/shared_experts.py --out FOLDER`

A Mixtral of 16 experts, 2 chosen, is trained on the ready corpus. Both Hessians have the same documents and labels; R
with own covariances and other labels drawn says how much of a difference is noise.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from covariance_blocks import agreement, shared
from texts import MemoryCorpus
from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

from influence.config import FitConfig
from influence.data.corpus import read_corpus
from influence.data.queries import read_queries
from influence.engine.batching import pad
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.models.load import LanguageModel
from influence.models.losses import token_nll
from influence.ready import ready_path

WIDTH, LONGEST, BATCH = 64, 64, 16

#: Covariances, and seed of the labels; the others are compared with the first.
VARIANTS: tuple[tuple[Literal["own", "shared"], int], ...] = (("own", 0), ("own", 1), ("shared", 0))


def trained(experts: int, steps: int) -> LanguageModel:
    """Train a mixture on the ready corpus with its router's balancing loss off; print the loss on the way."""
    tokenizer = AutoTokenizer.from_pretrained(ready_path("models", "miniworld"))
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_local_experts=experts,
        num_experts_per_tok=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    model = MixtralForCausalLM(config).train()
    texts = [document.text for document in read_corpus("miniworld")]
    rows = [ids[:LONGEST] for ids in tokenizer(texts)["input_ids"]]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    generator = np.random.default_rng(0)
    for step in range(steps):
        batch = pad([rows[i] for i in generator.integers(0, len(rows), BATCH)], torch.device("cpu"))
        logits_BTV = model(input_ids=batch.input_ids, use_cache=False).logits
        loss = token_nll(logits_BTV, batch.input_ids, batch.loss_BT).sum() / batch.loss_BT.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: {loss.item():.2f} nats a token", flush=True)
    return LanguageModel(model.eval(), tokenizer, f"mixture of {experts}")


def main() -> None:
    """Train, fit both, score and print a row for each number of experts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--documents", type=int, default=250, help="of each fit and each scan")
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--experts", type=int, nargs="+", default=[16])
    a = parser.parse_args()
    torch.set_num_threads(1)
    queries = read_queries("slopes")[: a.queries]
    documents = [*read_corpus("miniworld")]
    corpus = MemoryCorpus(documents[:: len(documents) // a.documents])
    for experts in a.experts:
        model, runs = trained(experts, a.steps), []
        for kind, seed in VARIANTS:
            folder = a.out / f"{experts}-{kind}-{seed}"
            config = FitConfig(layers=("experts",), max_length=LONGEST, expert_covariances=kind, seed=seed)
            started = time.process_time()
            factors = fit_hessian(model, corpus, out=folder, config=config)
            seconds = time.process_time() - started
            size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
            print(
                f"{experts} experts, {kind}, labels {seed}: {seconds:.1f} CPU seconds, {size:.0f} MB",
                flush=True,
            )
            runs.append(score(model, factors, queries, corpus, a.out / f"{experts}-{kind}-{seed}-scores"))
        for (kind, seed), run in zip(VARIANTS[1:], runs[1:], strict=True):
            for reading in ("dot", "normed"):
                first, other = getattr(runs[0], reading), getattr(run, reading)
                r = f"R of {reading} {agreement(first, other)}, top 10 {shared(first, other):.0%}"
                print(f"{kind}, labels {seed}, with own, labels 0: {r}")


if __name__ == "__main__":
    main()
