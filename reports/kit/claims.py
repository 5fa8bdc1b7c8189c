"""The rule that says whether a claim holds."""

from __future__ import annotations

import numpy as np

from reports.kit.intervals import Interval


def verdict(contrast: Interval) -> str:
    """Whether a finding holds: yes, partly, no, or not measured; by the sign of its contrast."""
    if not np.isfinite([contrast.value, contrast.low]).all():
        return "not measured"
    if contrast.low > 0:
        return "yes"
    return "partly" if contrast.value > 0 else "no"
