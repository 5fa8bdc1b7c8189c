"""Do two queries draw on the same documents? Pearson R between their scores over all documents.

Finding 1 of Ruis et al. (arXiv 2411.12580): queries of one procedure correlate, factual queries do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from influence.errors import ComputeError, InputError
from influence.store.scores import Scores
from influence.types import Query, Reading

if TYPE_CHECKING:
    import pandas as pd

#: Numbers of a block held in float64 at a time (16 MB each for the block and its copy).
BLOCK_NUMBERS = 2**21

_GROUPS = ("reasoning", "factual", "control")


#: Which scores count: all, or only those of one sign, the others taken as 0.
Part = Literal["all", "positive", "negative"]


def correlation(scores: Scores, by: Reading = "normed", part: Part = "all") -> pd.DataFrame:
    """Pearson R between the score rows of every pair of queries, over all documents that were scored.

    Two passes in column blocks over the memory-mapped matrix, in float64: memory does not grow with documents.
    `per_nat` divides a row by a positive number, so its R is that of `dot`.

    Args:
        part: "positive" correlates max(score, 0), "negative" min(score, 0).

    Returns:
        `[Q, Q]`, rows and columns named by query id. NaN where R is not defined: a query whose scores are all
        equal, or fewer than two documents.

    Raises:
        InputError: there is no such reading or part.
        ComputeError: a score is not finite.
    """
    import pandas as pd

    if part not in ("all", "positive", "negative"):
        raise InputError(f"There is no part {part!r} of the scores.", fix="Use all, positive or negative.")
    if by not in ("dot", "per_nat", "normed"):
        raise InputError(f"There is no reading {by!r} of a score.", fix="Use dot, per_nat or normed.")
    n_queries, n_documents = len(scores.queries), scores.documents_scored
    low_Q = np.full(n_queries, np.inf)
    high_Q = np.full(n_queries, -np.inf)
    sum_Q = np.zeros(n_queries)
    for block_QD in _blocks(scores, by, part):
        low_Q = np.minimum(low_Q, block_QD.min(axis=1))
        high_Q = np.maximum(high_Q, block_QD.max(axis=1))
        sum_Q += block_QD.sum(axis=1)
    _check_finite(scores, low_Q, high_Q)
    varies_Q = high_Q > low_Q
    # Scaled to at most 1, so that squares neither overflow nor vanish.
    scale_Q = np.where(varies_Q, np.maximum(np.abs(low_Q), np.abs(high_Q)), 1.0)
    mean_Q = sum_Q / max(n_documents, 1)
    products_QQ = np.zeros((n_queries, n_queries))
    for block_QD in _blocks(scores, by, part):
        centred_QD = (block_QD - mean_Q[:, None]) / scale_Q[:, None]
        products_QQ += centred_QD @ centred_QD.T
    variance_Q = np.where(varies_Q, np.diag(products_QQ), np.nan)
    r_QQ = products_QQ / np.sqrt(variance_Q[:, None] * variance_Q[None, :])
    r_QQ = np.clip((r_QQ + r_QQ.T) / 2, -1.0, 1.0)
    np.fill_diagonal(r_QQ, np.where(varies_Q, 1.0, np.nan))
    ids = [query.id for query in scores.queries]
    return pd.DataFrame(r_QQ, index=ids, columns=ids)


def _blocks(scores: Scores, by: Reading, part: Part) -> Iterator[npt.NDArray[np.float64]]:
    """Column blocks `[Q, C]` of a part of a reading in float64 (`per_nat` as `dot`)."""
    dot_QD = scores.dot
    n_queries, n_documents = dot_QD.shape
    width = max(1, BLOCK_NUMBERS // max(n_queries, 1))
    for start in range(0, n_documents, width):
        block_QC = np.asarray(dot_QD[:, start : start + width], np.float64)
        if by == "normed":
            norm_C = np.asarray(scores.gradient_norm[start : start + width], np.float64)
            block_QC = np.divide(block_QC, norm_C, out=np.zeros_like(block_QC), where=norm_C != 0)
        if scores.scored is not None:
            block_QC = block_QC[:, scores.scored[start : start + width]]
            if not block_QC.size:
                continue
        if part == "positive":
            block_QC = np.maximum(block_QC, 0.0)
        elif part == "negative":
            block_QC = np.minimum(block_QC, 0.0)
        yield block_QC


def _check_finite(scores: Scores, low_Q: npt.NDArray[np.float64], high_Q: npt.NDArray[np.float64]) -> None:
    if scores.dot.shape[1] == 0:
        return
    bad = np.flatnonzero(~(np.isfinite(low_Q) & np.isfinite(high_Q)))
    if len(bad):
        raise ComputeError(
            f"Scores of query {scores.queries[bad[0]].id!r} in {scores.folder} are not finite.",
            have=f"{len(bad)} of {len(low_Q)} queries with NaN or infinite scores",
            fix="Score again, with the model in float32.",
        )


def task_labels(queries: Sequence[Query]) -> list[str]:
    """What a query is filed under: its task, and its group too where one task stands in several groups."""
    groups: dict[str, set[str]] = {}
    for query in queries:
        groups.setdefault(query.task, set()).add(query.group)
    return [q.task if len(groups[q.task]) == 1 else f"{q.task} ({q.group})" for q in queries]


def task_order(queries: Sequence[Query]) -> list[int]:
    """Rows sorted by group (reasoning, factual, control, others as first seen), then task, then file order."""
    labels = task_labels(queries)
    seen = {label: n for n, label in reversed(list(enumerate(labels)))}
    names = dict.fromkeys((*_GROUPS, *(query.group for query in queries)))
    group = {name: n for n, name in enumerate(names)}
    return sorted(range(len(queries)), key=lambda row: (group[queries[row].group], seen[labels[row]], row))


def group_means(r: pd.DataFrame, queries: Sequence[Query]) -> pd.DataFrame:
    """Mean off-diagonal R for each pair of task labels.

    Args:
        r: Result of `correlation`, rows in the order of `queries`.

    Returns:
        `[tasks, tasks]`, in `task_order`; NaN where no pair of queries has a defined R.
    """
    import pandas as pd

    r_QQ = r.to_numpy(float, copy=True)
    np.fill_diagonal(r_QQ, np.nan)
    labels = np.array(task_labels(queries), object)
    tasks = list(dict.fromkeys(labels[task_order(queries)]))
    means = pd.DataFrame(np.nan, index=tasks, columns=tasks)
    for a in tasks:
        for b in tasks:
            pairs = r_QQ[np.ix_(labels == a, labels == b)]
            pairs = pairs[~np.isnan(pairs)]
            if pairs.size:
                means.loc[a, b] = pairs.mean()
    return means
