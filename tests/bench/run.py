"""Speed and memory against kronfluence, in multiples of a plain training step, from one run on one corpus.

    python tests/bench/run.py                                            # lengths drawn log-normally, cap 512
    python tests/bench/run.py --corpus docs.jsonl --tokenizer MODEL      # your own text
    python tests/bench/run.py --width 768 --mlp 3072 --blocks 2          # as wide as GPT-2 small

Each round runs every contender in a process of its own, one after the other (A B C, A B C), on one thread. The unit
is forward + full backward of a document in length-sorted batches, without an optimizer, in the same round. Times are
CPU seconds; memory is the peak of the process, weights and libraries included. The last table says whether the scores
agree: both programs fit and score the same model on the same documents with the corpus's own labels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTENDERS = (
    "plain step",
    "influence fit",
    "kronfluence fit",
    "influence score",
    "kronfluence score",
    "influence score in bfloat16",
)
QUERIES = 80
BATCH = 8  # documents a batch of kronfluence and of the plain step; ours is a budget of tokens


def main() -> None:
    """Orchestrate the rounds and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", help="Any corpus the program reads; needs --tokenizer.")
    parser.add_argument("--tokenizer", help="A model folder whose tokenizer to use.")
    parser.add_argument("--width", type=int, default=384, help="Of the model.")
    parser.add_argument("--mlp", type=int, default=1024, help="Width of its MLPs, which are tracked.")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_one(options.one, options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options)
        rounds = [
            {contender: in_process(contender, folder) for contender in CONTENDERS}
            for _ in range(options.rounds)
        ]
        print_tables(rounds, folder)


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Write the token ids that every contender reads."""
    import numpy as np

    generator = np.random.default_rng(0)
    if options.corpus:
        from itertools import islice

        from transformers import AutoTokenizer

        from influence.data.corpus import read_corpus
        from influence.data.tokens import TokenReport, encode_documents

        tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
        documents = list(read_corpus(options.corpus))
        chosen = generator.permutation(len(documents))[: options.documents]
        encoded = encode_documents(
            islice((documents[i] for i in chosen), None), tokenizer, 512, False, TokenReport()
        )
        rows = [tokens for _, tokens in encoded]
        vocabulary = len(tokenizer)
    else:
        vocabulary = 8192
        lengths = np.clip(generator.lognormal(5.75, 0.75, options.documents).astype(int), 8, 512)
        rows = [generator.integers(1, vocabulary, length).tolist() for length in lengths]
    queries = [generator.integers(1, vocabulary, 100).tolist() for _ in range(QUERIES)]
    (folder / "tokens.json").write_text(
        json.dumps(
            {
                "rows": rows,
                "queries": queries,
                "vocabulary": vocabulary,
                "model": [options.width, options.mlp, options.blocks],
            }
        )
    )


def in_process(contender: str, folder: Path) -> dict[str, float]:
    """Run one contender in a fresh process on one thread."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, __file__, "--one", contender, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{contender} failed:\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def run_one(contender: str, folder: Path) -> dict[str, float]:
    """Seconds of CPU by stage, documents, and peak memory in MB."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from influence.models.load import LanguageModel

    torch.set_num_threads(1)
    data = json.loads((folder / "tokens.json").read_text())
    torch.manual_seed(0)
    width, mlp, blocks = data["model"]
    config = LlamaConfig(
        vocab_size=data["vocabulary"],
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=blocks,
        num_attention_heads=width // 64,
        tie_word_embeddings=True,
    )
    model = LanguageModel(LlamaForCausalLM(config).eval(), None)  # type: ignore[arg-type]
    work = {
        "plain step": plain_step,
        "influence fit": our_fit,
        "kronfluence fit": kronfluence_fit,
        "influence score": our_score,
        "kronfluence score": kronfluence_score,
        "influence score in bfloat16": our_score_in_bfloat16,
    }[contender]
    result: dict[str, float] = work(model, data, folder)
    result["documents"] = len(data["rows"])
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def plain_step(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """Forward and full backward, length-sorted, no optimizer."""
    import torch

    from influence.engine.batching import pad
    from influence.models.losses import token_nll

    rows = sorted(data["rows"], key=len, reverse=True)

    def run() -> None:
        for start in range(0, len(rows), BATCH):
            batch = pad(rows[start : start + BATCH], torch.device("cpu"))
            logits = model.model(input_ids=batch.input_ids, use_cache=False).logits
            token_nll(logits, batch.input_ids, batch.loss_BT).sum().backward()
            model.model.zero_grad(set_to_none=True)

    return {"step": seconds(run)}


def document_table(folder: Path, rows: list[list[int]]) -> Any:
    """The rows as the engine's document table."""
    from influence.store.documents import DocumentTable, write_documents
    from influence.types import Document

    folder.mkdir()
    write_documents(folder, ((Document(f"d{i}", ""), row) for i, row in enumerate(rows)))
    return DocumentTable(folder)


def our_fit(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """Our two passes and the eigendecompositions, with the corpus's own labels."""
    from influence.config import FitConfig
    from influence.engine.batching import BATCH_TOKENS
    from influence.engine.fit import Fit
    from influence.engine.passes import Budget
    from influence.models.layers import find_layers
    from influence.store.factors import write_kronfluence_arguments

    shutil.rmtree(folder / "ours", ignore_errors=True)
    table = document_table(folder / "ours", data["rows"])
    config = FitConfig(empirical=True)
    fit = Fit(folder / "ours", model, find_layers(model.model), table, config, Budget(BATCH_TOKENS))
    result = {
        "covariances": seconds(fit.covariances),
        "eigenbases": seconds(fit.eigenbases),
        "eigenvalues": seconds(fit.corrected_eigenvalues),
    }
    write_kronfluence_arguments(folder / "ours", empirical=True)
    return result


def our_score_in_bfloat16(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """The same with the model, the gradients and their products in bfloat16; sums and preconditioning in float32."""
    model.model.bfloat16()
    return our_score(model, data, folder, "ours-bfloat16.npy")


def our_score(model: Any, data: Any, folder: Path, result: str = "ours.npy") -> dict[str, float]:
    """Query gradients, preconditioning, and one scan, with our factors."""
    import numpy as np

    from influence.engine.batching import BATCH_TOKENS
    from influence.engine.matching import matching_layers
    from influence.engine.passes import Budget
    from influence.engine.precondition import completion_gradients, precondition_queries
    from influence.engine.score import Scan
    from influence.store.artefact import map_arrays
    from influence.store.factors import open_factors

    shutil.rmtree(folder / "scan", ignore_errors=True)
    table = document_table(folder / "scan", data["rows"])
    factors = open_factors(folder / "ours")
    layers = matching_layers(factors, model)
    budget = Budget(BATCH_TOKENS)
    held: list[Any] = []

    def prepare_queries() -> None:
        encoded = [(tokens, 1) for tokens in data["queries"]]
        names = [f"q{i}" for i in range(len(encoded))]
        gradients = completion_gradients(model, layers, encoded, names, budget)
        held.append(precondition_queries(gradients, layers, factors, 0.1, model.dtype).products())

    query_seconds = seconds(prepare_queries)
    scan_seconds = seconds(Scan(folder / "scan", model, layers, table, held[0], budget).run)
    np.save(folder / result, map_arrays(folder / "scan" / "scores.safetensors")["dot"])
    return {"queries": query_seconds, "scan": scan_seconds}


def analyzer(model: Any, folder: Path) -> tuple[Any, Any]:
    """Kronfluence's analyzer on our model, layers and loss."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.utils.dataset import DataLoaderKwargs

    from influence.engine.kronfluence_fit import LanguageModelTask, collate
    from influence.models.layers import find_layers

    task = LanguageModelTask([layer.name for layer in find_layers(model.model)])
    prepared = prepare_model(model=model.model, task=task)
    made = Analyzer("peer", prepared, task, cpu=True, output_dir=str(folder), disable_tqdm=True)
    made.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=collate))
    return made, task


def dataset(rows: list[list[int]]) -> Any:
    """Rows, longest first, as kronfluence reads them."""
    import numpy as np

    from influence.engine.kronfluence_fit import TokenDataset

    return TokenDataset([(np.array(row, np.int32), 1) for row in sorted(rows, key=len, reverse=True)])


def kronfluence_fit(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """Kronfluence's two passes and eigendecompositions, on sorted documents."""
    from kronfluence.arguments import FactorArguments

    shutil.rmtree(folder / "peer", ignore_errors=True)
    made, _ = analyzer(model, folder)
    arguments = FactorArguments(
        use_empirical_fisher=True, covariance_max_examples=None, lambda_max_examples=None
    )
    rows = dataset(data["rows"])
    fit = {"factors_name": "fit", "dataset": rows, "per_device_batch_size": BATCH}
    return {
        "covariances": seconds(lambda: made.fit_covariance_matrices(**fit, factor_args=arguments)),
        "eigenbases": seconds(
            lambda: made.perform_eigendecomposition(factors_name="fit", factor_args=arguments)
        ),
        "eigenvalues": seconds(lambda: made.fit_lambda_matrices(**fit, factor_args=arguments)),
    }


def kronfluence_score(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """Kronfluence's pairwise scores with its factors, all queries in one group, on sorted documents."""
    import kronfluence.score.pairwise as pairwise
    import numpy as np
    from kronfluence.arguments import ScoreArguments

    made, _ = analyzer(model, folder)
    scan = pairwise.compute_dot_products_with_loader
    scan_seconds = []

    def timed(*arguments: Any, **keywords: Any) -> Any:
        results: list[Any] = []
        scan_seconds.append(seconds(lambda: results.append(scan(*arguments, **keywords))))
        return results[0]

    pairwise.compute_dot_products_with_loader = timed
    shutil.rmtree(folder / "peer" / "scores_scan", ignore_errors=True)
    total = seconds(
        lambda: made.compute_pairwise_scores(
            scores_name="scan",
            factors_name="fit",
            query_dataset=dataset(data["queries"]),
            train_dataset=dataset(data["rows"]),
            per_device_query_batch_size=QUERIES,
            per_device_train_batch_size=BATCH,
            score_args=ScoreArguments(damping_factor=None),
        )
    )
    scores = made.load_pairwise_scores("scan")["all_modules"].numpy()
    rows = data["rows"]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)
    in_order = np.empty_like(scores)
    in_order[:, order] = scores
    np.save(folder / "peer.npy", in_order)
    return {"queries": total - sum(scan_seconds), "scan": sum(scan_seconds)}


def print_tables(rounds: list[dict[str, dict[str, float]]], folder: Path) -> None:
    """Ratios to the plain step of the same round: median (minimum–maximum), and peak memory."""
    import numpy as np
    import torch

    data = json.loads((folder / "tokens.json").read_text())
    lengths = [len(row) for row in data["rows"]]
    width, mlp, blocks = data["model"]
    print(
        f"{platform.machine()}, {platform.python_version()}, torch {torch.__version__}, one thread, float32"
    )
    print(
        f"Llama-like, {blocks} layers × {width}, MLP {mlp} tracked; {len(lengths)} documents of "
        f"{statistics.mean(lengths):.0f} tokens on average (max {max(lengths)}), {QUERIES} queries of 100 tokens; "
        f"{len(rounds)} rounds\n"
    )
    step = [round_["plain step"]["step"] for round_ in rounds]
    print(f"plain step: {1000 * statistics.median(step) / len(lengths):.1f} ms a document, ", end="")
    print(f"{statistics.median(r['plain step']['memory'] for r in rounds):,.0f} MB\n")
    print("| stage | influence | kronfluence | influence / kronfluence |\n|---|---|---|---|")
    stages = {
        "fit: covariances": ("fit", ("covariances",), 1),
        "fit: corrected eigenvalues": ("fit", ("eigenvalues",), 1),
        "**fit, both passes**, steps a document": ("fit", ("covariances", "eigenvalues"), 1),
        "query gradient + preconditioning, steps a query": ("score", ("queries",), len(lengths) / QUERIES),
        "**score**, steps a document": ("score", ("scan",), 1),
    }
    for label, (work, parts, scale) in stages.items():
        columns = []
        for program in ("influence", "kronfluence"):
            taken = [sum(r[f"{program} {work}"][part] for part in parts) * scale for r in rounds]
            columns.append([t / s for t, s in zip(taken, step, strict=True)])
        pairs = [a / b for a, b in zip(*columns, strict=True)]
        print(f"| {label} | " + " | ".join(map(spread, (*columns, pairs))) + " |")
    low = [r["influence score in bfloat16"] for r in rounds]
    for label, part, scale in (
        ("query gradient + preconditioning in bfloat16", "queries", len(lengths) / QUERIES),
        ("**score in bfloat16**, steps a document", "scan", 1),
    ):
        print(
            f"| {label} | {spread([r[part] * scale / s for r, s in zip(low, step, strict=True)])} | – | – |"
        )
    for work in ("fit", "score"):
        ours, peer = ([r[f"{p} {work}"]["memory"] for r in rounds] for p in ("influence", "kronfluence"))
        print(
            f"| peak memory of the {work}, MB | {statistics.median(ours):,.0f} | {statistics.median(peer):,.0f} "
            f"| {statistics.median(ours) / statistics.median(peer):.2f} |"
        )
    print(
        f"| peak memory of the score in bfloat16, MB | {statistics.median(r['memory'] for r in low):,.0f} | – | – |"
    )
    ours, peer = np.load(folder / "ours.npy"), np.load(folder / "peer.npy")
    lower = np.load(folder / "ours-bfloat16.npy")
    order = sorted(range(len(data["queries"])), key=lambda i: len(data["queries"][i]), reverse=True)
    correlation = [float(np.corrcoef(ours[q], peer[row])[0, 1]) for row, q in enumerate(order)]
    print(f"\nagreement of the scores, Pearson R a query: mean {statistics.mean(correlation):.7f}, ", end="")
    print(f"minimum {min(correlation):.7f}")
    correlation = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(ours, lower, strict=True)]
    print(f"of ours in bfloat16 with ours in float32: mean {statistics.mean(correlation):.5f}, ", end="")
    print(f"minimum {min(correlation):.5f}")


def spread(values: list[float]) -> str:
    """Median (minimum–maximum)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    main()
