"""Ratios of the scores of two runs: planted factors and signs are found, whatever the size of a block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stores import make_document, make_query, write_scores

from influence.analysis import agreement
from influence.analysis.agreement import score_ratios, shared_prompts
from influence.errors import InputError


def test_planted_factors_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.random.default_rng(0).lognormal(size=(3, 50))
    a[0, :5] = 0
    b = a * 3.0
    b[1] = a[1] * -0.25
    b[2] = a[2] * 1e6
    queries = [make_query(n, group="factual" if n == 2 else "reasoning") for n in range(3)]
    one = write_scores(tmp_path / "a", a, queries=queries)
    two = write_scores(tmp_path / "b", b, queries=queries)
    tables = []
    for block in (2**20, 7):
        monkeypatch.setattr(agreement, "BLOCK", block)
        tables.append(score_ratios(one, two))
    assert tables[0].equals(tables[1])
    table = tables[0][tables[0]["scores"] > 0]
    records = table.set_index("group")[["signs", "low", "high", "scores", "left_out"]].to_dict("split")[
        "data"
    ]
    assert records == [
        ["same sign", 1.5, 2.0, 45, 5],  # log2 3 = 1.58
        ["opposite signs", -2.0, -1.5, 50, 5],
        ["same sign", 8.0, np.inf, 50, 0],
    ]
    shares = tables[0].groupby("group")["share"].sum()
    assert shares.to_list() == pytest.approx([1.0, 1.0])
    assert tables[0].groupby("group")["queries"].first().to_dict() == {"reasoning": 2, "factual": 1}


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = write_scores(tmp_path / "a", [[1.0, 2]])
    other = write_scores(tmp_path / "b", [[1.0, 2]], documents=[make_document(n + 1) for n in range(2)])
    with pytest.raises(InputError, match="same documents"):
        score_ratios(one, other)
    asked = write_scores(tmp_path / "c", [[1.0, 2]], queries=[make_query(0, prompt="another")])
    with pytest.raises(InputError, match="No prompt"):
        score_ratios(one, asked)
    twice = write_scores(tmp_path / "d", [[1.0, 2]] * 2, queries=[make_query(0), make_query(0, id="again")])
    assert shared_prompts(one, twice) == []
    assert shared_prompts(one, one) == [("slopes-00", "slopes-00")]
