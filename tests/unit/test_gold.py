"""Ranks of gold documents, and the summary of ranks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from influence.analysis.bm25 import best_rank, recall_table


def test_best_rank_counts_from_one_and_takes_the_best_gold_document() -> None:
    row = np.array([0.5, 3.0, 2.0, -1.0])
    assert best_rank(row, np.array([1])) == 1
    assert best_rank(row, np.array([3])) == 4
    assert best_rank(row, np.array([3, 2])) == 2


def test_ties_share_their_mean_rank() -> None:
    assert best_rank(np.array([1.0, 1.0, 1.0, 0.0]), np.array([2])) == 2
    assert best_rank(np.zeros(5), np.array([0])) == 3


def test_recall_table_in_closed_form() -> None:
    table = recall_table(pd.DataFrame({"m": [1.0, 10.0, 11.0, 1000.0]}))
    value = table.set_index("measure")["value"]
    assert value["recall@10"] == 0.5
    assert value["recall@100"] == 0.75
    assert value["median rank"] == 10.5
    assert value["MRR"] == pytest.approx((1 + 1 / 10 + 1 / 11 + 1 / 1000) / 4)
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_interval_of_a_constant_is_a_point() -> None:
    table = recall_table(pd.DataFrame({"m": [5.0] * 7})).set_index("measure")
    assert tuple(table.loc["median rank", ["low", "high"]]) == (5, 5)
    assert tuple(table.loc["recall@10", ["low", "high"]]) == (1, 1)
