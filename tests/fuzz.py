"""Coverage-guided fuzzing of the readers: `pip install atheris; python tests/fuzz.py --seconds 120`.

Each reader has its share of the time. Reading a file may end in an `InfluenceError` and in no other; a file that ends
in another is kept in the folder that `--keep` names.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

with atheris.instrument_imports(include=["influence"]):
    from influence.data.corpus import read_corpus
    from influence.data.queries import read_queries, write_queries
    from influence.errors import InfluenceError
    from influence.store.artefact import add_files, read_manifest
    from influence.store.factors import open_factors
    from influence.store.scores import open_scores
    from influence.store.token_scores import open_token_scores

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import zstandard  # noqa: E402
from stores import make_query, without_checksums, write_hessian, write_scores  # noqa: E402

ROWS = b'{"id": "a", "text": "some words", "source": "web", "n": [1, 2.5, null]}\n{"text": "others"}\n'


def look_at_scores(folder: Path) -> None:
    """Touch everything that a score store holds."""
    scores = open_scores(folder)
    for query in scores.queries:
        scores.top(query.id, k=3)
    documents = scores.documents
    for column in range(len(documents)):
        documents.metadata(column), documents.tokens(column), documents.snippet(column)
    documents.ids, documents.sources, documents.lengths, scores.per_nat, scores.normed  # noqa: B018


def look_at_factors(folder: Path) -> None:
    """Read every layer of a Hessian."""
    factors = open_factors(folder)
    for name in factors.layers:
        factors.layer(name), factors.token_eigenvalues(name), factors.shape(name)


#: File that is fuzzed -> what reads it. A folder's other files are whole.
READERS: dict[str, Callable[[Path], Any]] = {
    "queries.jsonl": read_queries,
    "corpus.jsonl": lambda path: list(read_corpus(path)),
    "corpus.jsonl.zst": lambda path: list(read_corpus(path)),
    "corpus.parquet": lambda path: list(read_corpus(path)),
    "scores/manifest.json": lambda path: (read_manifest(path.parent), look_at_scores(path.parent)),
    "scores/queries.json": lambda path: look_at_scores(path.parent),
    "scores/scores.safetensors": lambda path: look_at_scores(path.parent),
    "scores/documents.arrow": lambda path: look_at_scores(path.parent),
    "scores/token_scores.safetensors": lambda path: (
        add_files(path.parent, path.name),
        open_token_scores(open_scores(path.parent)),
    ),
    "hessian/manifest.json": lambda path: look_at_factors(path.parent),
    "hessian/lambda_matrix.safetensors": lambda path: look_at_factors(path.parent),
    "hessian/activation_eigenvectors.safetensors": lambda path: look_at_factors(path.parent),
}


def write_whole(folder: Path) -> None:
    """Every file as it should be."""
    write_queries([make_query(0)], folder / "queries.jsonl")
    (folder / "corpus.jsonl").write_bytes(ROWS)
    (folder / "corpus.jsonl.zst").write_bytes(zstandard.compress(ROWS))
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"]}), folder / "corpus.parquet")
    write_scores(folder / "scores", np.ones((2, 3), np.float32))
    write_hessian(folder / "hessian")
    without_checksums(folder / "hessian")
    shutil.copy(folder / "scores/scores.safetensors", folder / "scores/token_scores.safetensors")


def fuzz(file: str, folder: Path, seconds: int, keep: Path) -> NoReturn:
    """Fuzz one file of a folder of whole ones, and end the process: with 0 where nothing was found."""
    path, seeds = folder / file, folder / "seeds"
    seeds.mkdir()
    shutil.copy(path, seeds)

    def once(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(InfluenceError):
            READERS[file](path)

    options = [f"-max_total_time={seconds}", f"-artifact_prefix={keep}/{path.name}-", "-max_len=32768"]
    limits = ["-len_control=0", "-timeout=10", "-rss_limit_mb=4096", "-verbosity=0", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, *limits, str(seeds)], once)
    atheris.Fuzz()
    raise AssertionError("it ends the process")


def main() -> None:
    """Fuzz every reader for its share of the seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"))
    asked = parser.parse_args()
    asked.keep.mkdir(exist_ok=True)
    failed = []
    for file in READERS:
        with tempfile.TemporaryDirectory() as name:
            write_whole(Path(name))
            child = os.fork()
            if not child:
                fuzz(file, Path(name), max(1, asked.seconds // len(READERS)), asked.keep)
            _, status = os.waitpid(child, 0)
            failed += [file] if status else []
    sys.exit(f"Found: {', '.join(failed)}; see {asked.keep}" if failed else 0)


if __name__ == "__main__":
    main()
