"""What `--query-error` keeps of queries at the width of Llama-7B, measured on few layers and multiplied out.

    python tests/bench/wide_queries.py                       # 1 block of 4096 × 11008, 80 queries: 6 GB of memory
    python tests/bench/wide_queries.py --width 512 --mlp 1376 --blocks 2

The model is random, in bfloat16. Its Hessian is made, not fitted: an eigendecomposition of 11008² takes long. The
leading eigenvectors are the leading singular vectors of the model's own tokens, the others any that complete the basis
(products of Householder reflections); eigenvalues go on from the last of those as a power of their rank, with the
exponents of a model trained on text; the corrected eigenvalues are those of K-FAC. So memory is measured, but how many
ranks a trained model needs is not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))  # texts, tiny

#: Singular directions that are the tokens' own, and how eigenvalues fall after them: `rank ** -exponent`.
LEADING = 128
EXPONENTS = {"activation": 0.9, "gradient": 0.5}
#: Blocks and layers of a block that the measurement is multiplied by.
BLOCKS_OF_7B, LAYERS_OF_A_BLOCK = 32, 3


def main() -> None:
    """Make the Hessian, score, and say what was kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--mlp", type=int, default=11008)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--queries", type=int, default=80)
    parser.add_argument("--documents", type=int, default=8)
    parser.add_argument("--error", type=float, default=0.01)
    parser.add_argument("--folder", type=Path, help="Keep the Hessian here.")
    parser.add_argument("--stage", choices=["hessian", "score"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        work = write_hessian if options.stage == "hessian" else measure
        print(json.dumps(work(options)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        if not (folder / "hessian").exists():
            in_process("hessian", folder)
        print_result(in_process("score", folder), options)


def in_process(stage: str, folder: Path) -> dict[str, Any]:
    """One stage in a process of its own, so that its memory is its own."""
    given = [*sys.argv[1:], "--stage", stage, "--folder", str(folder)]
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, __file__, *given], env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{stage} failed")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def world(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Model, corpus and queries; the texts are letters, rare ones rarer."""
    import torch
    from texts import LETTERS, MemoryCorpus
    from tiny import character_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    from influence.models.load import LanguageModel
    from influence.types import Document, Query

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=options.width,
        intermediate_size=options.mlp,
        num_hidden_layers=options.blocks,
        num_attention_heads=max(1, options.width // 128),
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    model = LanguageModel(LlamaForCausalLM(config).eval(), character_tokenizer(), "as wide as Llama-7B")
    torch.set_default_dtype(torch.float32)
    generator = random.Random(0)
    weights = [1 / (place + 1) for place in range(len(LETTERS))]

    def text(length: int) -> str:
        return "".join(generator.choices(LETTERS, weights, k=length))

    corpus = MemoryCorpus([Document(f"d{i}", text(256)) for i in range(options.documents)])
    queries = [
        Query(f"q{i}", "task", "factual", text(20), text(generator.randint(50, 150)))
        for i in range(options.queries)
    ]
    return model, corpus, queries


def write_hessian(options: argparse.Namespace) -> dict[str, Any]:
    """The made Hessian of the model, in the store's files."""
    import torch

    from influence.engine.batching import pad
    from influence.engine.passes import backward
    from influence.models.selection import find_layers
    from influence.store.factors import save_tensors, write_kronfluence_arguments

    model, corpus, _ = world(options)
    layers = find_layers(model.model)
    tokens: dict[str, list[Any]] = {}

    def keep(index: int, a_BTI: Any, s_BTO: Any) -> None:
        for kind, x_BTN in (("activation", a_BTI), ("gradient", s_BTO)):
            tokens.setdefault(f"{kind}/{layers[index].name}", []).append(x_BTN.flatten(0, 1))

    for document in corpus:
        batch = pad([model.tokenizer(document.text)["input_ids"]], model.device)
        backward(model, layers, batch, keep, what="the made Hessian")
    folder = options.folder / "hessian"
    folder.mkdir(parents=True)
    values: dict[str, Any] = {}
    for kind in ("activation", "gradient"):
        vectors = {}
        for layer in layers:
            x_KN = torch.cat(tokens.pop(f"{kind}/{layer.name}")).float()
            values[f"{kind}/{layer.name}"], vectors[layer.name] = made_eigenbasis(x_KN, EXPONENTS[kind])
        save_tensors(folder / f"{kind}_eigenvectors.safetensors", vectors)
        save_tensors(
            folder / f"{kind}_eigenvalues.safetensors",
            {layer.name: values[f"{kind}/{layer.name}"] for layer in layers},
        )
    lengths = sum(len(document.text) for document in corpus) / options.documents
    lam = {
        layer.name: lengths
        * torch.outer(values[f"gradient/{layer.name}"], values[f"activation/{layer.name}"])
        for layer in layers
    }
    save_tensors(folder / "lambda_matrix.safetensors", lam)
    save_tensors(folder / "num_lambda_processed.safetensors", {name: torch.tensor([1]) for name in lam})
    write_kronfluence_arguments(folder, True)
    return {}


def made_eigenbasis(x_KN: Any, exponent: float) -> tuple[Any, Any]:
    """Eigenvalues (ascending) `[N]` and eigenvectors (columns) `[N, N]`: those of the tokens, then made ones."""
    import torch

    count = min(LEADING, *x_KN.shape)
    _, singular, v_NR = torch.svd_lowrank(x_KN, q=count)
    q_NN = torch.linalg.qr(v_NR, mode="complete").Q
    measured = singular.square() / len(x_KN)
    ranks = torch.arange(count + 1, len(q_NN) + 1) / count
    eigenvalues = torch.cat([measured, measured[-1] * ranks**-exponent])
    return eigenvalues.flip(0), q_NN.flip(1)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Score with compressed queries; what was kept, and memory."""
    import warnings

    from influence.config import ScoreConfig
    from influence.engine import compress, score
    from influence.engine.batching import PeakMemory
    from influence.models.selection import find_layers
    from influence.store.factors import open_factors

    model, corpus, queries = world(options)
    factors = open_factors(options.folder / "hessian")
    layers = find_layers(model.model)
    token = 2 * sum(sum(layer.shape) for layer in layers)
    result: dict[str, Any] = {
        "model": sum(p.nbytes for p in model.model.parameters()),
        "tokens": token * sum(len(query.prompt + query.completion) for query in queries),
    }

    def followed(owner: Any, name: str) -> Any:
        work = getattr(owner, name)

        def run(*given: Any, **named: Any) -> Any:
            peak, started = PeakMemory(model.device), time.process_time()
            found = work(*given, **named)
            result[name] = [peak.read()[0], time.process_time() - started]
            if name == "compress_queries":
                kept = [layer.queries for layer in found[0].layers]
                result["kept"] = [one.nbytes for one in kept]
                result["ranks"] = [sum(one.ranks) / len(queries) for one in kept]
            return found

        return mock.patch.object(owner, name, run)

    share = (
        compress.GROUP_BYTES * options.blocks // BLOCKS_OF_7B
    )  # as few queries at a time as with all blocks
    with (
        warnings.catch_warnings(action="ignore"),  # this Hessian does not name its model
        mock.patch.object(compress, "GROUP_BYTES", share),
        followed(score, "compress_queries"),
        followed(score.Scan, "run"),
    ):
        out = options.folder / "scores"
        scores = score.score(
            model, factors, queries, corpus, out, config=ScoreConfig(query_error=options.error)
        )
    result["compression"] = scores.manifest["provenance"]["compression"]
    result["host"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


def print_result(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Measured, and multiplied out."""
    from influence.engine.compress import GROUP_BYTES

    cut, kept = result["compression"], sum(result["kept"])
    print(f"{options.blocks} of {BLOCKS_OF_7B} blocks of {options.width} × {options.mlp}, bfloat16", end=", ")
    print(f"{options.queries} queries, error {cut['error']}")
    print(f"mean rank {cut['mean_rank']}, {cut['numbers']:.2%} of the numbers; by layer {result['ranks']}")
    print(f"R with exact on {cut['documents']} documents: mean {cut['r_mean']}, least {cut['r_least']}")
    print(f"kept: {kept / 1e6:,.0f} MB, {[round(size / 1e6, 1) for size in result['kept']]} a layer")
    for name in ("compress_queries", "run"):
        host, seconds = result[name]
        print(f"{name}: {seconds:.0f} CPU s, at most {host / 1e6:,.0f} MB of memory")
    print(f"model {result['model'] / 1e6:,.0f} MB; most memory of the process {result['host'] / 1e6:,.0f} MB")
    times = BLOCKS_OF_7B / options.blocks
    waiting = min(result["tokens"] * times, GROUP_BYTES)
    print(
        f"by arithmetic × {times:g}: queries kept {kept * times / 1e9:.1f} GB; the tokens of all of them would take "
        f"{result['tokens'] * times / 1e9:.1f} GB, and at most {waiting / 1e9:.1f} GB wait at a time"
    )


if __name__ == "__main__":
    main()
