"""What a reader opens: findings.md, results.json, and a CSV of each table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from influence.files import whole_file
from influence.store.artefact import write_json
from influence.subjects.scoring import ANSWER_ONLY, AS_ASKED
from reports.kit.markdown import markdown_table, short_number, with_interval
from reports.stages.measured import WHAT
from reports.stages.scales import Scale
from reports.stages.tables import RULE

_HOW = (
    "A model learns to do without its chain of thought, stage by stage. At each stage, and at the end of two controls "
    "that saw as many examples, every document is scored for the same questions; a Hessian is fitted on each "
    "checkpoint. Documents are training examples in several forms. *Answer only* asks for the answer with no chain at "
    "every stage; *as asked* for what the stage was trained to write. Preferences are probabilities that a document of "
    "one set ranks above one of another, by normed score; 0.5 is none. docs/stages.md says what the sets are."
)


def write_results(
    out: Path, scale: Scale, made_by: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]
) -> None:
    """Write the tables as CSV, all of them as `results.json`, and the readable ones as `findings.md`, last."""
    for name, table in tables.items():
        with whole_file(out / f"{name}.csv") as part:
            table.to_csv(part, index=False, float_format="%.6g")
    records = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    write_json(out / "results.json", {**made_by, "settings": scale.config(), "tables": records})
    with whole_file(out / "findings.md") as part:
        part.write_text(findings_page(scale, made_by, tables), encoding="utf-8")


def findings_page(scale: Scale, made_by: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """The findings as Markdown."""
    seeds = made_by["seeds"]
    parts = [
        "# Influence along the stages of internalisation\n",
        f"{scale.title[0].upper()}{scale.title[1:]}; model: {scale.model}; {seeds} seed{'s' * (seeds > 1)}.\n",
        f"```\n{made_by['command']}\n```\n",
        f"influence {made_by['version']}, commit {made_by['commit'] or 'unknown'}; {made_by['machine']}; "
        f"{made_by['hours']:.2f} hours.\n",
        f"{_HOW}\n\n{RULE}\n",
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
        [row["question"], with_interval(row, "contrast"), _spread(row), row["answer"]]
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


def _spread(row: Mapping[Any, Any]) -> str:
    return f"{short_number(row['least'])} to {short_number(row['most'])}"
