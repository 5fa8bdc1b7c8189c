"""What the interactive part of a report shows, as plain values for JSON: queries, their documents, correlations."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.agreement import overlap
from influence.analysis.concentration import power_law
from influence.analysis.correlation import correlation
from influence.analysis.documents import rank_curve, top_table
from influence.analysis.grouping import task_labels, task_order
from influence.report.concentration import CURVE_RANKS, summable
from influence.report.format import clip
from influence.report.page import rounded
from influence.report.passages import Passages
from influence.report.queries import PROMPT_CHARACTERS, query_notes
from influence.store.scores import Scores
from influence.store.token_scores import TokenScores
from influence.types import SIGN_STATEMENT, Reading

OVERLAPS = (10, 50)
STRONGEST_TOKENS = 10
_PARTS = ("all", "positive", "negative")


@dataclass(frozen=True)
class Lists:
    """The documents a report lists.

    Attributes:
        table: Rows of `top_table` with their number `doc` among the documents of the report, `row`, the number of
            the query in the order of the report, and `rank_bm25`, NaN where it is not known.
        columns: Column of the score matrix of each document of the report.
        order: Row of the score matrix of each query of the report.
    """

    table: pd.DataFrame
    columns: npt.NDArray[np.int64]
    order: list[int]


def lists(scores: Scores, k: int, lexical: pd.DataFrame | None = None) -> Lists:
    """Top and bottom `k` of every query in both rankings, documents numbered as first listed.

    Args:
        lexical: What `influence analyze bm25` wrote of documents, if it ran.
    """
    order = task_order(scores.queries)
    table = top_table(scores, k, bottom=True)
    if lexical is None:
        table["rank_bm25"] = np.nan
    else:
        ranked = lexical[["query", "column", "rank_bm25"]].drop_duplicates(["query", "column"])
        table = table.merge(ranked, how="left", on=["query", "column"])
    row_of = {scores.queries[row].id: number for number, row in enumerate(order)}
    table["row"] = [row_of[query] for query in table["query"]]
    table = table.sort_values(["row", "rank_normed"], kind="stable")
    codes, columns = pd.factorize(table["column"])
    table["doc"] = codes
    return Lists(table, np.asarray(columns, np.int64), order)


def fixed_values(scores: Scores, by: Reading) -> dict[str, Any]:
    """What does not depend on how much of the store a report shows, and takes time: computed once."""
    order = task_order(scores.queries)
    drawn = summable(scores, by)
    rank_P, curve_QP = rank_curve(scores, CURVE_RANKS, drawn)
    slopes = power_law(scores, CURVE_RANKS, drawn)
    fits = {fit["query"]: fit for fit in slopes[slopes["side"] == "positive"].to_dict("records")}
    matrices = {
        name: {part: correlation(scores, reading, part).to_numpy(float) for part in _PARTS}  # type: ignore[arg-type]
        for name, reading in (("norm", "normed"), ("dot", "dot"))
    }
    queries = []
    for row in order:
        query = scores.queries[row]
        fit = fits[query.id]
        values = [fit["slope"], fit["se"], fit["r2"]]
        slope = None
        if np.isfinite(values).all():
            alpha, se, r2 = rounded(values, 4)
            slope = {"alpha": alpha, "se": se, "r2": r2, "n": int(fit["n"])}
        rho, overlaps = _agreement(scores, query.id)
        queries.append(
            {
                "slope": slope,
                "curve": [
                    [int(rank), value]
                    for rank, value in zip(rank_P, rounded(curve_QP[row], 5), strict=True)
                    if value is not None
                ],
                "rho": rho,
                "overlap": overlaps,
            }
        )
    above = np.triu_indices(len(order))
    return {
        "queries": queries,
        "r": {
            name: {part: _whole(r_QQ[np.ix_(order, order)][above]) for part, r_QQ in parts.items()}
            for name, parts in matrices.items()
        },
        "cluster": _clustered(matrices["norm" if by == "normed" else "dot"]["all"][np.ix_(order, order)]),
    }


def _whole(r: npt.NDArray[np.float64]) -> list[int | None]:
    """R in ten-thousandths; never half a hundredth, which would round to two decimals as R itself does not."""
    whole: list[int | None] = []
    for value in (10_000 * r).tolist():
        near = None if math.isnan(value) else round(value)
        if near is not None and near % 100 == 50:
            near += -1 if value < near else 1
        whole.append(near)
    return whole


def _agreement(scores: Scores, query: str) -> tuple[float | None, list[list[float | None]]]:
    """Spearman's ρ between `normed` and `dot` over all documents, and the shared part of their top k."""
    normed, dot = (scores.row(query, by) for by in ("normed", "dot"))
    tops = [scores.ranking(query, max(OVERLAPS), by) for by in ("normed", "dot")]
    if scores.scored is not None:
        normed, dot = normed[scores.scored], dot[scores.scored]
    shared = [[k, *rounded([overlap(tops[0], tops[1], k)], 4)] for k in OVERLAPS if k <= len(tops[0])]
    if np.ptp(normed) == 0 or np.ptp(dot) == 0:
        return None, shared
    rank_D = np.empty((2, len(dot)))
    for place, row_D in enumerate((normed, dot)):
        rank_D[place, np.argsort(-row_D, kind="stable")] = np.arange(len(dot))
    rank_D -= rank_D.mean(axis=1, keepdims=True)
    return rounded([rank_D[0] @ rank_D[1] / (rank_D[0] @ rank_D[0])], 4)[0], shared


def _clustered(r_QQ: npt.NDArray[np.float64]) -> list[int] | None:
    """Order of the leaves of average linkage on 1 − R; None where R is not defined, or for two queries."""
    if len(r_QQ) < 3 or np.isnan(r_QQ).any():
        return None
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = 1 - r_QQ
    np.fill_diagonal(distance, 0)
    return [int(leaf) for leaf in leaves_list(linkage(squareform(distance, checks=False), "average"))]


def query_records(scores: Scores, order: Sequence[int], show_texts: bool) -> list[dict[str, Any]]:
    """The queries in the order of the report."""
    records = []
    labels = task_labels(scores.queries)
    for row in order:
        query = scores.queries[row]
        texts = {name: clip(getattr(query, name), PROMPT_CHARACTERS) for name in ("prompt", "completion")}
        nats = rounded([float(scores.query_nll[row])])[0]
        records.append(
            {
                "id": query.id,
                "task": query.task,
                "label": labels[row],
                "group": query.group,
                "correct": query.correct,
                "nats": nats,
                "notes": query_notes(scores, row, query, show_texts),
                "answer": clip(query.answer, PROMPT_CHARACTERS) if show_texts else None,
                **(texts if show_texts else dict.fromkeys(texts)),
            }
        )
    return records


def list_records(found: Lists, tokens: set[tuple[int, int]]) -> list[dict[str, Any]]:
    """The documents of each query: `d` document, `rn` and `rd` ranks, `n` normed, `s` dot, `end` (0 top, 1 bottom,
    2 both), `tok` whether token values are in the report, `b` rank by BM25 if any is known."""
    records = []
    lexical = bool(found.table["rank_bm25"].notna().any())
    for row, part in found.table.groupby("row"):
        ends = part.groupby("doc")["end"].agg(set)
        once = part.drop_duplicates("doc")
        records.append(
            {
                "d": once["doc"].tolist(),
                "rn": once["rank_normed"].tolist(),
                "rd": once["rank_dot"].tolist(),
                "n": rounded(once["normed"]),
                "s": rounded(once["dot"]),
                "end": [2 if len(ends[doc]) == 2 else int("bottom" in ends[doc]) for doc in once["doc"]],
                "tok": [int((row, doc) in tokens) for doc in once["doc"]],
            }
            | ({"b": [None if np.isnan(b) else int(b) for b in once["rank_bm25"]]} if lexical else {})
        )
    return records


def document_records(scores: Scores, found: Lists, show_texts: bool) -> dict[str, list[Any]]:
    """The documents of the report, a list a field; `shard` is the first query that lists a document."""
    table = scores.documents
    first = found.table.drop_duplicates("doc").sort_values("doc")
    texts = [table.text(int(column)) for column in found.columns]
    return {
        "id": table.take("id", found.columns).tolist(),
        "source": table.take("source", found.columns).tolist(),
        "tokens": [int(table.lengths[column]) for column in found.columns],
        "sha": [hashlib.sha256(t.encode("utf-8", "surrogatepass")).hexdigest()[:12] for t in texts],
        "snippet": first["snippet"].tolist() if show_texts else [""] * len(texts),
        "shard": first["row"].tolist(),
    }


def text_shards(
    scores: Scores, found: Lists, characters: int | None, strongest: dict[int, int]
) -> tuple[dict[int, dict[str, str]], list[int], list[int]]:
    """Texts by shard and document, how many characters of each are left out, and where what is shown begins.

    Args:
        characters: At most this many, around the strongest token or from the beginning; None: all.
        strongest: Position in the text of the strongest token of a document.
    """
    shards: dict[int, dict[str, str]] = {}
    cut, begin = [], []
    first = found.table.drop_duplicates("doc").sort_values("doc")
    for doc, (row, column) in enumerate(zip(first["row"], first["column"], strict=True)):
        text = scores.documents.text(int(column))
        shown, start = text, 0
        if characters is not None and len(text) > characters:
            start = max(0, min(strongest.get(doc, 0) - characters // 2, len(text) - characters))
            shown = text[start : start + characters]
        shards.setdefault(int(row), {})[str(doc)] = shown
        cut.append(len(text) - len(shown))
        begin.append(start)
    return shards, cut, begin


def passage_shards(found: Lists, passages: Passages) -> dict[int, dict[str, list[str]]]:
    """The passage of each document for each query: what it was chosen by, then plain and marked pieces in turn."""
    shards: dict[int, dict[str, list[str]]] = {}
    for row, doc in found.table[["row", "doc"]].drop_duplicates().itertuples(index=False, name=None):
        passage = passages.of(found.order[row], int(found.columns[doc]))
        shards.setdefault(int(row), {})[str(doc)] = [passage.how, *passage.pieces]
    return shards


def token_pairs(found: Lists, tokens: TokenScores | None, depth: int) -> set[tuple[int, int]]:
    """`(query, document)` of the report whose token values it holds: the first `depth` of each ranking."""
    if tokens is None or depth < 1:
        return set()
    top = found.table[found.table["end"] == "top"]
    top = top[(top["rank_normed"] <= depth) | (top["rank_dot"] <= depth)]
    return {
        (int(row), int(doc))
        for row, doc, column in zip(top["row"], top["doc"], top["column"], strict=True)
        if (found.order[row], int(column)) in tokens
    }


def token_records(
    found: Lists, tokens: TokenScores, pairs: set[tuple[int, int]]
) -> dict[int, dict[str, dict[str, Any]]]:
    """Token values of each pair: `v` in 127ths of `max`, `len` in characters, `sum`, `top`, `spiky`."""
    shards: dict[int, dict[str, dict[str, Any]]] = {}
    for row, doc in sorted(pairs):
        column = int(found.columns[doc])
        value_T = tokens.values(found.order[row], column).astype(np.float64)
        largest = float(np.abs(value_T).max(initial=0))
        order = np.argsort(-np.abs(value_T), kind="stable")[:STRONGEST_TOKENS]
        whole = float(np.abs(value_T).sum())
        shards.setdefault(row, {})[str(doc)] = {
            "v": np.round(127 * value_T / largest).astype(int).tolist() if largest else [0] * len(value_T),
            "len": tokens.lengths(column).tolist(),
            "max": rounded([largest])[0],
            "sum": rounded([value_T.sum()])[0],
            "top": [[int(n), rounded([value_T[n]])[0]] for n in order if value_T[n]],
            "spiky": rounded([float(np.linalg.norm(value_T)) / whole if whole else 0.0], 4)[0],
        }
    return shards


def strongest_positions(found: Lists, tokens: TokenScores, pairs: set[tuple[int, int]]) -> dict[int, int]:
    """Where in its text the strongest token of each document lies, over the queries of the report."""
    best: dict[int, tuple[float, int]] = {}
    for row, doc in sorted(pairs):
        column = int(found.columns[doc])
        value_T = np.abs(tokens.values(found.order[row], column))
        place = int(value_T.argmax())
        if doc not in best or value_T[place] > best[doc][0]:
            best[doc] = (float(value_T[place]), int(tokens.lengths(column)[:place].sum()))
    return {doc: position for doc, (_, position) in best.items()}


def facts(scores: Scores, title: str, by: Reading, texts: str, k: int) -> dict[str, Any]:
    """What the page is about."""
    return {
        "title": title,
        "by": by,
        "texts": texts,
        "k": k,
        "documents": scores.documents_scored,
        "sign": SIGN_STATEMENT,
    }
