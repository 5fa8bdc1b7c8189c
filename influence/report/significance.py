"""How sure the means of R are: what `influence analyze correlation` left with the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from influence.report.text import count, signed
from influence.store.formats.tables import made_by, read_tables


@dataclass(frozen=True)
class Significance:
    """One sentence on all pairs, and a row a pair of tasks: a, b, mean R, its interval, p, number of pairs."""

    sentence: str
    rows: tuple[tuple[str, str, str, str, str, str], ...]


def significance(folder: Path) -> Significance | None:
    """Intervals and permutation tests of the run in `folder`; None if the analysis did not run, or on two runs.

    Raises:
        StoreError: a table of the analysis is damaged.
    """
    path = folder / "analysis" / "correlation" / "permutation.parquet"
    tables = read_tables(folder, "correlation", ("blocks", "permutation")) if path.exists() else None
    if tables is None or tables["permutation"].empty:
        return None
    test = tables["permutation"].iloc[0]
    by = made_by(path).get("by", "normed")
    sentence = (
        f"By {by}, mean R is {signed(test['within'])} within tasks and {signed(test['between'])} between them; "
        f"{_p(test['p'])} over {count(int(test['permutations']))} permutations of the tasks of the queries."
    )
    rows = tuple(
        (
            str(row["a"]),
            str(row["b"]),
            signed(row["mean"]),
            _interval(row["low"], row["high"]),
            _p(row["p"]),
            count(int(row["pairs"])),
        )
        for row in tables["blocks"].to_dict("records")
    )
    return Significance(sentence, rows)


def _interval(low: float, high: float) -> str:
    return f"{signed(low)} to {signed(high)}" if math.isfinite(low) else "not defined"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if math.isfinite(value) else "p not defined"
