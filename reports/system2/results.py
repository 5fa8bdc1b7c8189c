"""The page of the findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.kit.page import markdown_table, page_head, short_number, span, with_interval
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


def findings_page(scale: Scale, made_by: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """The findings as Markdown."""
    parts = page_head(
        "Distilling System 2 into System 1",
        f"The comparison and the controls of {PAPER},",
        made_by,
        f"at most {made_by['parameters']:,} parameters; {made_by['hours']:.2f} hours",
        [_HOW, UNCERTAINTY, RULE],
    )
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
            with_interval(row, "accuracy", "accuracy_"),
            span(row),
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
