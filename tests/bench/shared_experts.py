"""What covariances that experts share cost in agreement: R with scores by own ones, on a small trained mixture.

`python tests/bench/shared_experts.py --out FOLDER`

A Mixtral of 8 or 32 experts, 2 chosen, is trained on the ready corpus. Both Hessians have the same documents and
labels. Time and R are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

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

WIDTH, LONGEST, BATCH = 96, 128, 16


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
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--documents", type=int, default=400, help="of each fit and each scan")
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--experts", type=int, nargs="+", default=[8, 32])
    a = parser.parse_args()
    torch.set_num_threads(1)
    queries = read_queries("slopes")[: a.queries]
    documents = [*read_corpus("miniworld")]
    corpus = MemoryCorpus(documents[:: len(documents) // a.documents])
    for experts in a.experts:
        model, runs = trained(experts, a.steps), []
        for kind in ("own", "shared"):
            folder = a.out / f"{experts}-{kind}"
            config = FitConfig(layers=("experts",), max_length=LONGEST, expert_covariances=kind)
            started = time.process_time()
            factors = fit_hessian(model, corpus, out=folder, config=config)
            seconds = time.process_time() - started
            size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
            print(f"{experts} experts, {kind}: {seconds:.1f} CPU seconds, {size:.0f} MB", flush=True)
            runs.append(score(model, factors, queries, corpus, a.out / f"{experts}-{kind}-scores"))
        for reading in ("dot", "normed"):
            own, other = (getattr(run, reading) for run in runs)
            print(f"R of {reading}: {agreement(own, other)}, of the top 10 {shared(own, other):.0%}")


if __name__ == "__main__":
    main()
