"""Which documents to leave out for a group of queries: the arbiter's list.

Documents are ranked by the sum over the group's queries of their standardised scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from influence.analysis.documents import first_columns, standardised_sum
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Query
from reports.kit.rankings import Row
from reports.miniworld.ground_truth import Truth, gold_of_facts, gold_of_procedure

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
    return first_columns(standardised_sum(rows[name](query.id) for query in queries), k)
