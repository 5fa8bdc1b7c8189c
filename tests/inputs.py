"""A tiny model, a corpus and queries on disk, and the commands a user types on them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texts import random_documents, random_queries
from tiny import tiny_model

from influence.data.queries import completions_record, queries_digest, write_queries


@dataclass(frozen=True)
class Inputs:
    """What a user has before the first command."""

    model: Path
    corpus: Path
    queries: Path

    def fit(self, out: Path) -> list[str]:
        return [
            "fit-hessian",
            "--model",
            str(self.model),
            "--corpus",
            str(self.corpus),
            "--out",
            str(out),
            *SMALL,
        ]

    def score(self, hessian: Path, out: Path) -> list[str]:
        run = ["score", "--queries", self.queries, "--model", self.model, "--hessian", hessian]
        return [str(part) for part in (*run, "--corpus", self.corpus, "--out", out, *SMALL)]


#: The model that is recorded to have written the completions.
WRITER = "the-writer"
#: Small batches: a run long enough to be killed in its middle.
SMALL = ("--batch-tokens", "150", "--device", "cpu")


def write_model_corpus_queries(folder: Path, documents: int = 200) -> Inputs:
    model = tiny_model("llama")
    model.model.save_pretrained(folder / "model")
    model.tokenizer.save_pretrained(folder / "model")
    rows = [
        {"id": d.id, "text": d.text, "source": d.source}
        for d in random_documents(documents, seed=4, shortest=5, longest=30)
    ]
    write_records(folder / "corpus.jsonl", rows)
    queries = random_queries(3)
    write_queries(queries, folder / "queries.jsonl")
    record = {"model": WRITER, "queries": queries_digest(queries)}
    completions_record(folder / "queries.jsonl").write_text(json.dumps(record))
    return Inputs(folder / "model", folder / "corpus.jsonl", folder / "queries.jsonl")


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
