"""Where the influential documents come from, against the whole corpus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import finite_row, source_codes
from influence.analysis.grouping import RESAMPLES, Grouping, bootstrap_means, group_rows
from influence.errors import InputError
from influence.store.scores import Scores
from influence.types import Reading


def source_shares(scores: Scores, top: pd.DataFrame, k: int, by: Reading = "normed") -> pd.DataFrame:
    """How often each source stands in the top `k`, for each group of queries, against its share of the corpus.

    Args:
        top: Result of `ranking.top_table(scores, k)` with the same or a larger `k`.

    Returns:
        A row per source and group, the largest source first: source, documents (of the corpus), share (of the
        corpus), group, count (of the group's top lists, all queries together), of (documents in those lists),
        multiplier (share of the lists / share of the corpus; 1 is the corpus's own mixture).
    """
    import pandas as pd

    counted = scores.documents.column("source").value_counts()
    corpus = {str(pair["values"]): int(pair["counts"]) for pair in counted.to_pylist()}
    order = sorted(corpus, key=lambda source: (-corpus[source], source))
    total = sum(corpus.values())
    rank = top["rank_normed"] if by == "normed" else top["rank_dot"]
    listed = top[(top["end"] == "top") & (rank <= k)]
    group_of = {query.id: query.group for query in scores.queries}
    counts = listed.groupby([listed["query"].map(group_of), "source"]).size().to_dict()
    rows = []
    for source in order:
        share = corpus[source] / total
        for group in dict.fromkeys(query.group for query in scores.queries):
            queries = sum(query.group == group for query in scores.queries)
            of = queries * min(k, total)
            count = int(counts.get((group, source), 0))
            rows.append((source, corpus[source], share, group, count, of, count / of / share))
    columns = ["source", "documents", "share", "group", "count", "of", "multiplier"]
    return pd.DataFrame(rows, columns=columns)


ENDS = ("top", "bottom")


def log_grid(documents: int) -> list[int]:
    """1, 2, 5, 10, … below the number of documents, and that number: there every multiplier is 1, if all are scored."""
    grid = [m * 10**e for e in range(12) for m in (1, 2, 5) if m * 10**e < documents]
    return [*grid, documents] if documents else []


def source_counts(
    scores: Scores, by: Reading = "normed", ks: Sequence[int] | None = None
) -> tuple[list[str], list[int], npt.NDArray[np.int64]]:
    """Documents of each source among the first k of each query.

    Returns:
        Source names, the largest first; the k; counts `[Q, ends, K, sources]`, ends as in `ENDS`.

    Raises:
        InputError: a k is not positive.
        ComputeError: a score is not finite.
    """
    n_documents = scores.documents_scored
    ks = sorted({min(k, n_documents) for k in (log_grid(n_documents) if ks is None else ks)})
    if not ks or ks[0] < 1:
        raise InputError("k must be at least 1.", have=str(list(ks)))
    names, code_D = source_codes(scores)
    counts = np.zeros((len(scores.queries), len(ENDS), len(ks), len(names)), np.int64)
    for row, query in enumerate(scores.queries):
        value_D = finite_row(scores, query.id, by)
        own_D = code_D
        if scores.scored is not None:
            value_D, own_D = value_D[scores.scored], code_D[scores.scored]
        counts[row, 0] = _counts_of_lowest(-value_D[::-1], own_D[::-1], ks, len(names))
        counts[row, 1] = _counts_of_lowest(value_D, own_D, ks, len(names))
    return names, ks, counts


def _counts_of_lowest(
    key_D: npt.NDArray[np.floating], code_D: npt.NDArray[np.int16], ks: Sequence[int], n_sources: int
) -> npt.NDArray[np.int64]:
    """Sources of the k documents of lowest key, for each k `[K, sources]`; of equal ones the last, as `lowest`.

    From the largest k down, each within the documents of the one before: nothing is sorted.
    """
    counts = np.zeros((len(ks), n_sources), np.int64)
    for place in reversed(range(len(ks))):
        k = ks[place]
        if k < len(key_D):
            threshold = np.partition(key_D, k - 1)[k - 1]
            chosen = key_D < threshold
            ties = np.flatnonzero(key_D == threshold)
            chosen[ties[len(ties) - k + np.count_nonzero(chosen) :]] = True
            kept = np.flatnonzero(chosen)  # several times faster than by the mask itself
            key_D, code_D = key_D[kept], code_D[kept]
        counts[place] = np.bincount(code_D, minlength=n_sources)
    return counts


def source_curves(
    scores: Scores,
    by: Reading = "normed",
    ks: Sequence[int] | None = None,
    group_by: Grouping = "task",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Multiplier of each source at each k, averaged over the queries of a label.

    Args:
        ks: Numbers of documents; by default 1, 2, 5, 10, … up to all.

    Returns:
        A row a label, end ("top" | "bottom"), k and source: label, end, k, source, documents (in the corpus),
        corpus_share, share (mean over queries), multiplier (share / corpus_share), low, high (95 % bootstrap of the
        multiplier over queries), n (queries). Control queries stand in it under their own label.
    """
    names, ks, counts = source_counts(scores, by, ks)
    n_documents = scores.dot.shape[1]
    corpus = np.bincount(source_codes(scores)[1], minlength=len(names))
    share = counts / np.array(ks)[None, None, :, None]
    multiplier = share / (corpus / n_documents)
    parts = []
    for label, members in group_rows(scores.queries, group_by).items():
        low, high = np.empty((2, *multiplier.shape[1:]))
        for at in np.ndindex(multiplier.shape[1:3]):
            drawn = bootstrap_means(multiplier[members, *at], resamples, seed)
            low[at], high[at] = np.percentile(drawn, [2.5, 97.5], axis=0)
        end, place, source = (index.ravel() for index in np.indices(low.shape))
        parts.append(
            pd.DataFrame(
                {
                    "label": label,
                    "end": np.array(ENDS, object)[end],
                    "k": np.array(ks)[place],
                    "source": np.array(names, object)[source],
                    "documents": corpus[source],
                    "corpus_share": corpus[source] / n_documents,
                    "share": share[members].mean(axis=0).ravel(),
                    "multiplier": multiplier[members].mean(axis=0).ravel(),
                    "low": low.ravel(),
                    "high": high.ravel(),
                    "n": len(members),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
