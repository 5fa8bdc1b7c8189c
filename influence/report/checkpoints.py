"""A series of checkpoints: accuracy, agreement of rankings, R and sources along it, and how ranks climb and fall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from influence.analysis.grouping import wilson
from influence.report.format import count, plain, share_cell
from influence.report.line_charts import BOOTSTRAP, Axes, Series, line_chart
from influence.report.page import Choice, Figure, Matrix, Panel
from influence.store.formats.manifest import fingerprint
from influence.store.formats.tables import made_by, read_tables
from influence.store.scores import Scores

#: What is read of `influence analyze stages`.
CHECKPOINT_TABLES = ("facts", "agreement", "agreement_by_group", "within", "sources")
#: Depth of the lists whose overlap and sources are drawn, where there are more documents.
DEPTH = 50
MOST_LABELS = 4
MOST_SOURCES = 6

_COLUMNS = ["measure", "with", "source", "stage", "label", "value", "low", "high", "n"]
_AGREEMENTS = {f"overlap@{DEPTH}": f"overlap of the top {DEPTH}", "rbo": "RBO", "r": "R of a query's scores"}
_ACCURACY, _WITHIN = "accuracy", "R between the queries of a label"
_WITH = ("first", "previous")


def stages(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Every measure has its own panel, a line a label; the checkpoints in the order given are the horizontal axis."""
    facts = tables["facts"]
    labels = list(dict.fromkeys(facts["label"]))
    shares = _shares(tables["sources"])
    parts = (_accuracy(facts), _agreement(tables["agreement_by_group"]), _within(tables["within"]), shares)
    table = pd.DataFrame([row for part in parts for row in part], columns=_COLUMNS)
    drawn = table[table["label"].isin(labels[:MOST_LABELS]) & table["value"].notna()]
    names = tuple(dict.fromkeys(facts["stage"]))
    compared = [one for one in _WITH if (drawn["with"] == one).any()]
    corpus = dict(zip(tables["sources"]["source"], tables["sources"]["corpus_share"], strict=True))
    panels = [*_measures(drawn, names, compared), *_sources(drawn, names, corpus)]
    choices = (Choice("Agreement with", tuple(f"the {one} stage" for one in compared)),)
    caption = _caption(table, facts, [panel.source for panel in panels if panel.source is not None])
    return Figure("stages", tuple(panels), caption, table, choices if len(compared) > 1 else ())


def _accuracy(facts: pd.DataFrame) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for row in facts.to_dict("records"):
        right, n = row["accuracy"], row["marked"]
        ends = (math.nan, math.nan) if math.isnan(right) else wilson(right * n, n)
        rows.append((_ACCURACY, None, None, row["stage"], row["label"], right, *ends, n))
    return rows


def _agreement(means: pd.DataFrame) -> list[tuple[object, ...]]:
    """Overlap, RBO and R with the first stage, and with the previous one where that is ever another."""
    rows: list[tuple[object, ...]] = []
    for other in _WITH:
        own = means[means["versus"].isin((other, "both"))]
        if other == "previous" and not (own["versus"] == "previous").any():
            continue
        for key, measure in _AGREEMENTS.items():
            for row in own[own["measure"] == key].to_dict("records"):
                values = (row["b"], row["label"], row["mean"], row["low"], row["high"], row["n"])
                rows.append((measure, other, None, *values))
    return rows


def _within(within: pd.DataFrame) -> list[tuple[object, ...]]:
    columns = ["stage", "label", "mean", "low", "high", "pairs"]
    return [(_WITHIN, None, None, *row) for row in within[columns].itertuples(index=False, name=None)]


def _shares(sources: pd.DataFrame) -> list[tuple[object, ...]]:
    """Share of each source in the top k, of the largest k up to 50 that is not all documents; none of one source.

    The interval of a multiplier, times the share of the corpus, is that of the share.
    """
    top = sources[sources["end"] == "top"]
    k = max((k for k in top["k"] if k <= DEPTH and k < top["k"].max()), default=0)
    at_depth = top[top["k"] == k]
    if at_depth["source"].nunique() < 2:
        return []
    return [
        (
            f"share of the top {count(k)}",
            None,
            row["source"],
            row["stage"],
            row["label"],
            row["share"],
            row["low"] * row["corpus_share"],
            row["high"] * row["corpus_share"],
            row["n"],
        )
        for row in at_depth.to_dict("records")
    ]


def _measures(drawn: pd.DataFrame, names: tuple[str, ...], compared: Sequence[str]) -> list[Panel]:
    panels = []
    own = drawn[drawn["source"].isna()]
    parts = own.groupby(["measure", "with"], sort=False, dropna=False)
    for number, ((measure, other), part) in enumerate(parts, 1):
        option = compared.index(other) + 1 if other in compared else 0
        title = f"{measure} with the {other} stage" if option else str(measure)
        over = {_ACCURACY: "share of the queries", _WITHIN: "mean over pairs of queries"}
        axes = Axes(
            "stage",
            over.get(str(measure), "mean over queries"),
            x_log=False,
            names=names,
            y_limits=_limits(str(measure), part),
            band=BOOTSTRAP,
        )
        svg = line_chart(f"stages-{number}", f"{title}, by stage", _series(part, names), axes)
        panels.append(Panel(title, svg, (option,) if len(compared) > 1 else ()))
    return panels


def _limits(measure: str, part: pd.DataFrame) -> tuple[float, float]:
    """All of the scale of a share or an R; of R within a label, which may be small, what it takes, with 0."""
    low, high = min(0.0, float(part["low"].min())), max(0.0, float(part["high"].max()))
    if measure != _WITHIN:
        return (-1.05 if low < 0 else -0.05), 1.05
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _series(part: pd.DataFrame, names: tuple[str, ...]) -> list[Series]:
    """A line a label with its band; of accuracy, with the count in the stead of a band."""
    place = {stage: number for number, stage in enumerate(names)}
    lines = []
    for label, own in part.groupby("label", sort=False):
        x = [place[stage] for stage in own["stage"]]
        if own["measure"].iloc[0] == _ACCURACY:
            n = int(own["n"].iloc[-1])
            end = f"{count(round(own['value'].iloc[-1] * n))}/{count(n)}"
            lines.append(Series(str(label), x, own["value"], end=end))
        else:
            lines.append(Series(str(label), x, own["value"], own["low"], own["high"]))
    return lines


def _sources(drawn: pd.DataFrame, names: tuple[str, ...], corpus: Mapping[str, float]) -> list[Panel]:
    """A panel a source, on one axis: those of the largest shares, in the order of the corpus."""
    own = drawn[drawn["source"].notna()]
    largest = own.groupby("source", sort=False)["value"].max().nlargest(MOST_SOURCES).index
    own = own[own["source"].isin(largest)]
    top = 1.05 * max([float(own["high"].max()), *(corpus[source] for source in largest)])
    panels = []
    for number, (source, part) in enumerate(own.groupby("source", sort=False), 1):
        measure, line = str(part["measure"].iloc[0]), corpus[str(source)]
        title = f"{measure} from {plain(str(source))}, by stage"
        axes = Axes(
            "stage",
            "mean over queries",
            x_log=False,
            y_limits=(-0.05 * top, top),
            y_line=line,
            names=names,
            band=BOOTSTRAP,
        )
        svg = line_chart(f"stages-source-{number}", title, _series(part, names), axes)
        note = f"{measure}; {100 * line:.2g} % of the corpus"
        panels.append(Panel(str(source), svg, note=note, source=str(source)))
    return panels


def _caption(table: pd.DataFrame, facts: pd.DataFrame, sources: Sequence[str]) -> str:
    labels = facts.drop_duplicates("label")
    n = ", ".join(f"{count(n)} {label}" for label, n in zip(labels["label"], labels["queries"], strict=True))
    has = set(table[table["value"].notna()]["measure"])
    sentences = [
        f"The same queries at {count(facts['stage'].nunique())} stages, in the order given",
        _ACCURACY in has
        and "Accuracy: of the queries marked right or wrong; in the data with 95 % Wilson intervals",
        "Agreement of a query's scores with those of an earlier stage: the part of its first documents that both have, "
        "rank-biased overlap (RBO) of the rankings, Pearson R over all documents",
        _WITHIN in has and f"{_WITHIN}: mean over pairs of different queries (n in the data)",
        sources
        and "Sources: their share in the first documents, on one axis; level line: share of the corpus",
        f"Bands: 95 %, bootstrap over queries. n = {n} queries",
        "Scores of different checkpoints have different curvature, so their raw sizes are not comparable: compare "
        "ranks and normed scores",
    ]
    cut = [
        f"{count(most)} of {count(of)} {what}"
        for what, most, of in (
            ("labels", MOST_LABELS, len(labels)),
            ("sources", len(sources), table["source"].nunique()),
        )
        if most < of
    ]
    sentences.append(bool(cut) and f"Drawn are {' and '.join(cut)}; the data have all")
    return " ".join(f"{one}." for one in sentences if one)


_CURVATURE = (
    "Scores of different checkpoints have different curvature: compare ranks and normed scores, not raw size."
)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints a run was analysed with.

    Attributes:
        names: In the order of training.
        here: The one whose scores this report shows.
        by: The reading that ranks.
        ranks: Columns query, column, document, source, stage, rank: of the first documents at any checkpoint.
    """

    names: tuple[str, ...]
    here: str
    by: str
    ranks: pd.DataFrame


def checkpoints(scores: Scores) -> Checkpoints | None:
    """What `influence analyze stages` left of the ranks along the checkpoints; None if it did not run."""
    tables = read_tables(scores.folder, "stages", ("tops",))
    if tables is None or tables["tops"].empty:
        return None
    ranks = tables["tops"]
    names = tuple(str(name) for name in dict.fromkeys(ranks["stage"]))
    by = str(ranks["by"].iloc[0])
    made = made_by(scores.folder / "analysis" / "stages" / "tops.parquet")["runs"]
    own = fingerprint(scores.manifest)  # `read_tables` has refused tables that are not of this run
    here = [name for name, run in zip(names, made, strict=True) if run["fingerprint"] == own][-1]
    return Checkpoints(names, here, by, ranks)


def rank_records(scores: Scores, order: list[int], stages: Checkpoints) -> dict[str, Any]:
    """For each query of the report `[document, ranks by checkpoint]` of each of its documents; documents by number."""
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
    """The matrix of checkpoints by checkpoints: mean over the queries of the shared part of their top k, and of RBO."""
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
            rows.append((a, "", tuple(("1", "") if cell is None else share_cell(cell) for cell in cells)))
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
