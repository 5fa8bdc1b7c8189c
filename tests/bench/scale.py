"""Host memory of a run over many short documents: `python tests/bench/scale.py --documents 1000000`.

Writes a corpus of so many documents of two to four short words (about 10 tokens), and measures, in a process of its
own for each size, the seconds and the memory of the steps of `influence score` that touch every document: the survey,
tokenising, and with `--score` the scoring with a model of one block, width 16. Anonymous memory is what the program
holds; mapped files are the system's to drop.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))


class Peak:
    """The most anonymous memory while a block of code runs, MB, sampled a hundred times a second."""

    def __enter__(self) -> Peak:
        self.before = self.most = _anonymous()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self.started = time.monotonic()
        self.cpu = time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds, self.cpu_seconds = time.monotonic() - self.started, time.process_time() - self.cpu
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.most = max(self.most, _anonymous())


def _anonymous() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def write_corpus(path: Path, documents: int) -> None:
    """Documents of two to four short words."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 4))) for _ in range(200)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(documents):
            text = " ".join(rng.choices(words, k=rng.randint(2, 4)))
            file.write(json.dumps({"id": f"document-{number}", "text": text, "source": "web"}) + "\n")


def measure(path: Path, folder: Path, score: bool, send: Any) -> None:
    """Survey, tokenise, and score; sends one row a step."""
    import torch
    from texts import random_queries
    from tiny import tiny_model

    from influence.data.corpus import read_corpus
    from influence.engine import score as scoring
    from influence.engine.tokenised import survey, tokenised_documents

    torch.set_num_threads(1)
    sys.stderr = Path("/dev/null").open("w")  # noqa: SIM115
    model = tiny_model("llama", num_hidden_layers=1, dtype=torch.float32)
    corpus = read_corpus(path)
    rows: list[tuple[str, Peak]] = []

    def step(name: str, run: Callable[[], Any]) -> Any:
        with Peak() as peak:
            result = run()
        rows.append((name, peak))
        return result

    found = step("survey", lambda: survey(corpus, model.tokenizer))
    tokenised = folder / "tokenised"
    tokenised.mkdir()
    step("tokenise", lambda: tokenised_documents(tokenised, corpus, found, model, 512, False))
    if score:
        step(
            "score, all of it", lambda: scoring.score(model, None, random_queries(4), corpus, folder / "run")
        )
    send.send([(name, p.before, p.most, p.seconds, p.cpu_seconds) for name, p in rows])


def main() -> None:
    """A row of each step at a tenth and at all of the documents."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--score", action="store_true")
    asked = parser.parse_args()
    print("| documents | step | anonymous memory before, MB | at most, MB | seconds | CPU seconds |")
    print("|---|---|---|---|---|---|")
    for documents in (asked.documents // 10, asked.documents):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "corpus.jsonl"
            write_corpus(path, documents)
            receive, send = multiprocessing.get_context("spawn").Pipe(duplex=False)
            process = multiprocessing.get_context("spawn").Process(
                target=measure, args=(path, Path(name), asked.score, send)
            )
            process.start()
            for step, before, most, seconds, cpu in receive.recv():
                print(
                    f"| {documents:,} | {step} | {before:.0f} | {most:.0f} | {seconds:.1f} | {cpu:.1f} |",
                    flush=True,
                )
            process.join()


if __name__ == "__main__":
    main()
