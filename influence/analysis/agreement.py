"""How alike two rows of scores are: R, overlap of the top documents, and the size of the scores of two runs.

Influence of two models, or of two checkpoints, need not be of one size: curvature and gradients change. Ranks and R do
not see that; the ratio of scores does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import finite_row, same_documents
from influence.analysis.grouping import mean_interval
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Reading

#: Edges of the bins of log2 |b / a|; what lies beyond is counted in the two outer bins.
EDGES = tuple(np.arange(-8, 8.25, 0.5).tolist())
#: Documents read of a row at a time.
BLOCK = 2**20


def shared_prompts(a: Scores, b: Scores) -> list[tuple[str, str]]:
    """Ids `(in a, in b)` of the queries whose prompt stands once in both."""
    sides: list[dict[str, list[str]]] = [{}, {}]
    for scores, ids in zip((a, b), sides, strict=True):
        for query in scores.queries:
            ids.setdefault(query.prompt, []).append(query.id)
    once = [{prompt: ids[0] for prompt, ids in side.items() if len(ids) == 1} for side in sides]
    return [(name, once[1][prompt]) for prompt, name in once[0].items() if prompt in once[1]]


def score_ratios(
    a: Scores, b: Scores, pairs: Sequence[tuple[str, str]] | None = None, by: Reading = "normed"
) -> pd.DataFrame:
    """Histogram of log2 |score in b / score in a| over the documents of the same queries, for each group.

    Two rows of the matrix are in memory at a time.

    Args:
        pairs: Ids of a query in `a` and in `b`; by default those of the same prompt.

    Returns:
        A row a group (of `a`), agreement ("same sign" | "opposite signs") and bin: group, signs, low, high (edges in
        log2, −inf and inf at the ends), scores (pairs of scores in it), share (of the group's pairs of scores that
        are not 0 in either run), queries, left_out (pairs of scores of the group with a 0).

    Raises:
        InputError: the runs scored different documents, or share no prompt.
        ComputeError: a score is not finite.
    """
    if not same_documents(a, b):
        raise InputError(f"{a.folder} and {b.folder} did not score the same documents in the same order.")
    pairs = shared_prompts(a, b) if pairs is None else list(pairs)
    if not pairs:
        raise InputError(f"No prompt stands once in both {a.folder} and {b.folder}.")
    edges = np.array([-np.inf, *EDGES, np.inf])
    group_of: dict[str, str] = {query.id: query.group for query in a.queries}
    counts: dict[str, npt.NDArray[np.int64]] = {}
    zeros: dict[str, int] = {}
    queries: dict[str, int] = {}
    for name_a, name_b in pairs:
        group = group_of[name_a]
        group_counts = counts.setdefault(group, np.zeros((2, len(edges) - 1), np.int64))
        queries[group] = queries.get(group, 0) + 1
        for x, y in _blocks(finite_row(a, name_a, by), finite_row(b, name_b, by)):
            there = (x != 0) & (y != 0)
            x, y = x[there], y[there]
            zeros[group] = zeros.get(group, 0) + int((~there).sum())
            bins = np.searchsorted(edges, np.log2(np.abs(y)) - np.log2(np.abs(x)), side="right") - 1
            opposite = (x > 0) != (y > 0)
            for sign in (0, 1):
                group_counts[sign] += np.bincount(bins[opposite == bool(sign)], minlength=len(edges) - 1)
    rows = []
    for group, group_counts in counts.items():
        total = max(int(group_counts.sum()), 1)
        for sign, signs in enumerate(("same sign", "opposite signs")):
            for place, scores in enumerate(group_counts[sign].tolist()):
                ends = (edges[place], edges[place + 1])
                rows.append((group, signs, *ends, scores, scores / total, queries[group], zeros[group]))
    columns = ["group", "signs", "low", "high", "scores", "share", "queries", "left_out"]
    return pd.DataFrame(rows, columns=columns)


def _blocks(
    x_D: npt.NDArray[np.floating], y_D: npt.NDArray[np.floating]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    for start in range(0, len(x_D), BLOCK):
        block = slice(start, start + BLOCK)
        x, y = np.asarray(x_D[block], np.float64), np.asarray(y_D[block], np.float64)
        scored = ~(np.isnan(x) | np.isnan(y))
        yield x[scored], y[scored]


def cross_correlation(a: Scores, b: Scores, by: Reading = "normed") -> pd.DataFrame:
    """R over the documents between the scores of equal prompts in two runs, such as of two models.

    Returns:
        A row a prompt that stands in both: query_a, query_b, task, r (NaN if either does not vary).

    Raises:
        InputError: the runs scored different documents, share no prompt, or a prompt stands twice in one of them.
    """
    if not same_documents(a, b):
        raise InputError(
            f"{a.folder} and {b.folder} did not score the same documents in the same order.",
            have=f"{len(a.documents):,} and {len(b.documents):,} documents",
            fix="Score both on one corpus, with a shared tokenizer or --max-length that keeps the same documents.",
        )
    pair_of = [{query.prompt: query for query in scores.queries} for scores in (a, b)]
    for scores, pairs in zip((a, b), pair_of, strict=True):
        if len(pairs) < len(scores.queries):
            raise InputError(f"A prompt stands twice in {scores.folder}: pairs would be ambiguous.")
    rows = [
        (
            query.id,
            pair_of[1][prompt].id,
            query.task,
            pearson(finite_row(a, query.id, by), finite_row(b, pair_of[1][prompt].id, by)),
        )
        for prompt, query in pair_of[0].items()
        if prompt in pair_of[1]
    ]
    if not rows:
        raise InputError(f"No prompt stands in both {a.folder} and {b.folder}.")
    return pd.DataFrame(rows, columns=["query_a", "query_b", "task", "r"])


def cross_summary(cross: pd.DataFrame) -> pd.DataFrame:
    """Mean R of equal prompts for each task: task, n, mean, sd, low, high."""
    rows = [{"task": task, **mean_interval(part["r"])} for task, part in cross.groupby("task", sort=False)]
    return pd.DataFrame(rows, columns=["task", "n", "mean", "sd", "low", "high"])


PERSISTENCE = 0.98


def overlap(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], k: int) -> float:
    """Part of the first k of one ranking that is among the first k of the other."""
    k = min(k, len(a), len(b))
    return len(np.intersect1d(a[:k], b[:k], assume_unique=True)) / k if k else float("nan")


def rank_biased_overlap(
    a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], persistence: float = PERSISTENCE
) -> float:
    """RBO_ext of two rankings without ties, cut at their common depth k (Webber, Moffat, Zobel 2010):

        (X_k / k) p^k + (1 − p) / p · Σ_{d ≤ k} (X_d / d) p^d

    with X_d the number of documents that both have among their first d. 1 for equal rankings, 0 for disjoint ones.
    """
    k = min(len(a), len(b))
    if k == 0:
        return float("nan")
    _, at_a, at_b = np.intersect1d(a[:k], b[:k], assume_unique=True, return_indices=True)
    shared = np.bincount(np.maximum(at_a, at_b), minlength=k).cumsum()
    depth = np.arange(1, k + 1)
    weight = persistence**depth
    agreement = shared / depth
    return float(agreement[-1] * weight[-1] + (1 - persistence) / persistence * (agreement @ weight))


def pearson(x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]) -> float:
    """Pearson R of two rows where both are known (not NaN), in float64; NaN if either does not vary."""
    unknown = np.isnan(x) | np.isnan(y)
    if unknown.any():
        x, y = x[~unknown], y[~unknown]
    if not len(x) or x.min() == x.max() or y.min() == y.max():
        return float("nan")
    u, v = (_scaled(z) for z in (x, y))
    return float(np.clip(u @ v / np.sqrt((u @ u) * (v @ v)), -1.0, 1.0))


def _scaled(x: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    centred = x - np.mean(x, dtype=np.float64)
    return np.asarray(centred / np.abs(centred).max(), np.float64)
