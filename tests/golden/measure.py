"""Numbers that stand for an array or a table, so that a small file can say whether a later version computes the same.

Sums in float64 do not depend on the machine but for their last digits, so they are compared to 1e-9; generated data are
compared byte for byte. `REWRITE_GOLDEN=1 pytest tests/golden` stores what is computed now: do so only where a change of
the numbers is meant, and say why in the commit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent
RELATIVE = 1e-9


def numbers(array: npt.ArrayLike) -> list[float | int]:
    """Size, sum, sum of magnitudes and product with a fixed wave, which depends on every place."""
    values = np.asarray(array, dtype=np.float64).ravel()
    values = np.nan_to_num(values, nan=0.0)
    wave = np.cos(np.arange(values.size) * 0.7 + 0.3)
    return [values.size, float(values.sum()), float(np.abs(values).sum()), float(values @ wave)]


def table_numbers(path: Path) -> dict[str, Any]:
    """Each column of a Parquet file: the numbers of numeric ones, a hash of the others."""
    table = pq.read_table(path)
    result: dict[str, Any] = {}
    for name in table.column_names:
        values = table.column(name).to_pylist()
        if all(value is None or isinstance(value, int | float) for value in values):
            result[name] = numbers([float("nan") if value is None else value for value in values])
        else:
            result[name] = hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:16]
    return result


def compare(name: str, computed: Mapping[str, Any], relative: float = RELATIVE) -> None:
    """Assert that what was computed equals what `name` stores, sums to `relative` of their magnitudes."""
    path = FOLDER / f"{name}.json"
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_text(json.dumps(computed, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    stored = json.loads(path.read_text(encoding="utf-8"))
    differences = list(_differences(name, stored, json.loads(json.dumps(computed)), relative))
    assert not differences, "\n".join(differences[:20])


def _differences(place: str, stored: Any, computed: Any, relative: float) -> Any:
    if isinstance(stored, dict) and isinstance(computed, dict):
        for key in stored.keys() | computed.keys():
            if key not in stored or key not in computed:
                yield f"{place}/{key} is only {'computed' if key in computed else 'stored'}"
            else:
                yield from _differences(f"{place}/{key}", stored[key], computed[key], relative)
    elif isinstance(stored, list) and isinstance(computed, list) and len(stored) == len(computed) == 4:
        scale = max(abs(stored[2]), 1e-300)  # a sum may cancel: the magnitudes are its measure
        for a, b in zip(stored, computed, strict=True):
            if abs(a - b) > relative * scale:
                yield f"{place}: stored {stored}, computed {computed}"
                return
    elif stored != computed:
        yield f"{place}: stored {stored!r}, computed {computed!r}"
