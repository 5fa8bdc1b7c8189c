"""Checks of scores without retraining, for a few queries: an exact solve, factors of half the documents, learning.

Each becomes a line of *Can these scores be believed?*. What is measured is in docs/validation.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from influence.config import FitConfig
from influence.curvature.conjugate import Solution, conjugate_gradients
from influence.data.query_tokens import encode_query
from influence.engine.batching import BATCH_TOKENS, TokenBatch, batches, pad
from influence.engine.fit import fit_hessian
from influence.engine.gauss_newton import EkfacInverse, GaussNewton, TrackedWeights
from influence.engine.identity import matching_layers
from influence.engine.passes import document_batch
from influence.engine.tokenised import Corpus
from influence.errors import InputError, StoreError
from influence.models.load import LanguageModel
from influence.store.factors import Factors
from influence.store.formats.tables import write_tables
from influence.store.formats.validation import CONVERGED, EXACT, LEARNED, SOLVED
from influence.store.scores import Scores
from influence.validation.lds import spearman
from influence.validation.settings import CheckConfig
from influence.validation.tables import FAILS, HOLDS, UNCHECKED

Array = npt.NDArray[np.float64]

#: Mean R from which factors count as converged, and scores as those of an exact solve; Spearman of learning.
AGREES = {CONVERGED: 0.95, SOLVED: 0.8, LEARNED: 0.5}
#: Steps of AdamW on one document, and their learning rate.
_STEPS, _LR = 4, 1e-4

Say = Callable[[str], None]


def check(
    scores: Scores,
    model: LanguageModel,
    factors: Factors,
    corpus: Corpus,
    config: CheckConfig = CheckConfig(),
    say: Say = lambda line: None,
) -> dict[str, pd.DataFrame]:
    """Compare the scores of a few queries with three other computations, and store what came out beside the run.

    Args:
        model, factors, corpus: Those that the scores were made with.

    Returns:
        - `solved`: query, steps, residual (of conjugate gradients), residual_ekfac (of EK-FAC's own solution), r
          (Pearson between the two over the sampled documents)
        - `converged`: query, r (of scores with factors of half the documents)
        - `learned`: query, score, gradient (Spearman of each with the change of log p, documents learnt one by one)
        - `checks`: check, state, why: the lines of the report

    Raises:
        StoreError: model or Hessian are not those of the scores, or the scores are a sum.
        ModelError: layers are tracked that are no linear layers.
    """
    sample = _Sample.of(scores, model, factors, config)
    say(f"conjugate gradients for {len(sample.queries)} queries, to a residual of {config.residual:g}")
    solved = _solve(sample, config, say)
    say("a Hessian of half the documents")
    converged = _converge(sample, corpus, factors)
    say(f"learning {len(sample.learnt)} documents one by one")
    learned = _learn(sample)
    made = {"solved": solved, "converged": converged, "learned": learned}
    made["checks"] = _verdicts(made, sample, config)
    write_tables(made, scores.folder / "analysis" / EXACT, [scores], analysis=EXACT)
    return made


@dataclass(frozen=True)
class _Sample:
    """A few queries and documents of a run, and the weights they are about.

    Attributes:
        queries: Their numbers.
        columns: Of the documents.
        score_QD: Their scores, `dot`.
        gradients: Of each query, `[P]`.
        learnt: Places among `columns` of the documents that are learnt one by one.
    """

    scores: Scores
    model: LanguageModel
    weights: TrackedWeights
    inverse: EkfacInverse
    queries: list[int]
    columns: npt.NDArray[np.int64]
    score_QD: Array
    asked: list[TokenBatch]
    gradients: list[Tensor]
    learnt: list[int]

    @staticmethod
    def of(scores: Scores, model: LanguageModel, factors: Factors, config: CheckConfig) -> _Sample:
        identity = scores.manifest["config"]
        if "sum" in identity:
            raise StoreError(
                f"{scores.folder} is a sum over checkpoints, which has no Hessian of its own.",
                fix="Check the scores of one of the checkpoints, beside it.",
            )
        now = {"model": model.fingerprint, "query_model": model.fingerprint, "hessian": factors.identity}
        for name, value in now.items():
            if identity.get(name) != value:
                raise StoreError(
                    f"The scores in {scores.folder} were made with another {name.replace('_', ' ')}.",
                    fix="Name the model and the Hessian that the scores were made with.",
                )
        weights = TrackedWeights(model, matching_layers(factors, model))
        total = len(scores.queries)
        queries = sorted({round(n) for n in np.linspace(0, total - 1, min(config.queries, total))})
        documents = len(scores.documents)
        columns = np.random.default_rng(0).permutation(documents)[: config.documents]
        columns = columns[np.argsort(-scores.documents.lengths[columns], kind="stable")]
        if len(columns) < 3:
            raise InputError(
                "Agreement over fewer than three documents says nothing.", have=str(len(columns))
            )
        encoded = [encode_query(model.tokenizer, scores.queries[n], identity["max_length"]) for n in queries]
        asked = [pad([tokens], model.device, [start]) for tokens, start in encoded]
        return _Sample(
            scores,
            model,
            weights,
            EkfacInverse(weights, factors, identity["damping"]),
            queries,
            columns,
            np.array([scores.dot[n][columns] for n in queries], np.float64),
            asked,
            [weights.gradient(batch) for batch in asked],
            list(range(len(columns)))[:: max(1, len(columns) // config.learnt)][: config.learnt],
        )

    def batches(self) -> list[TokenBatch]:
        """The documents in the order of `columns`."""
        lengths = self.scores.documents.lengths
        parts = batches(self.columns, lengths, BATCH_TOKENS)
        return [document_batch(self.scores.documents, part, self.model.device) for part in parts]

    def along(self, vector_P: Tensor) -> Array:
        """`⟨vector, g_d⟩` of every document, `[D]`."""
        return np.concatenate(
            [self.weights.along(vector_P, batch).double().cpu().numpy() for batch in self.batches()]
        )


def _solve(sample: _Sample, config: CheckConfig, say: Say) -> pd.DataFrame:
    matrix = GaussNewton(sample.weights, sample.batches(), sample.inverse.dampings)
    rows = []
    for place, number in enumerate(sample.queries):
        found: Solution = conjugate_gradients(
            matrix, sample.gradients[place], sample.inverse, config.residual, config.steps
        )
        r = _pearson(sample.along(found.x), sample.score_QD[place])
        rows.append((sample.scores.queries[number].id, found.steps, found.residual, found.first, r))
        say(f"  {rows[-1][0]}: residual {found.residual:.3g} after {found.steps} steps, R {r:.3f}")
    return pd.DataFrame(rows, columns=["query", "steps", "residual", "residual_ekfac", "r"])


def _converge(sample: _Sample, corpus: Corpus, factors: Factors) -> pd.DataFrame:
    fitted, total = factors.identity, len(sample.scores.documents)
    half = max(1, min(int(fitted.get("documents", total)), total) // 2)
    names = FitConfig.__dataclass_fields__
    config = FitConfig(
        **{name: value for name, value in fitted.items() if name in names and name != "layers"}
    )
    config = replace(config, documents=half, layers=tuple(factors.layers))
    with tempfile.TemporaryDirectory(dir=sample.scores.folder.parent, suffix=".part") as folder:
        few = fit_hessian(sample.model, corpus, out=Path(folder) / "hessian", config=config)
        inverse = EkfacInverse(sample.weights, few, sample.scores.manifest["config"]["damping"])
        rows = [
            (sample.scores.queries[number].id, _pearson(sample.along(inverse(gradient_P)), score_D))
            for number, gradient_P, score_D in zip(
                sample.queries, sample.gradients, sample.score_QD, strict=True
            )
        ]
    return pd.DataFrame(rows, columns=["query", "r"])


def _learn(sample: _Sample) -> pd.DataFrame:
    """Change of log p of each query by a few steps of AdamW on one document alone, all weights."""
    parameters = list(sample.model.model.parameters())
    flags, before = [p.requires_grad for p in parameters], [p.detach().clone() for p in parameters]
    nll_Q = _losses(sample)
    change_DQ = []
    try:
        for place in sample.learnt:
            batch = document_batch(
                sample.scores.documents, sample.columns[place : place + 1], sample.model.device
            )
            for parameter in parameters:
                parameter.requires_grad_(True)
            optimizer = torch.optim.AdamW(parameters, lr=_LR, weight_decay=0.0)
            for _ in range(_STEPS):
                optimizer.zero_grad()
                sample.weights.losses({}, batch).sum().backward()
                optimizer.step()
            change_DQ.append(nll_Q - _losses(sample))
            _restore(parameters, before, flags)
    finally:
        _restore(parameters, before, flags)
    change, rows = np.array(change_DQ), []
    for place, number in enumerate(sample.queries):
        plain_D = sample.along(sample.gradients[place])[sample.learnt]
        predicted = np.stack([sample.score_QD[place][sample.learnt], plain_D], axis=1)
        agreement = spearman(predicted, np.repeat(change[:, place : place + 1], 2, axis=1))
        rows.append((sample.scores.queries[number].id, *agreement.tolist()))
    return pd.DataFrame(rows, columns=["query", "score", "gradient"])


@torch.no_grad()
def _losses(sample: _Sample) -> Array:
    losses = [float(sample.weights.losses({}, batch).sum()) for batch in sample.asked]
    return np.array(losses)


@torch.no_grad()
def _restore(parameters: Sequence[Tensor], before: Sequence[Tensor], flags: Sequence[bool]) -> None:
    for parameter, value, flag in zip(parameters, before, flags, strict=True):
        parameter.copy_(value)
        parameter.requires_grad_(flag)
        parameter.grad = None


def _pearson(a_D: Array, b_D: Array) -> float:
    constant = a_D.std() == 0 or b_D.std() == 0
    return float("nan") if constant else float(np.corrcoef(a_D, b_D)[0, 1])


def _verdicts(made: dict[str, pd.DataFrame], sample: _Sample, config: CheckConfig) -> pd.DataFrame:
    solved, converged, learned = made["solved"], made["converged"], made["learned"]
    documents, queries = len(sample.columns), len(sample.queries)
    about = f"{queries} queries and {documents} documents"
    worst, reached = float(solved["residual"].max()), 1.01 * config.residual  # rounding of the last step
    rows = [
        (
            CONVERGED,
            float(converged["r"].mean()),
            f"R of scores with factors of half the documents {converged['r'].mean():.3f} (mean; least "
            f"{converged['r'].min():.3f}), over {about}",
        ),
        (
            SOLVED,
            float(solved["r"].mean()),
            f"R with conjugate gradients on the exact Gauss–Newton matrix of these documents {solved['r'].mean():.2f} "
            f"(mean; least {solved['r'].min():.2f}), over {about}; residual at most {worst:.2g} after at most "
            f"{solved['steps'].max()} steps"
            + (f", more than the {config.residual:g} that was asked for" if worst > reached else ""),
        ),
        (
            LEARNED,
            float(learned["score"].mean()),
            f"Spearman of the score with the change of log p when {len(sample.learnt)} documents are learnt one by one "
            f"({_STEPS} steps of AdamW): {learned['score'].mean():.2f}; of the gradient dot product "
            f"{learned['gradient'].mean():.2f}",
        ),
    ]
    states = {name: HOLDS if value >= AGREES[name] else FAILS for name, value, _ in rows}
    if worst > reached:
        states[SOLVED] = UNCHECKED
    return pd.DataFrame(
        [(name, states[name], why) for name, _, why in rows], columns=["check", "state", "why"]
    )
