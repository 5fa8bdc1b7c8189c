"""The same queries and documents scored against several checkpoints: what changes along a training run?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from influence.analysis.agreement import PERSISTENCE, overlap, pearson, rank_biased_overlap
from influence.analysis.concentration import concentration, power_law
from influence.analysis.correlation import correlation, within_means
from influence.analysis.documents import finite_row, ranks, same_documents, with_labels
from influence.analysis.grouping import Grouping, group_rows, mean_interval, summarise
from influence.analysis.sources import source_curves
from influence.errors import InputError
from influence.store.checkpoints import Checkpoints
from influence.store.scores import Scores
from influence.types import Reading

KS = (10, 100, 500)


def check_comparable(checkpoints: Checkpoints) -> None:
    """Refuse checkpoints that cannot be compared.

    Raises:
        InputError: fewer than two checkpoints, a name stands twice, or queries (id, prompt, task, group) or documents
            differ.
    """
    if len(checkpoints) < 2:
        raise InputError(
            "Checkpoints need at least two runs.",
            have=str(len(checkpoints)),
            fix="Score two checkpoints or more.",
        )
    names = [name for name, _ in checkpoints]
    if len(set(names)) < len(names):
        raise InputError(
            "Two checkpoints have one name.", have=", ".join(names), fix="Name each run: early=RUN late=RUN"
        )
    first_name, first = checkpoints[0]
    asked = _asked(first)
    for name, scores in checkpoints[1:]:
        if _asked(scores) != asked:
            raise InputError(
                f"Checkpoints {first_name} and {name} have different queries.",
                have=f"{len(asked)} and {len(scores.queries)} queries"
                + (" of other ids, prompts, tasks or groups" * (len(asked) == len(scores.queries))),
                fix="Score one query set at each checkpoint; only completions, and whether they are right, may differ.",
            )
        if not same_documents(first, scores):
            raise InputError(
                f"Checkpoints {first_name} and {name} scored different documents.",
                have=f"{len(first.documents):,} and {len(scores.documents):,} documents"
                + (" in another order, or of other ids" * (len(first.documents) == len(scores.documents))),
                fix="Score each checkpoint on one corpus, with what keeps the same documents (--max-length).",
            )


def _asked(scores: Scores) -> dict[str, tuple[str, str, str]]:
    return {query.id: (query.prompt, query.task, query.group) for query in scores.queries}


def checkpoint_agreement(
    checkpoints: Checkpoints, by: Reading = "normed", ks: Sequence[int] = KS, persistence: float = PERSISTENCE
) -> pd.DataFrame:
    """How alike each query's scores are at different checkpoints.

    Two rows of the matrix are in memory at a time.

    Returns:
        A row a query and pair of checkpoints, earlier first: query, a, b, versus ("first" | "previous" | "both" |
        "other": what `a` is to `b`), r (Pearson over all documents), overlap@k (shared part of the two top k, 0 to 1),
        rbo (rank-biased overlap of the top max(ks), extrapolated).
    """
    check_comparable(checkpoints)
    rows = []
    for query in checkpoints[0][1].queries:
        depth = max(ks)
        for _, scores in checkpoints:
            finite_row(scores, query.id, by)
        tops = [scores.ranking(query.id, depth, by) for _, scores in checkpoints]
        for later in range(1, len(checkpoints)):
            own = finite_row(checkpoints[later][1], query.id, by)
            for earlier in range(later):
                r = pearson(finite_row(checkpoints[earlier][1], query.id, by), own)
                shared = [overlap(tops[earlier], tops[later], k) for k in ks]
                rbo = rank_biased_overlap(tops[earlier], tops[later], persistence)
                names = (checkpoints[earlier][0], checkpoints[later][0])
                rows.append((query.id, *names, _versus(earlier, later), r, *shared, rbo))
    columns = ["query", "a", "b", "versus", "r", *(f"overlap@{k}" for k in ks), "rbo"]
    return pd.DataFrame(rows, columns=columns)


def _versus(earlier: int, later: int) -> str:
    first, previous = earlier == 0, earlier == later - 1
    return "both" if first and previous else "first" if first else "previous" if previous else "other"


def agreement_by_group(
    agreement: pd.DataFrame, checkpoints: Checkpoints, group_by: Grouping = "task"
) -> pd.DataFrame:
    """Mean over the queries of each label: label, a, b, versus, measure, n, mean, sd, low, high."""
    measures = [name for name in agreement if name not in ("query", "a", "b", "versus")]
    long = agreement.melt(["query", "a", "b", "versus"], measures, "measure", "value")
    return summarise(long, checkpoints[0][1].queries, "value", ["a", "b", "versus", "measure"], group_by)


def checkpoint_facts(checkpoints: Checkpoints, group_by: Grouping = "task") -> pd.DataFrame:
    """Accuracy and −log p of the completions at each stage, as its own query set has them.

    Returns:
        Columns stage, label, queries, marked (queries marked right or wrong), accuracy (of those; NaN where
        none), nats (mean −log p(completion | prompt)).
    """
    rows = []
    for name, scores in checkpoints:
        for label, members in group_rows(scores.queries, group_by).items():
            marks = [scores.queries[row].correct for row in members]
            known = [float(mark) for mark in marks if mark is not None]
            accuracy = float(np.mean(known)) if known else np.nan
            nats = float(np.mean(scores.query_nll[members], dtype=np.float64))
            rows.append((name, label, len(members), len(known), accuracy, nats))
    return pd.DataFrame(rows, columns=["stage", "label", "queries", "marked", "accuracy", "nats"])


def checkpoint_within(
    checkpoints: Checkpoints, by: Reading = "normed", group_by: Grouping = "task"
) -> pd.DataFrame:
    """Do the queries of a label draw on the same documents, at each checkpoint? Mean off-diagonal Pearson R among them.

    Returns:
        Columns stage, label, pairs (with a defined R), mean, low, high (95 % bootstrap over queries). NaN where a label
        has no pair.
    """
    parts = []
    for name, scores in checkpoints:
        part = within_means(correlation(scores, by), scores.queries, group_by)
        part.insert(0, "stage", name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def checkpoint_concentration(
    checkpoints: Checkpoints, by: Reading = "per_nat", group_by: Grouping = "task"
) -> pd.DataFrame:
    """`concentration` at each stage, averaged over labels: stage, label, side, unit, at, n, mean, sd, low, high."""
    return _by_checkpoint(checkpoints, by, group_by, "cumulative")


def _by_checkpoint(checkpoints: Checkpoints, by: Reading, group_by: Grouping, value: str) -> pd.DataFrame:
    parts = []
    for name, scores in checkpoints:
        part = summarise(concentration(scores, by), scores.queries, value, ["side", "unit", "at"], group_by)
        part.insert(0, "stage", name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def checkpoint_held(
    checkpoints: Checkpoints, by: Reading = "per_nat", group_by: Grouping = "task"
) -> pd.DataFrame:
    """The same of the share of its sign's whole influence that the first documents hold, 0 to 1."""
    return _by_checkpoint(checkpoints, by, group_by, "share")


def checkpoint_slopes(checkpoints: Checkpoints, k: int = 500, group_by: Grouping = "task") -> pd.DataFrame:
    """Power law slopes at each stage, averaged over labels: stage, label, side, n, mean, sd, low, high."""
    parts = []
    for name, scores in checkpoints:
        part = summarise(power_law(scores, k), scores.queries, "slope", ["side"], group_by)
        part.insert(0, "stage", name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def checkpoint_sources(
    checkpoints: Checkpoints,
    by: Reading = "normed",
    ks: Sequence[int] | None = None,
    group_by: Grouping = "task",
) -> pd.DataFrame:
    """`source_curves` at each stage, with the checkpoint's name in the first column `stage`.

    `share` at one k is the mixture of sources among the first k; `low` and `high` are of the multiplier, so times
    `corpus_share` they are the interval of the share.
    """
    parts = []
    for name, scores in checkpoints:
        part = source_curves(scores, by, ks, group_by)
        part.insert(0, "stage", name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


TOP_RANKS = 10


def checkpoint_tops(checkpoints: Checkpoints, by: Reading = "normed", k: int = TOP_RANKS) -> pd.DataFrame:
    """Ranks at every checkpoint of the documents that stand in a query's top `k` at any checkpoint.

    Ranks compare where scores do not: each checkpoint has its own curvature.

    Returns:
        A row a query, document and checkpoint: query, column, document, source, by (the reading), stage, rank (from 1).

    Raises:
        InputError: the checkpoints cannot be compared.
        ComputeError: a score is not finite.
    """
    check_comparable(checkpoints)
    parts = []
    for query in checkpoints[0][1].queries:
        columns = np.unique(np.concatenate([scores.ranking(query.id, k, by) for _, scores in checkpoints]))
        for name, scores in checkpoints:
            rank = ranks(finite_row(scores, query.id, by), columns)
            parts.append(
                pd.DataFrame({"query": query.id, "column": columns, "by": by, "stage": name, "rank": rank})
            )
    return with_labels(pd.concat(parts, ignore_index=True), checkpoints[-1][1])


#: Ends of the ids of the two queries about an input.
ONE, TWO = "-system-1", "-system-2"
TOP_SELVES = 50


def selves(checkpoints: Checkpoints, by: Reading = "normed", k: int = TOP_SELVES) -> pd.DataFrame:
    """How alike the rankings of the same input are, between the first checkpoint's two selves and the last checkpoint.

    Returns:
        A row an input and pair: input, pair ("System 1 and distilled", "System 2 and distilled", "System 1 and
        System 2"), r (Pearson over all documents), overlap (shared part of the top k). Empty where no two queries are
        about one input in both ways, or with one checkpoint.
    """
    first, last = checkpoints[0][1], checkpoints[-1][1]
    known = {query.id for query in first.queries}
    inputs = [one.removesuffix(ONE) for one in sorted(known) if one.endswith(ONE)]
    inputs = [one for one in inputs if one + TWO in known] if len(checkpoints) > 1 else []
    rows = []
    for name in inputs:
        sides = {
            "System 1": (first, name + ONE),
            "System 2": (first, name + TWO),
            "distilled": (last, name + ONE),
        }
        for a, b in (("System 1", "distilled"), ("System 2", "distilled"), ("System 1", "System 2")):
            (own, query), (other, asked) = sides[a], sides[b]
            r = pearson(finite_row(own, query, by), finite_row(other, asked, by))
            shared = overlap(own.ranking(query, k, by), other.ranking(asked, k, by), k)
            rows.append((name, f"{a} and {b}", r, shared))
    return pd.DataFrame(rows, columns=["input", "pair", "r", "overlap"])


def selves_by_pair(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over the inputs: pair, measure ("r" | "overlap"), n, mean, sd, low, high (95 % bootstrap)."""
    rows = [
        {"pair": pair, "measure": measure, **mean_interval(part[measure])}
        for pair, part in table.groupby("pair", sort=False)
        for measure in ("r", "overlap")
    ]
    return pd.DataFrame(rows, columns=["pair", "measure", "n", "mean", "sd", "low", "high"])
