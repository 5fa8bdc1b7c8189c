"""Speed and memory against kronfluence and bergson, in multiples of a plain training step, in one run on one corpus.

    python tests/bench/run.py                                            # lengths drawn log-normally, cap 512
    python tests/bench/run.py --corpus docs.jsonl --tokenizer MODEL      # your own text
    python tests/bench/run.py --width 768 --mlp 3072 --blocks 2          # as wide as GPT-2 small
    python tests/bench/run.py --bergson ENV/bin/python                   # with bergson, which lives apart

Each round runs every contender in a process of its own, one after the other (A B C, A B C), on one thread. The unit
is forward + full backward of a document in length-sorted batches, without an optimizer, in the same round. Times are
CPU seconds, without loading the model; memory is the peak of the process, weights and libraries included. The last
lines say whether the scores agree: all programs fit and score the same model on the same documents with the corpus's
own labels. contenders.py holds ours and kronfluence's, peer_bergson.py bergson's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

Round = dict[str, dict[str, float]]

HERE = Path(__file__).resolve().parent
CONTENDERS = (
    "plain step",
    "influence fit",
    "kronfluence fit",
    "bergson fit",
    "influence score",
    "kronfluence score",
    "bergson score",
    "influence score in bfloat16",
)
PEERS = ("kronfluence", "bergson")
HOW_TO = (
    "bergson is not measured. Make it an environment, `python3.11 -m venv ENV && ENV/bin/pip install -r "
    "tests/bench/requirements-bergson.txt && ENV/bin/pip install --no-deps bergson==2.5.1`, and add --bergson "
    "ENV/bin/python"
)
QUERIES = 80
STAGES = (
    ("fit: covariances", "fit", ("covariances",)),
    ("fit: corrected eigenvalues", "fit", ("eigenvalues",)),
    ("**fit, both passes**, steps a document", "fit", ("covariances", "eigenvalues")),
    ("query gradient + preconditioning, steps a query", "score", ("queries",)),
    ("**score**, steps a document", "score", ("scan",)),
    ("query gradient + preconditioning in bfloat16", "score in bfloat16", ("queries",)),
    ("**score in bfloat16**, steps a document", "score in bfloat16", ("scan",)),
)
AGREEMENT = {
    "agreement with kronfluence, Pearson R of a query's scores": "kronfluence.npy",
    "with bergson as it is": "bergson.npy",
    "with bergson when it counts a document's last token in the activations' covariance": "bergson-last-tokens.npy",
    "of ours in bfloat16 with ours in float32": "ours-bfloat16.npy",
}


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
    parser.add_argument("--bergson", metavar="PYTHON", help="Of an environment that has bergson.")
    options = parser.parse_args()
    peers = {"kronfluence": version("kronfluence")}
    if options.bergson:
        peers["bergson"] = bergson_version(options.bergson)
    contenders = [name for name in CONTENDERS if options.bergson or not name.startswith("bergson")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options)
        rounds = [
            {contender: in_process(command(contender, folder, options.bergson)) for contender in contenders}
            for _ in range(options.rounds)
        ]
        if options.bergson:
            in_process(command("bergson agree", folder, options.bergson))
        print_setting(folder, peers, rounds)
        print_table(rounds, len(json.loads((folder / "tokens.json").read_text())["rows"]))
        print_agreement(folder)
    if not options.bergson:
        print("\n" + HOW_TO)


def bergson_version(python: str) -> str:
    """The version that an environment has."""
    asked = (
        "import bergson.score.score, importlib.metadata as m; print(m.version('bergson'), m.version('torch'))"
    )
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python} cannot import bergson:\n{done.stderr[-2000:]}\n{HOW_TO}")
    found, torch = done.stdout.split()
    return f"{found} (torch {torch})"


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Write the token ids and the model that every contender reads."""
    generator = np.random.default_rng(0)
    if options.corpus:
        from transformers import AutoTokenizer

        from influence.data.corpus import read_corpus
        from influence.data.document_tokens import TokenReport, encode_documents

        tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
        documents = list(read_corpus(options.corpus))
        chosen = generator.permutation(len(documents))[: options.documents]
        encoded = encode_documents((documents[i] for i in chosen), tokenizer, 512, False, TokenReport())
        rows = [tokens for _, tokens in encoded]
        vocabulary = len(tokenizer)
    else:
        vocabulary = 8192
        lengths = np.clip(generator.lognormal(5.75, 0.75, options.documents).astype(int), 8, 512)
        rows = [generator.integers(1, vocabulary, length).tolist() for length in lengths]
    queries = [generator.integers(1, vocabulary, 100).tolist() for _ in range(QUERIES)]
    (folder / "tokens.json").write_text(json.dumps({"rows": rows, "queries": queries}))
    save_model(folder / "model", vocabulary, options)


def save_model(folder: Path, vocabulary: int, options: argparse.Namespace) -> None:
    """A Llama-like model with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=options.width,
        intermediate_size=options.mlp,
        num_hidden_layers=options.blocks,
        num_attention_heads=options.width // 64,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def command(contender: str, folder: Path, bergson: str | None) -> list[str]:
    """What runs one contender."""
    if bergson and contender.startswith("bergson"):
        return [bergson, str(HERE / "peer_bergson.py"), contender.removeprefix("bergson "), str(folder)]
    return [sys.executable, str(HERE / "contenders.py"), contender, str(folder)]


def in_process(contender: list[str]) -> dict[str, float]:
    """Run one contender in a fresh process on one thread of the CPU."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(contender, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(contender)} failed:\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def print_setting(folder: Path, peers: dict[str, str], rounds: list[Round]) -> None:
    """The machine, the programs, the model and the unit."""
    import torch
    from transformers import AutoConfig

    data = json.loads((folder / "tokens.json").read_text())
    model = AutoConfig.from_pretrained(folder / "model")
    lengths = [len(row) for row in data["rows"]]
    programs = ", ".join(f"{peer} {found}" for peer, found in peers.items())
    print(
        f"{platform.machine()}, {platform.python_version()}, torch {torch.__version__}, one thread, float32; {programs}"
    )
    print(
        f"Llama-like, {model.num_hidden_layers} layers × {model.hidden_size}, MLP {model.intermediate_size} tracked; "
        f"{len(lengths)} documents of {statistics.mean(lengths):.0f} tokens on average (max {max(lengths)}), "
        f"{QUERIES} queries of 100 tokens; {len(rounds)} rounds\n"
    )
    step, memory = ([r["plain step"][part] for r in rounds] for part in ("step", "memory"))
    print(f"plain step: {1000 * statistics.median(step) / len(lengths):.1f} ms a document, ", end="")
    print(f"{statistics.median(memory):,.0f} MB\n")


def print_table(rounds: list[Round], documents: int) -> None:
    """Ratios to the plain step of the same round: median (minimum–maximum), and peak memory."""
    heads = ["stage", "influence", *(head for peer in PEERS for head in (peer, f"influence / {peer}"))]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for label, work, parts in STAGES:
        scale = documents / QUERIES if parts == ("queries",) else 1
        print_row(label, [taken(rounds, name, parts, scale) for name in named(work)], spread, spread)
    for work in ("fit", "score", "score in bfloat16"):
        memory = [[r[name]["memory"] for r in rounds if name in r] for name in named(work)]
        print_row(f"peak memory of the {work}, MB", memory, whole, hundredths)


def named(work: str) -> list[str]:
    """The contenders that do some work: ours first, then the peers'."""
    return [f"{program} {work}" for program in ("influence", *PEERS)]


def taken(rounds: list[Round], contender: str, parts: Sequence[str], scale: float) -> list[float]:
    """Plain steps of the same round, by round; nothing for a contender that was not run."""
    return [
        sum(r[contender][part] for part in parts) * scale / r["plain step"]["step"]
        for r in rounds
        if contender in r
    ]


def print_row(
    label: str,
    figures: list[list[float]],
    value: Callable[[list[float]], str],
    ratio: Callable[[list[float]], str],
) -> None:
    """Our figures, and those of each peer with ours over them."""
    ours, *theirs = figures
    cells = [value(ours)]
    for peer in theirs:
        cells += (
            [value(peer), ratio([a / b for a, b in zip(ours, peer, strict=True)])] if peer else ["–", "–"]
        )
    print(f"| {label} | {' | '.join(cells)} |")


def print_agreement(folder: Path) -> None:
    """Pearson R of a query's scores over the documents, ours with those of each other that was run."""
    ours = np.load(folder / "ours.npy")
    print()
    for label, file in AGREEMENT.items():
        if (folder / file).exists():
            pairs = zip(ours, np.load(folder / file), strict=True)
            correlation = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs]
            print(f"{label}: mean {statistics.mean(correlation):.7f}, minimum {min(correlation):.7f}")


def spread(values: list[float]) -> str:
    """Median (minimum–maximum)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def whole(values: list[float]) -> str:
    """The median as a whole number."""
    return f"{statistics.median(values):,.0f}"


def hundredths(values: list[float]) -> str:
    """The median with two digits."""
    return f"{statistics.median(values):.2f}"


if __name__ == "__main__":
    main()
