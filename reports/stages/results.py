"""The page of the findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from influence.subjects.questions import ANSWER_ONLY, AS_ASKED
from reports.kit.page import markdown_table, page_head, short_number, span, with_interval
from reports.stages.metrics import WHAT
from reports.stages.scales import Scale
from reports.stages.tables import RULE

_HOW = (
    "A model learns to do without its chain of thought, stage by stage. At each stage, and at the end of two controls "
    "that saw as many examples, every document is scored for the same questions; a Hessian is fitted on each "
    "checkpoint. Documents are training examples in several forms. *Answer only* asks for the answer with no chain at "
    "every stage; *as asked* for what the stage was trained to write. Preferences are probabilities that a document of "
    "one set ranks above one of another, by normed score; 0.5 is none. docs/stages.md says what the sets are."
)


def findings_page(scale: Scale, made_by: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """The findings as Markdown."""
    parts = [
        *page_head(
            "Influence along the stages of internalisation",
            f"{scale.title[0].upper()}{scale.title[1:]}; model: {scale.model};",
            made_by,
            f"{made_by['hours']:.2f} hours",
            [_HOW, RULE],
        ),
        "## Questions\n",
        _questions(tables["questions"]),
        "## Along the stages\n",
        *(
            part
            for label in (ANSWER_ONLY, AS_ASKED)
            for part in (f"### {label}\n", _stages(tables["stages"], label))
        ),
        "## Stages in shuffled order\n",
        "p: share of all orders of the stages whose slope is as large as that of the true order, of either sign.\n",
        _trends(tables["trends"]),
        "## Kinds of documents, answer only\n",
        _kinds(tables["kinds"]),
        "## What can be read, before the answer, in the last layer\n",
        _probes(tables["probes"]),
        "Each seed has its page: `seed-N/stages.html`.\n",
    ]
    return "\n".join(parts)


def _questions(table: pd.DataFrame) -> str:
    rows = [
        [row["question"], with_interval(row, "contrast"), span(row), row["answer"]]
        for row in table.to_dict("records")
    ]
    return markdown_table(["question", "contrast", "seeds from, to", "answer"], rows)


def _stages(table: pd.DataFrame, label: str) -> str:
    own = table[table["label"] == label]
    rows = []
    for stage, part in own.groupby("stage", sort=False):
        by_measure = {row["measure"]: row for row in part.to_dict("records")}
        cells = [with_interval(by_measure[measure], "value") for measure in ("accuracy", *WHAT)]
        rows.append([str(stage), *cells])
    return markdown_table(["checkpoint", "accuracy", *WHAT], rows)


def _trends(table: pd.DataFrame) -> str:
    rows = [
        [str(row["seed"]), row["label"], row["measure"], with_interval(row, "slope"), short_number(row["p"])]
        for row in table.to_dict("records")
    ]
    return markdown_table(["seed", "asked", "preference", "slope a stage", "p"], rows)


def _kinds(table: pd.DataFrame) -> str:
    own = table[table["label"] == ANSWER_ONLY]
    stages = list(dict.fromkeys(own["stage"]))
    rows = []
    for (measure, kind), part in own.groupby(["measure", "kind"], sort=False):
        share = dict(zip(part["stage"], part["share"], strict=True))
        rows.append([str(measure), str(kind), *(short_number(share[stage]) for stage in stages)])
        rows[-1].insert(2, short_number(float(part["corpus_share"].mean())))
    return markdown_table(["share of", "kind", "corpus", *map(str, stages)], rows)


def _probes(table: pd.DataFrame) -> str:
    if table.empty:
        return "Not probed.\n"
    own = table[(table["place"] == "mark") & (table["layer"] == table["layer"].max())]
    stages = list(dict.fromkeys(own["stage"]))
    rows = []
    for quantity, part in own.groupby("quantity", sort=False):
        value = dict(zip(part["stage"], part["value"], strict=True))
        rows.append([str(quantity), *(short_number(value[stage]) for stage in stages)])
    return markdown_table(["quantity", *map(str, stages)], rows)
