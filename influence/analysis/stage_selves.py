"""A distilled model beside its System 1 and System 2 selves: whose documents does it lean on?"""

from __future__ import annotations

import pandas as pd

from influence.analysis.correlation_blocks import pearson
from influence.analysis.grouping import finite_row, mean_interval
from influence.analysis.stages import Stages, overlap
from influence.types import Reading

#: Ends of the ids of the two queries about an input.
ONE, TWO = "-system-1", "-system-2"
TOP = 50


def selves(stages: Stages, by: Reading = "normed", k: int = TOP) -> pd.DataFrame:
    """How alike the rankings of the same input are, between the first stage's two selves and the last stage.

    Returns:
        A row an input and pair: input, pair ("System 1 and distilled", "System 2 and distilled", "System 1 and
        System 2"), r (Pearson over all documents), overlap (shared part of the top k). Empty where no two queries are
        about one input in both ways, or with one stage.
    """
    first, last = stages[0][1], stages[-1][1]
    known = {query.id for query in first.queries}
    inputs = [one.removesuffix(ONE) for one in sorted(known) if one.endswith(ONE)]
    inputs = [one for one in inputs if one + TWO in known] if len(stages) > 1 else []
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
