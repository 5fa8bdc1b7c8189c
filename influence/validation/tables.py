"""Tables of what retrainings say: LDS of each method, what removals changed, and the verdict on a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.store.formats.validation import Retrained
from influence.store.scores import Scores
from influence.validation.lds import (
    CEILING,
    RESAMPLES,
    Array,
    Lds,
    best_possible,
    lds_table,
    sums_over,
    without_presence,
)
from influence.validation.methods import BM25, CHANCE, PRESENCE, RowOf, gold_matrix, rows
from influence.validation.retraining import RANDOM

#: What a check says of itself.
HOLDS, FAILS, UNCHECKED = "holds", "does not hold", "not checked"


def lds_rows(
    scores: Scores, found: Sequence[Retrained], methods: Mapping[str, RowOf], reference: str = BM25
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Tables of one share; None where fewer than three subsets were trained with every seed.

    Args:
        reference: The method that the others are compared with, in the columns `over`, `over_low` and `over_high`.
    """
    log_p_of = {(one.number, one.seed): one for one in found}
    seeds = sorted({one.seed for one in found})
    numbers = [
        n for n in sorted({one.number for one in found}) if all((n, seed) in log_p_of for seed in seeds)
    ]
    if len(numbers) < 3:
        return None
    kept = []
    for number in numbers:
        kept_D = np.ones(len(scores.documents), bool)
        kept_D[log_p_of[number, seeds[0]].left_out] = False
        kept.append(kept_D)
    truth_KSQ = np.array([[log_p_of[number, seed].log_p for number in numbers] for seed in seeds])
    queries = len(scores.queries)
    predicted = {name: sums_over(kept, list(rows(row_of, queries))) for name, row_of in methods.items()}
    measured = {"counted": lds_table(truth_KSQ, predicted, reference)}
    if PRESENCE in methods:
        measured["taken out"] = _without_gold(scores, kept, truth_KSQ, predicted, methods, reference)
    share = found[0].share
    about = {"subsets": len(numbers), "queries": queries, "seeds": len(seeds)}
    lds = [
        {"left_out": share, "gold": gold, "method": name, **_columns(one), **about}
        for gold, table in measured.items()
        for name, one in table.items()
    ]
    by_query = [
        {"left_out": share, "gold": gold, "method": name, "query": query.id, "lds": value}
        for gold, table in measured.items()
        for name, one in table.items()
        for query, value in zip(scores.queries, one.by_query.tolist(), strict=True)
    ]
    return pd.DataFrame(lds), pd.DataFrame(by_query)


def _without_gold(
    scores: Scores,
    kept: Sequence[npt.NDArray[np.bool_]],
    truth_KSQ: Array,
    predicted: Mapping[str, Array],
    methods: Mapping[str, RowOf],
    reference: str,
) -> dict[str, Lds]:
    """The same of what the gold documents' presence leaves unexplained, by the scores of the other documents."""
    gold_QD = gold_matrix(scores)
    present_SQ = sums_over(kept, list(gold_QD))
    others = {
        name: predicted[name]
        - sums_over(
            kept, [row * gold_D for row, gold_D in zip(rows(row_of, len(gold_QD)), gold_QD, strict=True)]
        )
        for name, row_of in methods.items()
        if name != PRESENCE
    }
    truth = np.stack([without_presence(truth_SQ, present_SQ) for truth_SQ in truth_KSQ])
    return lds_table(truth, others, reference)


def _columns(one: Lds) -> dict[str, float]:
    over = {"over": one.beside, "over_low": one.beside_low, "over_high": one.beside_high}
    return {"lds": one.value, "low": one.low, "high": one.high, **over}


def removal_rows(found: Sequence[Retrained]) -> pd.DataFrame:
    """What training without the top documents of each method changed, against as many random ones."""
    columns = ["method", "k", "seeds", "change", "low", "high"]
    removed = [one for one in found if one.group != RANDOM]
    by_random = {(len(one.left_out), one.seed): np.array(one.log_p) for one in removed if one.group == CHANCE}
    records = []
    for method, k in sorted({(one.group, len(one.left_out)) for one in removed if one.group != CHANCE}):
        pairs = [
            np.array(one.log_p) - by_random[k, one.seed]
            for one in removed
            if one.group == method and len(one.left_out) == k and (k, one.seed) in by_random
        ]
        if pairs:
            change_Q = np.mean(pairs, axis=0)
            drawn = np.random.default_rng(0).integers(0, len(change_Q), (RESAMPLES, len(change_Q)))
            low, high = np.percentile(change_Q[drawn].mean(1), [2.5, 97.5])
            records.append((method, k, len(pairs), change_Q.mean(), low, high))
    return pd.DataFrame(records, columns=columns)


def verdict(lds: pd.DataFrame, own: str) -> tuple[str, str]:
    """Whether a run's scores predict retraining, and why one says so, by the subsets that leave most out.

    They hold where their LDS is above 0 for sure and that of BM25 is not above theirs for sure.
    """
    share = lds["left_out"].max()
    of_share = lds[(lds["left_out"] == share) & (lds["gold"] == "counted")].set_index("method")
    row, words = of_share.loc[own], of_share.loc[BM25]
    why = (
        f"LDS {row['lds']:.2f} [{row['low']:.2f}, {row['high']:.2f}] over {row['subsets']:.0f} subsets without "
        f"{share:.0%} of the documents and {row['queries']:.0f} queries; BM25 {words['lds']:.2f}"
    )
    if PRESENCE in of_share.index:
        why += f", presence of the gold documents {of_share.loc[PRESENCE, 'lds']:.2f}"
    if CEILING in of_share.index:
        between = float(of_share.loc[CEILING, "lds"])
        why += f"; two seeds agree to {between:.2f}, so at most {best_possible(between):.2f} can be reached"
    beaten = row["over_high"] < 0
    if beaten:
        why += ". BM25 predicts retraining better"
    return (HOLDS if row["low"] > 0 and not beaten else FAILS), why
