"""Tables and numbers of the pages that a reproduction writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def with_interval(record: Mapping[Any, Any], value: str, low: str = "low", high: str = "high") -> str:
    """A value of a record with its interval, where there is one."""
    if not np.isfinite(record[value]):
        return "–"
    if not np.isfinite(record[low]):
        return short_number(record[value])
    return f"{short_number(record[value])} [{short_number(record[low])}, {short_number(record[high])}]"


def short_number(value: float) -> str:
    """Three digits; a dash for NaN."""
    return "–" if not np.isfinite(value) else f"{value:.3g}".replace("-", "−")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [" | ".join(head), "|".join(["---"] * len(head)), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" if "---|" not in line else f"|{line}|" for line in lines) + "\n"
