"""Finished score stores, made on the spot from arrays: no model, no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from influence.store.arrays import write_arrays
from influence.store.artefact import claim, finish, open_complete
from influence.store.documents import write_documents
from influence.store.scores import ARRAYS, Scores, write_query_records
from influence.types import Document, Query

CONFIG = {
    "damping": 0.1,
    "max_length": 512,
    "windows": False,
    "layers": ["h.0.mlp.c_fc", "h.0.mlp.c_proj"],
    "model": "0123456789abcdef0123456789abcdef",
    "query_model": "0123456789abcdef0123456789abcdef",
    "tokenizer": "fedcba9876543210fedcba9876543210",
    "dtype": "float32",
    "corpus": "00112233445566778899aabbccddeeff",
    "queries": "ffeeddccbbaa99887766554433221100",
    "hessian": {"empirical": False, "documents": 1000, "backend": "influence", "seed": 0},
}
PROVENANCE = {
    "version": "0.1.0",
    "commit": "abc1234",
    "command": "influence score --queries q.jsonl --out runs/x",
    "libraries": {"numpy": "2.0.0", "torch": "2.9.0"},
    "machine": "Linux x86_64, Python 3.11.9",
    "finished": "2025-11-20T10:00:00+00:00",
    "seconds": 12.5,
    "model_name": "tiny-model",
    "query_model_name": "tiny-model",
    "corpus_name": "tiny-corpus",
}


def write_scores(
    folder: Path,
    dot: npt.ArrayLike,
    *,
    gradient_norm: npt.ArrayLike | None = None,
    query_nll: npt.ArrayLike | None = None,
    queries: Sequence[Query] | None = None,
    documents: Sequence[Document] | None = None,
    config: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
    complete: bool = True,
    kind: str = "scores",
    checked: bool = False,
) -> Scores:
    """A store of `dot [Q, D]`; what is not given is made up: norms and nats of 1, numbered queries and documents."""
    dot_QD = np.asarray(dot)
    n_queries, n_documents = dot_QD.shape
    queries = queries or [make_query(n) for n in range(n_queries)]
    documents = documents or [make_document(n) for n in range(n_documents)]
    manifest = claim(folder, kind, CONFIG if config is None else config)
    write_query_records(folder, queries)
    write_documents(folder, ((document, [1, 2, 3]) for document in documents))
    norm = np.ones(n_documents, dot_QD.dtype) if gradient_norm is None else np.asarray(gradient_norm)
    nll = np.ones(n_queries, dot_QD.dtype) if query_nll is None else np.asarray(query_nll)
    write_arrays(folder / ARRAYS, {"dot": dot_QD, "gradient_norm": norm, "query_nll": nll})
    if complete:
        finish(folder, manifest, PROVENANCE if provenance is None else provenance)
        if not checked:
            without_checksums(folder)
        return Scores(folder, open_complete(folder, kind))
    return Scores(folder, manifest)


def write_hessian(folder: Path, scale: float = 1.0) -> None:
    """A Hessian of one layer, its covariances in two blocks."""
    import torch

    from influence.store.factors import EIGEN, save_tensors

    manifest = claim(folder, "hessian", {"covariance_blocks": 2})
    for name, side in zip(EIGEN, (3, 3, 2, 2), strict=True):
        sizes = (side - side // 2, side // 2)
        blocks = [torch.eye(n) if name.endswith("vectors") else scale * torch.ones(n) for n in sizes]
        save_tensors(folder / f"{name}.safetensors", {f"a/{n}": block for n, block in enumerate(blocks)})
    save_tensors(folder / "lambda_matrix.safetensors", {"a": scale * torch.ones(2, 3)})
    save_tensors(folder / "num_lambda_processed.safetensors", {"a": torch.tensor([4])})
    finish(folder, manifest, {})


def without_checksums(folder: Path) -> None:
    """Let a test change the files of a finished artefact: its manifest becomes one of format 1 without checksums."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in ("files", "added", "holds", "format", "sha256"):
        del manifest[name]
    path.write_text(json.dumps(manifest), encoding="utf-8")


def make_query(number: int, **fields: Any) -> Query:
    """A slopes query, numbered."""
    values: dict[str, Any] = {
        "id": f"slopes-{number:02d}",
        "task": "slopes",
        "group": "reasoning",
        "prompt": f"What is the slope of the line through (0, 0) and (1, {number})?",
        "completion": f"The slope is {number}.",
        "answer": str(number),
        "correct": True,
    }
    return Query(**{**values, **fields})


def make_document(number: int, **fields: Any) -> Document:
    """A short document, numbered."""
    values: dict[str, Any] = {"id": f"doc-{number}", "text": f"Text of document {number}.", "source": "wiki"}
    return Document(**{**values, **fields})
