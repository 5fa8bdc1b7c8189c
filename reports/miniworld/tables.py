"""Truth and removal over seeds: one row a method, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.kit.claims import verdict
from reports.kit.intervals import Statistic, mean_of, over_seeds
from reports.miniworld.removal import UNDISTURBED

#: The first is expected to hurt more than the second. Published: influence > gradient dot product > random.
ORDER = (
    ("influence", "gradient dot product"),
    ("gradient dot product", "random"),
    ("influence", "random"),
    ("influence", "BM25"),
    ("BM25", "random"),
    ("gold", "random"),
)
#: What queries a row of recall is of -> whose completions.
QUERIES_ARE = {
    "own answers": ("right", "wrong"),
    "answered right": ("right",),
    "answered wrong": ("wrong",),
    "true statements": ("true statement",),
}


def recall_over_seeds(seeds: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Recall and reciprocal rank of gold documents, by whose completion it is and by count.

    Args:
        seeds: Tables of `ground_truth.gold_table`.

    Returns:
        Columns method, measure, queries_are (a key of `QUERIES_ARE`, alone or after "stated N times, "), value, low,
        high, seeds, queries.
    """
    parts: dict[str, Callable[[pd.DataFrame], pd.Series[bool]]] = {}
    for name, completions in QUERIES_ARE.items():
        parts[name] = lambda table, own=completions: table["completion"].isin(own)  # type: ignore[misc]
    for count in sorted({int(count) for table in seeds for count in table["stated"].unique()}):
        times = "stated once" if count == 1 else f"stated {count} times"
        for name, completions in QUERIES_ARE.items():
            parts[f"{times}, {name}"] = lambda table, count=count, own=completions: (  # type: ignore[misc]
                (table["stated"] == count) & table["completion"].isin(own)
            )
    records = []
    for name, chosen in parts.items():
        own = [table[chosen(table)] for table in seeds]
        for method, measure in _pairs(seeds, "method", "measure"):
            values = [_values(t, {"method": method, "measure": measure}, "value") for t in own]
            ours = over_seeds([mean_of(value) for value in values])
            if ours.seeds:
                records.append(
                    {
                        "method": method,
                        "measure": measure,
                        "queries_are": name,
                        **ours.columns(),
                        **ours.counts(),
                    }
                )
    return pd.DataFrame(records, columns=["method", "measure", "queries_are", *_COLUMNS])


def relations_over_seeds(seeds: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """What the top documents of reasoning queries show, against the corpus.

    Args:
        seeds: Tables of `ground_truth.relation_table`.

    Returns:
        Columns method, what, corpus_share (mean over queries and seeds), value (share of the top), low, high, seeds,
        queries, multiplier (value / corpus_share).
    """
    records = []
    for method, what in _pairs(seeds, "method", "what"):
        of = {"method": method, "what": what}
        ours = over_seeds([mean_of(_values(table, of, "share")) for table in seeds])
        corpus = float(np.mean([_values(table, of, "corpus_share").mean() for table in seeds]))
        multiplier = ours.value / corpus if corpus else np.nan
        records.append(
            {
                "method": method,
                "what": what,
                "corpus_share": corpus,
                **ours.columns(),
                **ours.counts(),
                "multiplier": multiplier,
            }
        )
    return pd.DataFrame(records, columns=["method", "what", "corpus_share", *_COLUMNS, "multiplier"])


def removal_over_seeds(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """What leaving documents out does to the group's queries, beyond the undisturbed model of the same seed.

    Args:
        seeds: Records that each retraining left: group, task, method, completions, dropped (for this group),
            dropped_in_all (for every group, by the same retraining), asked (query, nll, right).

    Returns:
        A row a group and method: group, method, completions (of `removal.describe_group`, of each
        seed), dropped and dropped_in_all (documents, mean over seeds), nll (nats a completion, mean),
        nll_change with its low and high, accuracy, accuracy_change with its low and high, seeds, queries.
    """
    records = []
    for group, method in _methods(seeds):
        own = [_of(seed, group, method) for seed in seeds]
        before = [_of(seed, group, UNDISTURBED) for seed in seeds]
        row: dict[str, Any] = {
            "group": group,
            "method": method,
            "completions": ", ".join(dict.fromkeys(record["completions"] for record in own)),
            "dropped": float(np.mean([len(record["dropped"]) for record in own])),
            "dropped_in_all": float(np.mean([record["dropped_in_all"] for record in own])),
        }
        for name, field in (("nll", "nll"), ("accuracy", "right")):
            row[name] = over_seeds([mean_of(_asked(record, field)) for record in own]).value
            change = over_seeds([_change(a, b, field) for a, b in zip(own, before, strict=True)])
            row |= change.columns(f"{name}_change", f"{name}_")
        records.append({**row, "seeds": len(own), "queries": sum(len(record["asked"]) for record in own)})
    return pd.DataFrame(records)


def removal_order(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """Whether one method's documents matter more than another's: differences in nats on the same queries.

    Returns:
        Columns group, more, less, value (nats a completion), low, high, seeds, queries, holds (by the rule of the
        findings; "not measured" with one seed, whose chance no interval over queries shows).
    """
    known = _methods(seeds)
    records = []
    for group in dict.fromkeys(group for group, _ in known):
        for more, less in ORDER:
            if (group, more) in known and (group, less) in known:
                ours = over_seeds(
                    [_change(_of(seed, group, more), _of(seed, group, less), "nll") for seed in seeds]
                )
                record = {"group": group, "more": more, "less": less, **ours.columns(), **ours.counts()}
                records.append({**record, "holds": verdict(ours, least_seeds=2)})
    return pd.DataFrame(records, columns=["group", "more", "less", *_COLUMNS, "holds"])


def _methods(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((record["group"], record["method"]) for seed in seeds for record in seed))


def _of(seed: Sequence[Mapping[str, Any]], group: str, method: str) -> Mapping[str, Any]:
    (only,) = (record for record in seed if (record["group"], record["method"]) == (group, method))
    return only


def _asked(record: Mapping[str, Any], field: str) -> list[float]:
    return [float(answer[field]) for answer in record["asked"]]


def _change(now: Mapping[str, Any], before: Mapping[str, Any], field: str) -> Statistic:
    """Mean over queries of the difference on the same query."""
    old = {answer["query"]: float(answer[field]) for answer in before["asked"]}
    return mean_of([float(answer[field]) - old[answer["query"]] for answer in now["asked"]])


_COLUMNS = ("value", "low", "high", "seeds", "queries")


def _pairs(seeds: Sequence[pd.DataFrame], a: str, b: str) -> list[tuple[str, str]]:
    return list(dict.fromkeys(pair for table in seeds for pair in zip(table[a], table[b], strict=True)))


def _values(table: pd.DataFrame, of: Mapping[str, str], column: str) -> pd.Series[float]:
    chosen = pd.Series(True, index=table.index)
    for name, value in of.items():
        chosen &= table[name] == value
    return table.loc[chosen, column]
