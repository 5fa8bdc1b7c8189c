"""Documents of a task by kind: does influence lean on those that show the answer, or on those that show the procedure?

For corpora of `influence corpus task`, whose documents say what they are: their source is their kind, their metadata
have the answer they show and the queries they are about. The kinds of any other corpus are its sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import finite_row, matching_metadata, source_codes
from influence.analysis.grouping import Grouping, bootstrap_means, group_rows, mean_interval, summarise
from influence.store.checkpoints import Checkpoints
from influence.store.scores import Scores
from influence.types import Reading

FULL, ANSWER = "full chain", "answer only"
#: Kinds of documents about one query.
OPERANDS, PARTIAL = "same operands", "shared partial result"
#: Form of a document -> its kind for the queries that it is not about.
_OF_FORM = {"full": FULL, "answer": ANSWER}

#: measure -> what it compares, as P(first ranks above second); 0.5 is no preference.
MEASURES = {
    "procedure over answer": "whole chain with another answer, over no chain with the same answer",
    "procedure": "whole chain over no chain, at the same answer or at another",
    "answer": "the same answer over another, with a whole chain or none",
    "operands": "the query's operands over other ones, at like answer and form",
    "partial results": "most of the query's partial results over others, at another answer and the same form",
}
TOP = 50
_MOST_ORDERS = 5040

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Kinds:
    """What the documents of a run are.

    Attributes:
        names: Of the kinds.
        code_D: Number of the kind of each document.
        about: Query id -> columns of the documents that are about it.
        elsewhere: Column of a document about a query -> its kind for all others.
        answer_D: The answer a document shows; None where it says nothing.
        full_D, answer_only_D: Documents about any query or none that show the whole chain, or none of it.
    """

    names: list[str]
    code_D: npt.NDArray[np.int16]
    about: dict[str, list[int]]
    elsewhere: dict[int, int]
    answer_D: npt.NDArray[np.object_]
    full_D: Bools
    answer_only_D: Bools

    def row(self, query: str) -> npt.NDArray[np.int16]:
        """Kinds as seen from a query: a document about another one is what its form makes it."""
        code_D = self.code_D.copy()
        own = set(self.about.get(query, ()))
        for column, code in self.elsewhere.items():
            if column not in own:
                code_D[column] = code
        return code_D


def kinds_of(scores: Scores) -> Kinds:
    """The kinds of a run's documents."""
    names, code_D = source_codes(scores)
    about: dict[str, list[int]] = {}
    elsewhere: dict[int, int] = {}
    answer_D = np.full(len(code_D), None, object)
    full_D, answer_only_D = np.zeros((2, len(code_D)), bool)
    code_of = {name: code for code, name in enumerate(names)}
    shown = [code_of[name] for name in (FULL, ANSWER, OPERANDS, PARTIAL) if name in code_of]
    for column, _, record in matching_metadata(scores, "form"):
        answer_D[column] = record.get("answer")
        if int(code_D[column]) in shown:
            full_D[column] = record["form"] == "full"
            answer_only_D[column] = record["form"] == "answer"
        for query in record.get("queries", ()):
            about.setdefault(query, []).append(column)
        kind = _OF_FORM.get(record["form"])
        if record.get("queries") and kind in code_of:
            elsewhere[column] = code_of[kind]
    return Kinds(names, code_D, about, elsewhere, answer_D, full_D, answer_only_D)


def kind_mix(
    scores: Scores, by: Reading = "normed", k: int = TOP, group_by: Grouping = "task"
) -> pd.DataFrame:
    """Share of each kind in the top `k` and in the positive influence per nat, against its share of the corpus.

    Returns:
        A row a label, measure ("top K" | "positive influence") and kind: label, measure, kind, share, low, high (95 %
        bootstrap over queries), corpus_share, gradient_norm (mean over documents: what little is left to learn from
        weighs little in a sum), n (queries).

    Raises:
        ComputeError: a score is not finite.
    """
    kinds = kinds_of(scores)
    n = len(kinds.names)
    k = min(k, scores.documents_scored)
    of_corpus, of_top, of_positive = np.zeros((3, len(scores.queries), n))
    norm_D = np.nan_to_num(np.asarray(scores.gradient_norm, np.float64))
    size = np.bincount(kinds.code_D, norm_D, n) / np.bincount(kinds.code_D, minlength=n)
    for row, query in enumerate(scores.queries):
        code_D = kinds.row(query.id)
        of_corpus[row] = np.bincount(code_D, minlength=n) / len(code_D)
        of_top[row] = np.bincount(code_D[scores.ranking(query.id, k, by)], minlength=n) / k
        gain_D = np.maximum(np.nan_to_num(finite_row(scores, query.id, "per_nat")), 0)
        whole = gain_D.sum(dtype=np.float64)
        of_positive[row] = np.bincount(code_D, gain_D, n) / whole if whole else np.nan
    rows = []
    for label, members in group_rows(scores.queries, group_by).items():
        for measure, share in ((f"top {k}", of_top), ("positive influence", of_positive)):
            for code, kind in enumerate(kinds.names):
                made = mean_interval(share[members, code])
                base = float(of_corpus[members, code].mean())
                share_of = (made["mean"], made["low"], made["high"], base, float(size[code]))
                rows.append((label, measure, kind, *share_of, made["n"]))
    columns = ["label", "measure", "kind", "share", "low", "high", "corpus_share", "gradient_norm", "n"]
    return pd.DataFrame(rows, columns=columns)


def contrasts(scores: Scores, by: Reading = "normed") -> pd.DataFrame:
    """What the ranking of each query prefers: probabilities that a document of one set ranks above one of another.

    Returns:
        Columns query, measure (see `MEASURES`), value (0 to 1, 0.5: no preference; NaN where a set is empty). Empty
        where no document says what it shows.

    Raises:
        ComputeError: a score is not finite.
    """
    kinds = kinds_of(scores)
    if not (kinds.full_D.any() and kinds.answer_only_D.any()):
        return pd.DataFrame(columns=["query", "measure", "value"])
    rows = []
    for query in scores.queries:
        value_D = finite_row(scores, query.id, by)
        for measure, value in _of_query(value_D, kinds, query.id, query.answer):
            rows.append((query.id, measure, value))
    return pd.DataFrame(rows, columns=["query", "measure", "value"])


def _of_query(
    value_D: npt.NDArray[np.floating], kinds: Kinds, query: str, answer: str
) -> Iterator[tuple[str, float]]:
    same_D = kinds.answer_D == answer
    code_D, name = kinds.row(query), {kind: code for code, kind in enumerate(kinds.names)}
    full_D, none_D = (code_D == name.get(kind, -1) for kind in (FULL, ANSWER))

    def above(first_D: Bools, second_D: Bools) -> float:
        return superiority(value_D[first_D], value_D[second_D])

    yield "procedure over answer", above(full_D & ~same_D, none_D & same_D)
    yield "procedure", _mean(above(full_D & at, none_D & at) for at in (same_D, ~same_D))
    yield "answer", _mean(above(form & same_D, form & ~same_D) for form in (full_D, none_D))
    about_D = np.zeros(len(value_D), bool)
    about_D[kinds.about.get(query, [])] = True
    forms = ((kinds.full_D, full_D), (kinds.answer_only_D, none_D))
    for measure, kind in (("operands", OPERANDS), ("partial results", PARTIAL)):
        own_D = about_D & (code_D == name.get(kind, -1))
        alike = ((shown & at, other & at) for shown, other in forms for at in (same_D, ~same_D))
        yield measure, _mean(above(own_D & shown, other) for shown, other in alike)


def superiority(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float:
    """P(a value of the first is above one of the second), ties counting half: the area under the ROC curve."""
    if not len(first) or not len(second):
        return float("nan")
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, "left") + np.searchsorted(ordered, first, "right")
    return float(below.mean() / (2 * len(second)))


def _mean(values: Iterator[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def checkpoint_kinds(
    checkpoints: Checkpoints, by: Reading = "normed", k: int = TOP, group_by: Grouping = "task"
) -> pd.DataFrame:
    """`kind_mix` at each checkpoint, with its name in the first column `stage`."""
    parts = [kind_mix(scores, by, k, group_by).assign(stage=name) for name, scores in checkpoints]
    table = pd.concat(parts, ignore_index=True)
    return table[["stage", *table.columns[:-1]]]


def checkpoint_contrasts(checkpoints: Checkpoints, by: Reading = "normed") -> pd.DataFrame:
    """`contrasts` at each checkpoint: stage, query, measure, value."""
    parts = [contrasts(scores, by).assign(stage=name) for name, scores in checkpoints]
    return pd.concat(parts, ignore_index=True)[["stage", "query", "measure", "value"]]


def contrasts_by_group(
    table: pd.DataFrame, checkpoints: Checkpoints, group_by: Grouping = "task"
) -> pd.DataFrame:
    """Mean over the queries of each label: label, stage, measure, n, mean, sd, low, high (95 % bootstrap)."""
    return summarise(table, checkpoints[0][1].queries, "value", ["stage", "measure"], group_by)


def contrast_trends(
    table: pd.DataFrame, checkpoints: Checkpoints, group_by: Grouping = "task", seed: int = 0
) -> pd.DataFrame:
    """How each contrast changes from checkpoint to checkpoint, against the same checkpoints in shuffled order.

    The change is the slope of a line through a query's values, averaged over queries. All orders are tried where there
    are at most 5,040, else as many drawn ones.

    Returns:
        One row per label and measure: label, measure, slope (per checkpoint), low, high (95 % bootstrap over queries),
        change (last less first checkpoint), change_low, change_high, shuffled_low, shuffled_high (95 % of the slopes of
        shuffled orders), p (share of the orders with a slope as large, of either sign), orders, n. Empty with one
        checkpoint.
    """
    names = [name for name, _ in checkpoints]
    columns = ["label", "measure", "slope", "low", "high", "change", "change_low", "change_high"]
    columns += ["shuffled_low", "shuffled_high", "p", "orders", "n"]
    rows = []
    orders = _orders(len(names), seed)
    for label, members in group_rows(checkpoints[0][1].queries, group_by).items():
        ids = [checkpoints[0][1].queries[row].id for row in members]
        for measure in dict.fromkeys(table["measure"]) if len(names) > 1 else ():
            own = table[table["measure"] == measure].pivot(index="query", columns="stage", values="value")
            value_QS = own.reindex(ids)[names].to_numpy(float)
            value_QS = value_QS[~np.isnan(value_QS).any(1)]
            if len(value_QS):
                rows.append((label, measure, *_trend(value_QS, orders), len(orders), len(value_QS)))
    return pd.DataFrame(rows, columns=columns)


def _trend(value_QS: npt.NDArray[np.float64], orders: npt.NDArray[np.int64]) -> tuple[float, ...]:
    n = value_QS.shape[1]
    place_S = np.arange(n) - (n - 1) / 2
    weight_S = place_S / np.square(place_S).sum()
    slope_Q = value_QS @ weight_S
    change_Q = value_QS[:, -1] - value_QS[:, 0]
    ends = [np.percentile(bootstrap_means(one), [2.5, 97.5]) for one in (slope_Q, change_Q)]
    slope, change = float(slope_Q.mean()), float(change_Q.mean())
    shuffled_P = value_QS.mean(0)[orders] @ weight_S
    low, high = np.percentile(shuffled_P, [2.5, 97.5])
    p = float((np.abs(shuffled_P) >= abs(slope) - 1e-12).mean())
    return slope, *map(float, ends[0]), change, *map(float, ends[1]), float(low), float(high), p


def _orders(n: int, seed: int) -> npt.NDArray[np.int64]:
    if factorial(n) <= _MOST_ORDERS:
        return np.array(list(permutations(range(n))), np.int64)
    rng = np.random.default_rng(seed)
    return np.array([range(n), *(rng.permutation(n) for _ in range(_MOST_ORDERS - 1))], np.int64)
