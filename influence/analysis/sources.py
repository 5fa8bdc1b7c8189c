"""Where the influential documents come from, against the whole corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence.store.scores import Scores
from influence.types import Reading

if TYPE_CHECKING:
    import pandas as pd


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
