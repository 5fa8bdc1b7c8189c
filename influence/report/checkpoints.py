"""F7 between checkpoints: how far the first documents overlap, and the ranks of those that come, go and climb."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from influence.report.figures import Choice, Figure, Matrix, Panel
from influence.report.text import count
from influence.store.formats.tables import read_tables
from influence.store.scores import Scores

_CURVATURE = (
    "Scores of different checkpoints have different curvature: compare ranks and normed scores, not raw size."
)


@dataclass(frozen=True)
class Checkpoints:
    """The stages a run was analysed with.

    Attributes:
        names: In the order of training.
        here: The one whose scores this report shows; None if no stage ranks documents as this run does.
        by: The reading that ranks.
        ranks: Columns query, column, document, source, stage, rank: of the first documents at any stage.
    """

    names: tuple[str, ...]
    here: str | None
    by: str
    ranks: pd.DataFrame


def checkpoints(scores: Scores) -> Checkpoints | None:
    """What `influence analyze stages` left of the ranks along the stages; None if it did not run."""
    tables = read_tables(scores.folder, "stages", ("tops",))
    if tables is None or tables["tops"].empty:
        return None
    ranks = tables["tops"]
    names = tuple(str(name) for name in dict.fromkeys(ranks["stage"]))
    by = str(ranks["by"].iloc[0])
    own = {query.id: int(scores.ranking(query.id, 1, by)[0]) for query in scores.queries}  # type: ignore[arg-type]
    first = ranks[ranks["rank"] == 1]
    here = None
    for name in names:
        part = first[first["stage"] == name]
        if dict(zip(part["query"], part["column"].tolist(), strict=True)) == own:
            here = name
    return Checkpoints(names, here, by, ranks)


def rank_records(scores: Scores, order: list[int], stages: Checkpoints) -> dict[str, Any]:
    """For each query of the report `[document, ranks by stage]` of each of its documents; documents by number."""
    table = stages.ranks.assign(doc=pd.factorize(stages.ranks["column"])[0])
    documents = table.drop_duplicates("doc").sort_values("doc")
    wide = table.pivot(index=["query", "doc"], columns="stage", values="rank")[list(stages.names)]
    of_query: dict[str, list[Any]] = {}
    for (query, doc), ranks in zip(wide.index.tolist(), wide.to_numpy().tolist(), strict=True):
        of_query.setdefault(query, []).append([doc, ranks])
    return {
        "names": list(stages.names),
        "by": stages.by.replace("_", " "),
        "docs": {"id": documents["document"].tolist(), "source": documents["source"].tolist()},
        "ranks": [of_query.get(scores.queries[row].id, []) for row in order],
    }


def overlaps(tables: Mapping[str, pd.DataFrame]) -> Figure | None:
    """The matrix of stages by stages: mean over the queries of the shared part of their top k, and of RBO."""
    agreement = tables["agreement"]
    names = list(dict.fromkeys(tables["facts"]["stage"]))
    shared = [str(name) for name in agreement if str(name).startswith("overlap@")]
    measures = [*dict.fromkeys(shared[:1] + shared[-1:]), "rbo"]
    means = agreement.groupby(["a", "b"], sort=False)[measures].mean()
    if means.empty:
        return None
    table = means.reset_index().melt(["a", "b"], var_name="measure", value_name="mean")
    value = {(a, b, m): v for a, b, m, v in table.itertuples(index=False, name=None)}
    panels = []
    for option, measure in enumerate(measures, 1):
        rows = []
        for a in names:
            cells = (value.get((a, b, measure), value.get((b, a, measure))) for b in names)
            rows.append((a, "", tuple(("1", "") if cell is None else _cell(cell) for cell in cells)))
        matrix = Matrix("stage", tuple(names), tuple(rows), beside="")
        panels.append(Panel(_said(measure), at=(option,), matrix=matrix))
    n = agreement["query"].nunique()
    caption = (
        "Each cell is a pair of stages: the part of the top k documents that both have, or rank-biased overlap (RBO), "
        f"which weighs the first ranks most; 1 is the same documents, 0 none. Mean over n = {count(n)} queries, "
        f"each with its own top k. {_CURVATURE}"
    )
    choices = (Choice("Show", tuple(_said(measure) for measure in measures)),)
    return Figure("stage-overlap", tuple(panels), caption, table, choices)


def _said(measure: str) -> str:
    return "RBO" if measure == "rbo" else measure.replace("overlap@", "overlap of the top ")


def _cell(value: float) -> tuple[str, str]:
    if math.isnan(value):
        return "–", ""
    level = round(10 * value)
    return f"{value:.2f}", f"p{level}" if level else ""
