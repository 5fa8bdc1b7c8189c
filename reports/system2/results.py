"""What a reader opens: findings.md, results.json, and a CSV of each table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from influence.files import whole_file
from influence.store.artefact import write_json
from reports.kit.markdown import markdown_table, short_number, with_interval
from reports.system2.scales import Scale, TaskScale
from reports.system2.tables import RULE

PAPER = "*Distilling System 2 into System 1* (Yu, Xu, Weston, Kulikov, arXiv 2407.06023)"
_HOW = (
    "No large model is asked here. A small one reads a text in which questions are rephrased and then answered, mostly "
    "right, and in which they are answered at once in haste, mostly wrong: so it has a System 2 (`rar2`: rephrase, "
    "then answer) that is good and a System 1 that is poor. It then answers unlabelled questions by System 2, a "
    "majority of its samples filters them, and the same model is tuned to give the answers at once. Published numbers "
    "are those of a large model on the same kind of task: compare the order, not the size."
)
UNCERTAINTY = (
    "Values are means over seeds with a 95 % interval that draws seeds and, within each, test inputs anew (2,000 "
    "times). A seed is a text, a model, a task and all that follows. Tokens are all that is generated for an input, "
    "rephrasings and voted samples included."
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
        "# Distilling System 2 into System 1\n",
        f"The comparison and the controls of {PAPER}, {seeds} seed{'s' * (seeds > 1)}.\n",
        f"```\n{made_by['command']}\n```\n",
        f"influence {made_by['version']}, commit {made_by['commit'] or 'unknown'}; {made_by['machine']}; "
        f"at most {made_by['parameters']:,} parameters; {made_by['hours']:.2f} hours.\n",
        f"{_HOW}\n\n{UNCERTAINTY}\n\n{RULE}\n",
    ]
    for task in scale.tasks:
        parts += _task(task, {name: table[table["task"] == task.title] for name, table in tables.items()})
    return "\n".join(parts)


def _task(task: TaskScale, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    expected = (
        " Answers alone are expected to fail here, as they did for the paper on arithmetic."
        if task.expected_to_fail
        else ""
    )
    return [
        f"## {task.title}\n",
        f"{task.train:,} unlabelled inputs, {task.samples} samples each, {task.test:,} to test on.{expected} A report "
        f"of each seed lies in `seed-N/{task.name}/report.html`.\n",
        _models(tables["models"]),
        "### Effects\n",
        _effects(tables["effects"]),
        "### What the tool says, seed by seed\n",
        markdown_table(
            ["internaliser", "verdict"],
            [[row["internaliser"], row["verdicts"]] for row in tables["verdicts"].to_dict("records")],
        ),
    ]


def _models(table: pd.DataFrame) -> str:
    rows = [
        [
            row["model"],
            short_number(row["published"]),
            with_interval(row, "accuracy", "accuracy_low", "accuracy_high"),
            f"{short_number(row['least'])} to {short_number(row['most'])}",
            short_number(row["tokens"]),
        ]
        for row in table.to_dict("records")
    ]
    return markdown_table(["model", "published", "accuracy", "seeds from, to", "tokens"], rows)


def _effects(table: pd.DataFrame) -> str:
    rows = [
        [row["effect"], with_interval(row, "contrast"), row["appears"]] for row in table.to_dict("records")
    ]
    return markdown_table(["the effect", "contrast", "appears here"], rows)
