"""In how many queries' top k does each document stand? Shared documents are what correlated queries have in common."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.analysis.columns import with_labels
from influence.analysis.grouping import Grouping, finite_row, group_rows
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Reading


def document_reuse(
    scores: Scores, k: int = 500, by: Reading = "normed", group_by: Grouping = "task"
) -> pd.DataFrame:
    """Every document of some query's top `k`, the most shared first.

    Returns:
        Columns column, document, source, queries (in whose top k it stands), labels (how many different ones they
        have), best_rank (its best rank in any of them, from 1), and one column `in <label>` a label.

    Raises:
        InputError: `k` is not positive.
    """
    if k < 1:
        raise InputError("k must be at least 1.", have=str(k))
    rows_of = group_rows(scores.queries, group_by)
    pieces = []
    for label, members in rows_of.items():
        for row in members:
            query = scores.queries[row].id
            finite_row(scores, query, by)
            listed = scores.ranking(query, k, by)
            pieces.append(
                pd.DataFrame({"column": listed, "rank": np.arange(1, len(listed) + 1), "label": label})
            )
    listed_all = pd.concat(pieces, ignore_index=True)
    per_label = listed_all.groupby(["column", "label"]).size().unstack(fill_value=0)
    per_label = per_label.reindex(columns=list(rows_of), fill_value=0)
    table = pd.DataFrame(
        {
            "queries": per_label.sum(axis=1),
            "labels": (per_label > 0).sum(axis=1),
            "best_rank": listed_all.groupby("column")["rank"].min(),
        }
    )
    table = table.join(per_label.rename(columns={label: f"in {label}" for label in rows_of}))
    table = table.sort_values(["queries", "best_rank"], ascending=[False, True], kind="stable")
    return with_labels(table.rename_axis("column").reset_index(), scores)


def reuse_counts(reuse: pd.DataFrame) -> pd.DataFrame:
    """How many documents stand in the top k of exactly so many queries: queries, documents."""
    counts = reuse["queries"].value_counts().sort_index()
    return pd.DataFrame({"queries": counts.index, "documents": counts.to_numpy()})
