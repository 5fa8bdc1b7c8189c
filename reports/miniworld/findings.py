"""The five findings of the paper: what it published, what we measure, and the rule that says whether it holds here.

Every row rests on a *contrast* that the finding says is positive, such as R of pairs of one procedure minus R of
factual pairs. It holds here: *yes* when the whole 95 % interval of the contrast is positive, *partly* when its mean
is positive and its interval is not, *no* when its mean is not positive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.kit.claims import verdict
from reports.kit.intervals import over_seeds
from reports.miniworld.measures import SeedMeasures
from reports.miniworld.published import rows

RULE = (
    "Each row rests on a contrast that the finding says is positive. Holds here: yes, when the whole 95 % interval "
    "of the contrast is positive; partly, when its mean is positive and its interval is not; no, when its mean is not "
    "positive; not measured, with fewer than two queries."
)


def findings_table(seeds: Sequence[SeedMeasures], top_k: int, source_k: int) -> pd.DataFrame:
    """The rows with our values over seeds.

    Returns:
        Columns finding, what, published, here, low, high, seeds, between_seeds, queries, claim, contrast,
        contrast_low, contrast_high, holds.
    """
    records = []
    for row in rows(top_k, source_k):
        ours = over_seeds([row.value(seed) for seed in seeds])
        record = {
            "finding": row.finding,
            "what": row.what,
            "published": row.published,
            "here": ours.value,
            "low": ours.low,
            "high": ours.high,
            "seeds": ours.seeds,
            "between_seeds": ours.between,
            "queries": ours.queries,
            "claim": row.claim,
        }
        if row.contrast is None:
            record |= {
                "contrast": np.nan,
                "contrast_low": np.nan,
                "contrast_high": np.nan,
                "holds": "no claim",
            }
        else:
            contrast = over_seeds([row.contrast(seed) for seed in seeds])
            record |= {
                "contrast": contrast.value,
                "contrast_low": contrast.low,
                "contrast_high": contrast.high,
                "holds": verdict(contrast),
            }
        records.append(record)
    return pd.DataFrame(records)
