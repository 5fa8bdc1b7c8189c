"""Which documents come, go and climb among the first of a query along the stages of a training run?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.analysis.columns import with_labels
from influence.analysis.grouping import finite_row
from influence.analysis.ranking import ranks
from influence.analysis.stages import Stages, check_stages
from influence.types import Reading

TOP = 10


def stage_tops(stages: Stages, by: Reading = "normed", k: int = TOP) -> pd.DataFrame:
    """Ranks at every stage of the documents that stand in a query's top `k` at any stage.

    Ranks compare where scores do not: each checkpoint has its own curvature.

    Returns:
        A row a query, document and stage: query, column, document, source, by (the reading), stage, rank (from 1).

    Raises:
        InputError: the stages cannot be compared.
        ComputeError: a score is not finite.
    """
    check_stages(stages)
    parts = []
    for query in stages[0][1].queries:
        columns = np.unique(np.concatenate([scores.ranking(query.id, k, by) for _, scores in stages]))
        for name, scores in stages:
            rank = ranks(finite_row(scores, query.id, by), columns)
            parts.append(
                pd.DataFrame({"query": query.id, "column": columns, "by": by, "stage": name, "rank": rank})
            )
    return with_labels(pd.concat(parts, ignore_index=True), stages[-1][1])
