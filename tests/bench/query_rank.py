"""How many singular pairs a query needs: R with exact scores by rank, in the documents' metric and in the plain one.

    python tests/bench/query_rank.py --model MODEL --hessian HESSIAN --queries QUERIES.jsonl --corpus CORPUS

For every rank and layer each query is cut to its leading singular pairs, and met with documents drawn from the corpus.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from influence.curvature.low_rank import document_roots, plain_roots
from influence.curvature.statistics import rotated_gradient_stacks
from influence.data.corpus import read_corpus
from influence.data.document_tokens import TokenReport, encode_documents
from influence.data.queries import read_queries
from influence.engine.batching import Budget, pad
from influence.engine.identity import matching_layers
from influence.engine.passes import backward
from influence.engine.query import query_gradients
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel, load_model
from influence.store.factors import open_factors

RANKS = (4, 8, 16, 32, 64)
METRICS = ("plain", "documents' metric")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("model", "hessian", "queries", "corpus"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--most-queries", type=int, default=40)
    options = parser.parse_args()
    model, factors = load_model(options.model), open_factors(options.hessian)
    layers = matching_layers(factors, model)
    queries = read_queries(options.queries)[: options.most_queries]
    gradients = query_gradients(model, layers, queries, 512, Budget(1 << 10))
    tokens = sampled_tokens(model, layers, options.corpus, options.documents)
    exact_QD = torch.zeros(len(queries), sum(len(a_BTI) for a_BTI, _ in tokens[0]))
    cut = {(name, rank): torch.zeros_like(exact_QD) for name in METRICS for rank in RANKS}
    for index, layer in enumerate(layers):
        found = factors.layer(layer.name)
        q_S, q_A = found.gradient_eigenvectors, found.activation_eigenvectors
        g_DOI = torch.cat([g for a, s in tokens[index] for _, g in rotated_gradient_stacks(s, a, q_S, q_A)])
        p_QOI = torch.empty(len(queries), *layer.shape)
        for rows_B, p_BOI in gradients.rotated(index, found, 0.1):
            p_QOI[rows_B] = p_BOI
        exact_QD += p_QOI.flatten(1) @ g_DOI.flatten(1).mT
        both = plain_roots(*layer.shape), document_roots(*factors.token_eigenvalues(layer.name))
        for name, roots in zip(METRICS, both, strict=True):
            root_S, root_A = roots.outputs.float()[:, None], roots.inputs.float()
            u, values, vh = torch.linalg.svd(root_S * p_QOI * root_A, full_matrices=False)
            for rank in RANKS:
                kept_QOI = (u[..., :rank] * values[:, None, :rank]) @ vh[:, :rank] / root_S / root_A
                cut[name, rank] += kept_QOI.flatten(1) @ g_DOI.flatten(1).mT
    print(f"{len(layers)} layers, {len(queries)} queries, {exact_QD.shape[1]} documents; R mean / least\n")
    print("| | " + " | ".join(f"rank {rank}" for rank in RANKS) + " |\n|---|" + "---|" * len(RANKS))
    for name in METRICS:
        print(f"| {name} | " + " | ".join(agreement(exact_QD, cut[name, rank]) for rank in RANKS) + " |")


def sampled_tokens(
    model: LanguageModel, layers: Sequence[TrackedLayer], corpus: str, count: int
) -> list[list[tuple[Tensor, Tensor]]]:
    """`(a_BTI, s_BTO)` of documents drawn from the corpus, one a batch, for each layer."""
    documents = list(read_corpus(corpus))
    drawn = np.random.default_rng(0).permutation(len(documents))[:count]
    rows = encode_documents(iter([documents[i] for i in drawn]), model.tokenizer, 512, False, TokenReport())
    tokens: list[list[tuple[Tensor, Tensor]]] = [[] for _ in layers]
    for _, row in rows:
        backward(
            model,
            layers,
            pad([row], torch.device("cpu")),
            lambda layer, a_BTI, s_BTO: tokens[layer].append((a_BTI, s_BTO)),
            what="the sample",
        )
    return tokens


def agreement(exact_QD: Tensor, cut_QD: Tensor) -> str:
    """Pearson's R a query: mean and least."""
    r_Q = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(exact_QD, cut_QD, strict=True)]
    return f"{np.mean(r_Q):.4f} / {min(r_Q):.4f}"


if __name__ == "__main__":
    main()
