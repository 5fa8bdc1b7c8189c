"""The page of the findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.internalization.published import PUBLISHED
from reports.internalization.scales import METHODS, Scale, TaskRuns
from reports.internalization.tables import RULE
from reports.kit.page import markdown_table, page_head, short_number, span, with_interval

PAPER = (
    "*From Explicit CoT to Implicit CoT: Learning to Internalize CoT Step by Step* "
    "(Deng, Choi, Shieber, arXiv 2405.14838)"
)
UNCERTAINTY = (
    "Values are means over seeds with a 95 % interval that draws seeds and, within each, test problems anew (2,000 "
    "times). Every seed trains on the same task: it seeds weights, order and draws. With one seed only problems vary; "
    "with few seeds the interval says little of the spread between them, so the least and the most are shown too."
)
_HOW = (
    "Accuracy is the exact match of greedily decoded answers to unseen problems; speed is examples a second of "
    "generation at batch size 1, over that of no CoT on the same problems, timed by turns. `stepwise` removes tokens "
    "linearly in time, as published; `adaptive` removes the next once the model has recovered from the last. Shown "
    "is the last stage of each run."
)


def findings_page(scale: Scale, made_by: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """The findings as Markdown."""
    parts = page_head(
        "Internalising a chain of thought step by step",
        f"The comparison and the ablations of {PAPER},",
        made_by,
        f"{made_by['hours']:.2f} hours of training",
        [_HOW, UNCERTAINTY, RULE],
    )
    for task in scale.tasks:
        parts += _task(task, {name: table[table["task"] == task.title] for name, table in tables.items()})
    parts += [
        "## Published, and not measured here\n",
        "Accuracy and relative speed of GPT-2 small, pretrained.\n",
        _not_measured({task.problem for task in scale.tasks}),
    ]
    return "\n".join(parts)


def _task(task: TaskRuns, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    return [
        f"## {task.title[0].upper()}{task.title[1:]}\n",
        f"Model: {task.model}; {_recipe(task)}.\n",
        _methods(tables["methods"]),
        f"![Accuracy against removed tokens]({task.name}-ablations.svg)\n",
        _ablations(task),
        f"![Accuracy against speed]({task.name}-trade-off.svg)\n",
        "### Effects\n",
        _effects(tables["effects"]),
    ]


def _ablations(task: TaskRuns) -> str:
    if not task.ablations:
        return "No ablations were run on this task.\n"
    return (
        f"Ablations change one thing in `{task.ablated}`; `larger-delta` has Δ = {task.larger_delta:g} instead of "
        f"{task.stepwise.delta:g} in `stepwise`.\n"
    )


def _recipe(task: TaskRuns) -> str:
    settings = task.stepwise
    return (
        f"batches of {settings.batch_size}, learning rate {settings.lr:g}; stepwise: {settings.explicit_epochs:g} "
        f"epochs with the whole chain, then Δ = {settings.delta:g} tokens an epoch, {settings.after_epochs:g} epochs "
        f"after; explicit CoT {task.explicit_epochs:g} epochs, no CoT {task.no_cot_epochs:g}"
    )


def _methods(table: pd.DataFrame) -> str:
    rows = [
        [
            record["method"],
            f"{record['removed']} of {record['total']}",
            short_number(record["published"]),
            with_interval(record, "accuracy", "accuracy_"),
            span(record),
            short_number(record["published_speed"]),
            with_interval(record, "speed", "speed_"),
            short_number(record["generated"]),
            f"{record['trained_on']:,.0f}",
            "–" if not np.isfinite(record["capped"]) else f"{record['capped']:.0%}",
        ]
        for record in table.to_dict("records")
    ]
    rows += [[name, *["not measured"] * 9] for name in METHODS if name not in set(table["method"])]
    head = [
        "method",
        "removed",
        "published",
        "accuracy",
        "seeds from, to",
        "published speed",
        "speed",
        "tokens",
        "examples trained on",
        "stages ended by the cap",
    ]
    return markdown_table(head, rows)


def _effects(table: pd.DataFrame) -> str:
    rows = [
        [
            record["what"],
            record["published"],
            with_interval(record, "here"),
            record["claim"],
            with_interval(record, "contrast", "contrast_"),
            record["appears"] + (f": {record['why']}" if record["why"] else ""),
        ]
        for record in table.to_dict("records")
    ]
    return markdown_table(["what", "published", "here", "the effect", "contrast", "appears here"], rows)


def _not_measured(measured: set[str | None]) -> str:
    rows = []
    for problem, methods in PUBLISHED.items():
        if problem not in measured:
            cells = [methods.get(name) for name in METHODS[:4]]
            rows.append([problem, *(_cell(cell) for cell in cells), "not measured"])
    return markdown_table(["problem", *METHODS[:4], "here"], rows)


def _cell(cell: tuple[float, float | None] | None) -> str:
    if cell is None:
        return "–"
    return f"{cell[0]:.2f}" + ("" if cell[1] is None else f" / {cell[1]:.2f}")
