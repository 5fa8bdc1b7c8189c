"""Every analysis on the smallest and emptiest of runs: tables, no warning, no exception."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import write_scores

from influence.analysis import tables
from influence.store.formats.tables import write_tables
from influence.store.scores import Scores


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 1), (3, 2)])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_degenerate_runs(tmp_path: Path, shape: tuple[int, int], scale: float) -> None:
    scores = write_scores(tmp_path / "s", scale * np.random.default_rng(0).normal(size=shape))
    for number, made in enumerate(everything(scores)):
        for path in write_tables(made, tmp_path / str(number), [scores], why="test"):
            assert pd.read_parquet(path) is not None


def everything(scores: Scores) -> list[tables.Tables]:
    return [
        tables.correlation_tables(scores, "normed", "task"),
        tables.cross_tables(scores, scores, "dot"),
        tables.concentration_tables(scores, "per_nat", "group", 500),
        tables.answer_tables(scores, "normed", "task", 500),
        tables.source_tables(scores, "normed", "task"),
        tables.reuse_tables(scores, "normed", "task", 500),
        tables.checkpoint_tables([("a", scores), ("b", scores)], "normed", "task", 10),
        tables.bm25_tables(scores, "task", 500),
        tables.sanity_tables(scores, 20),
    ]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    def fail(table: object, part: Path, **options: object) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="space"):
        write_tables({"t": pd.DataFrame({"a": [1]})}, tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
