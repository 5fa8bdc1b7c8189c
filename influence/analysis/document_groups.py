"""Groups of documents by what their metadata say: mean influence of each, an interval, and a permutation test.

Single scores are noisy; what people decide about is regions of a corpus, such as a topic, or a topic in one format.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import finite_row, matching_metadata
from influence.analysis.grouping import Grouping, group_rows
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Reading

PERMUTATIONS = 999
_MOST_GROUPS = 1000
_NONE = "–"


def group_influence(
    scores: Scores,
    fields: Sequence[str],
    by: Reading = "normed",
    group_by: Grouping = "task",
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean influence of the documents of each group, for the queries of each label.

    A document's score is its mean over the queries of the label. Documents that were not scored count nowhere.

    Args:
        fields: Names of metadata, or `source`; with several, each combination of values is a group.
        permutations: How often documents are dealt out anew among groups of the same sizes.

    Returns:
        A row a label and group, the largest mean first: label, group (values joined by ×; – where a document has no
        such field), documents, mean, low, high (95 % t-interval over documents; NaN for one), difference (from the mean
        of all documents), p (two-sided: share of permutations, the given one included, with a difference as large).

    Raises:
        InputError: no document has a field, or there are more than 1,000 groups.
        ComputeError: a score is not finite.
    """
    from scipy.stats import t

    names, code_D = _groups(scores, fields)
    scored_D = np.ones(len(code_D), bool) if scores.scored is None else scores.scored
    code_N = code_D[scored_D]
    n_G = np.bincount(code_N, minlength=len(names))
    rng = np.random.default_rng(seed)
    tables = []
    for label, rows in group_rows(scores.queries, group_by).items():
        total_N = np.zeros(len(code_N))
        for row in rows:
            total_N += finite_row(scores, scores.queries[row].id, by)[scored_D]
        value_N = total_N / len(rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_G = np.bincount(code_N, value_N, len(names)) / n_G
            square_G = np.bincount(code_N, (value_N - mean_G[code_N]) ** 2, len(names))
            half_G = t.ppf(0.975, np.maximum(n_G - 1, 1)) * np.sqrt(square_G / (n_G - 1) / n_G)
            difference_G = mean_G - value_N.mean()
            extreme_G = np.ones(len(names))
            for _ in range(permutations):
                drawn_G = np.bincount(code_N, rng.permutation(value_N), len(names)) / n_G - value_N.mean()
                # a difference that is the same but for rounding counts as one as large
                extreme_G += np.abs(drawn_G) >= np.abs(difference_G) * (1 - 1e-12)
        half_G[n_G < 2] = np.nan
        columns = {"label": label, "group": names, "documents": n_G, "mean": mean_G, "low": mean_G - half_G}
        columns |= {"high": mean_G + half_G, "difference": difference_G, "p": extreme_G / (1 + permutations)}
        table = pd.DataFrame(columns)
        tables.append(table[table["documents"] > 0].sort_values("mean", ascending=False, kind="stable"))
    return pd.concat(tables, ignore_index=True)


def _groups(scores: Scores, fields: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Names of the groups, and the number of its group for each document `[D]`."""
    values_FD = [_values(scores, field) for field in fields]
    name_D = [" × ".join(values) for values in zip(*values_FD, strict=True)]
    names, code_D = np.unique(np.array(name_D, object), return_inverse=True)
    if len(names) > _MOST_GROUPS:
        raise InputError(
            f"{' × '.join(fields)} has too many different values to be groups.",
            have=f"{len(names):,} of {len(name_D):,} documents",
            fix=f"Name a field with at most {_MOST_GROUPS:,}.",
        )
    return names.tolist(), code_D.astype(np.int64)


def _values(scores: Scores, field: str) -> list[str]:
    if field == "source":
        return [str(name) for name in scores.documents.sources]
    value_D = [_NONE] * len(scores.documents)
    known = False
    for column, _, record in matching_metadata(scores, field):
        value = record[field]
        value_D[column] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        known = True
    if not known:
        raise InputError(
            f"No document of {scores.folder} has a field {field!r} in its metadata.",
            fix="Name a field of the corpus's records, or source.",
        )
    return value_D
