"""The token scores of a finished run: a second, cheap pass over the few documents that a report opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from influence.curvature.vocabulary import embedding_products
from influence.data.tokens import tokenise
from influence.engine.batching import BATCH_TOKENS, Budget, TokenBatch
from influence.engine.identity import matching_layers
from influence.engine.passes import backward, document_batch
from influence.engine.query import PreconditionedQueries, precondition_queries, query_gradients
from influence.errors import InputError, StoreError
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.progress import Progress
from influence.store.factors import Factors
from influence.store.scores import Scores
from influence.store.token_scores import write_token_scores
from influence.types import VocabularyTokens


@dataclass(frozen=True)
class Decomposition:
    """What a pass over tokens found.

    Attributes:
        pairs: Queries and documents decomposed.
        worst: Largest |sum of tokens − score|, over the largest |score| of its query.
        left_out: Documents whose text alone does not give their tokens, such as windows cut inside a word.
    """

    path: Path
    pairs: int
    worst: float
    left_out: int


def decompose(
    scores: Scores,
    model: LanguageModel,
    factors: Factors | None,
    *,
    query_model: LanguageModel | None = None,
    k: int = 10,
) -> Decomposition:
    """Influence of each token of the top `k` documents of each query, by `normed` and by `dot`, stored with the run.

    A token's value is what its position adds to `dot`, in nats; the values of a document add up to its score.

    Raises:
        StoreError: model, tokenizer or Hessian are not those that made the scores.
        InputError: `k` is not positive, or no document could be decomposed.
        ComputeError: a value is not finite, or a document does not fit into memory.
    """
    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))
    asked = query_model or model
    config = scores.manifest["config"]
    _check(scores, model, asked, factors)
    layers = matching_layers(factors, model)
    alone = scores.manifest["provenance"].get("probe", {}).get("alone", False)
    budget = Budget(1 if alone else BATCH_TOKENS)
    gradients = query_gradients(
        asked, matching_layers(factors, asked), scores.queries, config["max_length"], budget
    )
    prepared = precondition_queries(gradients, layers, factors, config["damping"], model.dtype)
    rows_of = _wanted(scores, k)
    lengths: dict[int, npt.NDArray[np.int64]] = {}
    found: list[tuple[int, int, npt.NDArray[np.floating]]] = []
    with Progress("tokens", len(rows_of)) as bar:
        for column, rows in rows_of.items():
            tokens = scores.documents.tokens(column)
            length_T = _lengths(model, scores.documents.text(column), tokens.tolist())
            if length_T is not None:
                part = PreconditionedQueries([g[rows] for g in prepared.gradients], prepared.nll[rows])
                batch = document_batch(scores.documents, np.array([column]), model.device)
                value_QT = token_scores(model, layers, part, batch).double().sum(0)[:, 0].numpy()
                lengths[column] = length_T
                found += [(row, column, value_QT[place]) for place, row in enumerate(rows)]
            bar.advance()
    if not found:
        raise InputError(f"No document of {scores.folder} gives its tokens from its text alone.")
    found.sort(key=lambda pair: pair[:2])
    largest_Q = [max(float(np.nanmax(np.abs(scores.dot[row]))), 1e-30) for row in range(len(scores.queries))]
    worst = max(abs(float(v.sum()) - float(scores.dot[row, c])) / largest_Q[row] for row, c, v in found)
    path = write_token_scores(scores.folder, found, lengths)
    return Decomposition(path, len(found), worst, len(rows_of) - len(lengths))


def token_scores(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    queries: PreconditionedQueries,
    batch: TokenBatch,
) -> Tensor:
    """`s_tᵀ P_q a_t` for each layer, query, document and position: `[L, Q, B, T]`, zero at padding.

    Sums over positions give a layer's score, sums over layers a token's, both together `score[q, d]`. Position `t` is
    where the computation runs, one before the token it helps to predict (Grosse et al., arXiv 2308.03296, token-wise
    attribution).
    """
    result = torch.zeros(len(layers), len(queries.nll), *batch.input_ids.shape, dtype=queries.nll.dtype)
    positions: dict[int, Tensor] = {}

    def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        for query, p_OI in enumerate(queries.gradients[layer]):
            value_BT = ((s_BTO.to(p_OI.dtype) @ p_OI) * a_BTI).sum(-1).to(result)
            if layer in positions:  # rows beyond those of an expert are zero and may fall anywhere
                result[layer, query].scatter_add_(1, positions[layer].clamp(min=0).cpu(), value_BT)
            else:
                result[layer, query] = value_BT

    def reduce_vocabulary(layer: int, tokens: VocabularyTokens) -> None:
        p_QVI = queries.gradients[layer]
        if tokens.embedding is not None:
            g_BTI, token_BT = tokens.embedding
            result[layer] += embedding_products(p_QVI, g_BTI.to(p_QVI.dtype), token_BT).cpu()
        if tokens.head is not None:
            a_BTI, s_BTV = tokens.head
            for query, p_VI in enumerate(p_QVI):
                result[layer, query] += ((s_BTV.to(p_VI.dtype) @ p_VI) * a_BTI).sum(-1).cpu()

    what = "the documents to decompose"
    backward(model, layers, batch, reduce, vocabulary=reduce_vocabulary, positions=positions, what=what)
    return result


def _wanted(scores: Scores, k: int) -> dict[int, list[int]]:
    """Queries in whose top `k` each document stands, by column."""
    rows_of: dict[int, list[int]] = {}
    for row, query in enumerate(scores.queries):
        both = np.union1d(scores.ranking(query.id, k, "normed"), scores.ranking(query.id, k, "dot"))
        for column in both.tolist():
            rows_of.setdefault(column, []).append(row)
    return dict(sorted(rows_of.items()))


def _lengths(model: LanguageModel, text: str, tokens: Sequence[int]) -> npt.NDArray[np.int64] | None:
    """Characters of the text that each token covers; None if the text alone does not give these tokens."""
    (again,) = tokenise(model.tokenizer, [text])
    before = len(tokens) - len(again.ids)  # of BOS, which a chat template may leave out
    if list(tokens) not in (again.whole, again.ids) or not again.ends:
        return None
    reached = np.maximum.accumulate([*([0] * before), *again.ends])
    reached[-1] = len(text)
    return np.diff(reached, prepend=0)


def _check(scores: Scores, model: LanguageModel, asked: LanguageModel, factors: Factors | None) -> None:
    config = scores.manifest["config"]
    if "sum" in config:
        raise StoreError(
            f"{scores.folder} is a sum over checkpoints, whose tokens are not those of one model.",
            fix="Decompose the scores of one of the checkpoints, beside it.",
        )
    now = {
        "model": model.fingerprint,
        "query_model": asked.fingerprint,
        "tokenizer": model.tokenizer_fingerprint,
        "hessian": factors.identity if factors else "identity",
    }
    for name, value in now.items():
        if config.get(name) != value:
            raise StoreError(
                f"The scores in {scores.folder} were made with another {name.replace('_', ' ')}.",
                fix="Name the model, query model and Hessian that the scores were made with.",
            )
