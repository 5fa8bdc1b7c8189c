"""The sections of a score report: for each its question, its figures, what this run says, and what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from influence.report.answers import Answers, answers
from influence.report.checkpoint_views import checkpoint_list, checkpoint_views
from influence.report.checkpoints import CHECKPOINT_TABLES, overlaps, stages
from influence.report.concentration import cumulative, curves
from influence.report.correlations import Correlations, Significance, correlations, significance
from influence.report.findings import (
    answers_finding,
    correlation_finding,
    cumulative_finding,
    curves_finding,
    pair_finding,
    sources_finding,
)
from influence.report.format import count, plain
from influence.report.page import Finding, Place, Section
from influence.report.run_card import Check, checks
from influence.report.sources import source_bars, source_multipliers
from influence.report.two_runs import pair
from influence.store.formats.tables import read_tables
from influence.store.formats.validation import EXACT, VALIDATION
from influence.store.scores import Scores
from influence.types import Reading


@dataclass(frozen=True)
class Views:
    """What a score report shows of all its queries, the same for every extent.

    Attributes:
        sections: In the order of the page.
        relations: Counts of the labels a judge gave, a row a group and label; None if that analysis did not run.
        data: Table of each figure by its key.
    """

    sections: tuple[Section, ...]
    correlation: Correlations
    significance: Significance | None
    answers: Answers | None
    relations: list[dict[str, Any]] | None
    checks: list[Check]
    data: dict[str, pd.DataFrame]


def views(scores: Scores, by: Reading) -> Views:
    """Compute and draw the sections of a report of `scores`.

    Raises:
        StoreError: a table of an analysis is damaged.
    """
    correlated, sure = correlations(scores, by), significance(scores.folder)
    answered = read_tables(scores.folder, "answers", ("hits", "found"))
    answered_queries = answers(scores, answered) if answered is not None else None
    related = read_tables(scores.folder, "relations", ("relations", "counts"))
    counts = related["counts"] if related is not None else None
    rows: Any = counts[counts["count"] > 0].to_dict("records") if counts is not None else None
    checked = {
        name: tables["checks"]
        for name in ("sanity", VALIDATION, EXACT)
        if (tables := read_tables(scores.folder, name, ("checks",))) is not None
    }
    sections = (
        _correlation(scores, by, correlated, sure),
        _curves(scores, by),
        _sources(scores, by),
        _answers(answered_queries),
        _relations(rows),
        _stages(scores),
        *_two_runs(scores),
    )
    figures = [place.figure for section in sections for place in section.places]
    data = {figure.key: figure.table for figure in figures if figure is not None}
    if correlated.figure is not None:
        data["correlation"] = correlated.table
    if answered_queries is not None and answered_queries.figure.panels:
        data["answers-queries"] = answered_queries.queries
    if counts is not None:
        data["relations"] = counts.rename(columns={"label": "relation", "group": "label"})
    return Views(sections, correlated, sure, answered_queries, rows, checks(scores, checked), data)


def _correlation(scores: Scores, by: Reading, correlated: Correlations, sure: Significance | None) -> Section:
    question = (
        f"Do two queries draw on the same documents? Pearson R between their {by.replace('_', ' ')} scores over all "
        f"{_documents(scores)}. Queries of one procedure should correlate; queries of unrelated facts should not."
    )
    left_out = (
        ""
        if sure is not None
        else "Intervals and permutations of the means of single pairs of tasks: influence analyze correlation "
        "computes them."
    )
    finding = correlation_finding(scores, correlated)
    place = Place(correlated.contrast.figure, "How R is distributed")
    return Section("correlation", "Correlation", question, (place,), _some(finding), left_out)


def _curves(scores: Scores, by: Reading) -> Section:
    summed, fallen = cumulative(scores), curves(scores, by)
    places = (
        Place(
            summed,
            "Influence summed over the first documents",
            absent="No score is positive or negative: there is nothing to sum.",
        ),
        Place(
            fallen,
            "Score against rank",
            lead="The steeper the line, the more the first documents stand out.",
            absent="No curve: it takes three documents, and a query with positive scores.",
            narrow=True,
        ),
    )
    findings = _some(cumulative_finding(summed, scores.documents_scored), curves_finding(fallen))
    question = "How much influence do the first documents hold, and how fast does it fall?"
    return Section("curves", "Concentration", question, places, findings)


def _sources(scores: Scores, by: Reading) -> Section:
    figure = source_multipliers(scores, by)
    return Section(
        "sources",
        "Sources",
        "",
        (
            Place(source_bars(figure.table, by) if figure is not None else None, narrow=True),
            Place(figure, "Against k"),
        ),
        _some(sources_finding(figure, scores.documents_scored)),
    )


def _answers(shown: Answers | None) -> Section:
    if shown is None:
        absent = (
            "Whether the top documents hold the answer was not looked into: run influence analyze answers on the "
            "store, then write the report again."
        )
        place = Place(None, absent=absent)
        return Section("answers", "Answers", "", (place,), (), _not_run("answers", "answers"))
    place = Place(shown.figure, absent="No query asks for an answer that could be found.")
    question = "Does the answer stand in the top documents?" if shown.figure.panels else ""
    return Section("answers", "Answers", question, (place,), _some(answers_finding(shown.figure)))


def _relations(rows: list[dict[str, Any]] | None) -> Section:
    if rows:
        question = (
            "How do the top documents relate to the query? Labels of a judge model, the justification stands "
        )
        return Section("relations", "Relations", question + "with each document.")
    absent = (
        "No document was judged."
        if rows is not None
        else "How the top documents relate to their queries was not judged: run influence analyze relations with a "
        "judge model on the store, then write the report again."
    )
    left_out = _not_run("relations", "kinds of documents") if rows is None else ""
    return Section("relations", "Relations", "", (Place(None, absent=absent),), (), left_out)


def _stages(scores: Scores) -> Section:
    tables = read_tables(scores.folder, "stages", CHECKPOINT_TABLES)
    listed = checkpoint_list(scores.folder)
    places = [Place(listed)] if listed is not None else []
    if tables is None:
        absent = (
            "One checkpoint: run influence analyze stages on the stores of several, the last of them this one, then "
            "write the report again."
        )
        places.append(Place(None, absent=absent))
    else:
        absent = "No query was marked right or wrong at any stage, and no agreement is defined."
        places.append(Place(stages(tables), absent=absent, narrow=True))
        places.append(Place(overlaps(tables), "Overlap of the stages"))
    places += [Place(figure, title, narrow=True) for title, figure in checkpoint_views(scores.folder)]
    shown = tuple(place for place in places if place.figure is not None or place.absent)
    question = "What changes between checkpoints?" if tables is not None else ""
    left_out = _not_run("stages", "stages of training") if tables is None else ""
    return Section("stages", "Stages", question, shown, (), left_out)


def _two_runs(scores: Scores) -> list[Section]:
    """The section on this run and another, where the two were compared."""
    compared = pair(scores)
    if compared is None:
        return []
    drawn = [figure for figure in compared.figures if figure.panels]
    headings = ("Agreement", "Ratio of the scores")
    places = tuple(Place(figure, heading) for figure, heading in zip(drawn, headings, strict=False))
    question = (
        f"Do {plain(compared.a, 40)} and {plain(compared.b, 40)} draw on the same documents for the same prompts, and "
        "as strongly?"
    )
    nothing = (Place(None, absent="R between the two is not defined for any query."),)
    finding = pair_finding(compared.figures[0], compared.a, compared.b)
    return [Section("pair", "Two runs", question, places or nothing, _some(finding))]


def _some(*findings: Finding | None) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding is not None)


def _documents(scores: Scores) -> str:
    n = scores.documents_scored
    return f"{count(n)} document{'s' if n != 1 else ''}"


def _not_run(name: str, what: str) -> str:
    return f"Analysis of {what}: influence analyze {name} was not run for it."
