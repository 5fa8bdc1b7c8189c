"""Which documents to leave out for a group of queries: the arbiter's list.

Documents are ranked by the sum over the group's queries of their standardised scores, `(score − mean) / sd` over the
corpus: every query counts the same, and a document that matters much to one query of many is not lost among ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from influence.errors import InputError
from influence.store.scores import Scores, lowest
from influence.types import Query
from reports.miniworld.ground_truth import Truth, gold_of_facts, gold_of_procedure
from reports.miniworld.methods import Row

#: Facts that the model stated itself, the best reasoning task, and true statements of facts whatever it would say.
GROUPS = ("factual", "reasoning", "told")
TOLD = "told"
#: Stands for the models that saw every document.
UNDISTURBED = "undisturbed"
RANDOM = "random"
#: What may rank the documents to leave out -> its name in `methods.METHODS`; None: no scores.
METHODS: Mapping[str, str | None] = {
    "influence": "influence, normed",
    "influence, dot": "influence, dot",
    "gradient dot product": "gradient dot product",
    "gradient cosine": "gradient cosine",
    "BM25": "BM25",
    RANDOM: None,
    "gold": None,
}


def removal_group(queries: Sequence[Query], group: str) -> list[Query]:
    """The queries of a group: factual, told, or those of the best reasoning task, which come first in the query set.

    Those that the model answered right, for only their completions can be unlearned; all of them where fewer than two
    are right, and all that are told.
    """
    if group == TOLD:
        return list(queries)
    own = [query for query in queries if query.group == group]
    own = [query for query in own if query.task == own[0].task]
    right = [query for query in own if query.correct]
    return right if len(right) > 1 else own


def describe_group(queries: Sequence[Query]) -> str:
    """Whose completions these are: "right ones" or "all" of the model's own, or "true statements"."""
    if queries[0].task == TOLD:
        return "true statements"
    return "right ones" if all(query.correct for query in queries) else "all"


def group_scores(row_of: Row, queries: Sequence[Query]) -> npt.NDArray[np.float64]:
    """Sum over the queries of `(score − mean) / sd`, `[D]`; a query whose scores are all equal adds nothing."""
    total_D: npt.NDArray[np.float64] | None = None
    for query in queries:
        row_D = np.asarray(row_of(query.id), np.float64)
        sd = row_D.std()
        own_D = (row_D - row_D.mean()) / sd if sd > 0 else np.zeros_like(row_D)
        total_D = own_D if total_D is None else total_D + own_D
    if total_D is None:
        raise InputError("There are no queries to leave documents out for.")
    return total_D


def first_columns(score_D: npt.NDArray[np.floating], k: int) -> list[int]:
    """Columns of the `k` highest scores, the highest first; of equal ones the earlier document."""
    columns: list[int] = (len(score_D) - 1 - lowest(-score_D[::-1], k)).tolist()
    return columns


def columns_to_drop(
    method: str,
    queries: Sequence[Query],
    scores: Scores,
    truth: Truth,
    rows: Mapping[str, Row],
    k: int,
    seed: int,
) -> list[int]:
    """The documents to leave out by one of `METHODS`: `k`, or fewer where fewer are gold.

    Gold documents of factual queries state a fact they ask for; of reasoning queries they show the procedure, those
    that write out most of the queries' steps first.

    Raises:
        InputError: There is no such method.
    """
    if method not in METHODS:
        raise InputError(
            f"There is no way {method!r} to rank documents.", fix=f"Known are {', '.join(METHODS)}."
        )
    if method == RANDOM:
        chosen = np.random.default_rng(seed).choice(len(scores.documents), k, replace=False)
        return sorted(chosen.tolist())
    if method == "gold":
        factual = queries[0].group == "factual"
        return (gold_of_facts(scores, queries) if factual else gold_of_procedure(truth, queries))[:k]
    name = METHODS[method]
    assert name is not None
    return first_columns(group_scores(rows[name], queries), k)
