"""What goes into a report: prepared once (figures, correlations), then cut until the page fits its budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence.analysis.grouping import task_order
from influence.errors import ComputeError
from influence.report.checkpoints import (
    Checkpoints,
    checkpoints,
    rank_records,
)
from influence.report.format import count
from influence.report.page import figure_data
from influence.report.passages import Passages
from influence.report.records import (
    Lists,
    document_records,
    facts,
    fixed_values,
    list_records,
    lists,
    passage_shards,
    query_records,
    strongest_positions,
    text_shards,
    token_pairs,
    token_records,
)
from influence.report.run_card import NOT_RECORDED
from influence.report.sections import Views, views
from influence.report.versus import Versus, versus
from influence.store.formats.tables import read_tables
from influence.store.scores import Scores
from influence.store.token_scores import TokenScores, open_token_scores
from influence.types import Reading


@dataclass(frozen=True)
class Extent:
    """Sizes of a report.

    Attributes:
        k: Documents of each list of a query: top and bottom, by `normed` and by `dot`.
        characters: Of a document's text; None is all of them, 0 only its snippet.
        tokens: First documents of a query and ranking whose token values are in the report.
        rows: Of the table of each query that is there without scripts.
    """

    k: int
    characters: int | None
    tokens: int
    rows: int


def extents(wanted: Extent) -> Iterator[Extent]:
    """Ever smaller extents: token values first, then texts (without them no token values), then documents, then the
    tables without scripts.
    """
    extent = wanted
    yield extent
    for tokens in (10, 3):
        if extent.tokens > tokens:
            extent = replace(extent, tokens=tokens)
            yield extent
    for characters in (2_000, 500, 0) if wanted.characters is None else ():
        extent = replace(extent, characters=characters, tokens=extent.tokens if characters else 0)
        yield extent
    for k in (20, 10, 5, 3):
        if extent.k > k:
            extent = replace(extent, k=k, rows=min(extent.rows, k))
            yield extent
    for rows in (3, 1):
        if extent.rows > rows:
            extent = replace(extent, rows=rows)
            yield extent


def cuts(wanted: Extent, extent: Extent) -> list[str]:
    """What was cut, in words, in the order of the cuts."""
    sentences = []
    if extent.tokens != wanted.tokens:
        sentences.append(
            f"documents of a list with token values, from {count(wanted.tokens)} to {count(extent.tokens)}"
        )
    if extent.characters != wanted.characters:
        shown = (
            f"{count(extent.characters)} characters (around the strongest token, if it is known)"
            if extent.characters
            else "their first 160 characters"
        )
        sentences.append(f"texts of documents, to {shown}")
    if extent.k != wanted.k:
        sentences.append(f"documents of each list, from {count(wanted.k)} to {count(extent.k)}")
    if extent.rows != min(wanted.rows, extent.k):
        sentences.append(f"rows of the tables without scripts, to {count(extent.rows)}")
    return sentences


@dataclass(frozen=True)
class Prepared:
    """What does not depend on the extent.

    Attributes:
        title: Of the run.
        views: The sections over all queries.
        values: What the interactive part takes as it is.
        shared: Mean share of the first documents that both rankings have.
        found: Table of the queries answered, and `hits` of what was found, if that analysis ran.
        relations: Table of the labels given, if that analysis ran.
        lexical: BM25 of documents, if that analysis ran.
        tokens: Token values, if they were computed.
        passages: Of documents.
        versus: Other rankings of each query, where this run was compared with some.
        checkpoints: Ranks along a series of checkpoints, if that analysis ran.
    """

    title: str
    views: Views
    values: dict[str, Any]
    shared: float
    found: pd.DataFrame | None
    hits: pd.DataFrame | None
    relations: pd.DataFrame | None
    lexical: pd.DataFrame | None
    tokens: TokenScores | None
    passages: Passages
    versus: list[Versus]
    checkpoints: Checkpoints | None


@dataclass(frozen=True)
class Content:
    """The documents a report lists, and its blocks of data."""

    found: Lists
    blocks: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The same for programs: texts and token values in one object each, figures by name."""
        rest = {key: value for key, value in self.blocks.items() if key[:2] not in ("t-", "k-", "p-", "f-")}
        texts = [value for key, value in self.blocks.items() if key.startswith("t-")]
        return {
            **rest.pop("meta"),
            "texts": {doc: text for shard in texts for doc, text in shard.items()},
            "token_values": {key[2:]: value for key, value in self.blocks.items() if key.startswith("k-")},
            "stage_ranks": self.blocks.get("stages"),
            "versus": self.blocks.get("versus"),
            "figures": {key[2:]: value for key, value in self.blocks.items() if key.startswith("f-")},
        }


def prepare(scores: Scores, by: Reading, title: str) -> Prepared:
    """Compute and draw what every extent shares.

    Raises:
        StoreError: a table of an analysis is damaged.
        ComputeError: a score is not finite.
    """
    tokens = _finite(open_token_scores(scores), scores.folder)
    values = fixed_values(scores, by)
    answered = read_tables(scores.folder, "answers", ("hits", "found")) or {}
    related = read_tables(scores.folder, "relations", ("relations", "counts")) or {}
    words = read_tables(scores.folder, "bm25", ("documents",)) or {}
    passages = Passages(scores, tokens)
    return Prepared(
        title,
        views(scores, by),
        values,
        _shared(values["queries"]),
        answered.get("found"),
        answered.get("hits"),
        related.get("relations"),
        words.get("documents"),
        tokens,
        passages,
        versus(scores, task_order(scores.queries), by, words.get("documents"), passages),
        checkpoints(scores),
    )


def _finite(tokens: TokenScores | None, folder: Path) -> TokenScores | None:
    if tokens is not None and not np.isfinite(tokens.arrays["value"]).all():
        raise ComputeError(
            f"Influence of single tokens in {folder} is not finite.",
            fix="Run influence tokens again, with the model in float32.",
        )
    return tokens


def _shared(queries: list[dict[str, Any]]) -> float:
    """Mean overlap of the two rankings at the smallest depth; NaN where no query has one."""
    shares = [query["overlap"][0][1] for query in queries if query["overlap"]]
    return float(np.mean(shares)) if shares else float("nan")


def content(scores: Scores, prepared: Prepared, extent: Extent, texts: str, by: Reading) -> Content:
    """The blocks of data of a report of this extent."""
    listed = lists(scores, extent.k, prepared.lexical)
    show_texts = texts != "none"
    pairs = (
        token_pairs(listed, prepared.tokens, extent.tokens)
        if texts == "full" and extent.characters != 0
        else set()
    )
    blocks: dict[str, Any] = {}
    queries = query_records(scores, listed.order, show_texts)
    for record, more in zip(queries, prepared.values["queries"], strict=True):
        record |= more
        record["answered"] = _answered(prepared.found, record["id"])
    documents = document_records(scores, listed, show_texts)
    if texts == "full" and extent.characters != 0:
        strongest = strongest_positions(listed, prepared.tokens, pairs) if prepared.tokens else {}
        shards, documents["cut"], documents["begin"] = text_shards(
            scores, listed, extent.characters, strongest
        )
        blocks |= {f"t-{row}": shard for row, shard in shards.items()}
        blocks |= {f"p-{row}": shard for row, shard in passage_shards(listed, prepared.passages).items()}
    else:
        documents["cut"] = documents["begin"] = [0] * len(listed.columns)
    if prepared.tokens is not None and pairs:
        blocks |= {f"k-{row}": shard for row, shard in token_records(listed, prepared.tokens, pairs).items()}
    hidden = [] if show_texts else ["why"]  # what a judge says may quote
    for key, table in prepared.views.data.items():
        blocks[f"f-{key}"] = figure_data(table.drop(columns=hidden, errors="ignore"))
    ranked = prepared.checkpoints
    if ranked is not None:
        blocks["stages"] = rank_records(scores, listed.order, ranked)
    if prepared.versus:
        whole = texts == "full" and extent.characters != 0
        blocks["versus"] = [other.as_json(whole) for other in prepared.versus]
    blocks["meta"] = {
        **facts(scores, prepared.title, by, texts, extent.k),
        "queries": queries,
        "docs": documents,
        "lists": list_records(listed, pairs),
        "r": prepared.values["r"],
        "cluster": prepared.values["cluster"],
        "tokens": extent.tokens if pairs else 0,
        "tokens_left_out": prepared.tokens is not None and not pairs,
        "answers": prepared.found is not None,
        "stages": None if ranked is None else {"names": ranked.names, "here": ranked.here},
        "versus": [other.name for other in prepared.versus],
        "bm25": prepared.lexical is not None,
        "hits": _by_pair(
            listed, scores, prepared.hits, ("part", "method", "evidence", "justification"), show_texts
        ),
        "relations": _by_pair(listed, scores, prepared.relations, ("label", "justification"), show_texts),
    }
    return Content(listed, blocks)


def _answered(found: pd.DataFrame | None, query: str) -> int | None:
    """Best rank at which any way of looking found the whole answer."""
    if found is None:
        return None
    ranks = found.loc[(found["query"] == query) & found["answered"], "rank"]
    return int(ranks.min()) if len(ranks) else None


def _words(value: Any, named: bool, show_texts: bool) -> str | None:
    """A cell of a table of texts: a name says if it is missing, a text is None then or where none may be shown."""
    if value is None or value != value:  # NaN
        return NOT_RECORDED if named else None
    return str(value) if named or show_texts else None


def _by_pair(
    found: Lists, scores: Scores, table: pd.DataFrame | None, fields: tuple[str, ...], show_texts: bool
) -> dict[str, dict[str, Any]] | None:
    """Rows of an analysis by query and document of the report; texts are left out where none may be shown."""
    if table is None:
        return None
    number = {scores.queries[row].id: place for place, row in enumerate(found.order)}
    doc_of = {int(column): doc for doc, column in enumerate(found.columns)}
    pairs: dict[str, dict[str, Any]] = {}
    for record in table.to_dict("records"):
        doc = doc_of.get(int(record["column"]))
        if doc is None or record["query"] not in number:
            continue
        values = [_words(record[name], name in ("label", "method", "part"), show_texts) for name in fields]
        of_query = pairs.setdefault(str(number[record["query"]]), {})
        if "label" in fields:
            of_query[str(doc)] = values
        else:
            of_query.setdefault(str(doc), []).append(values)
    return pairs
