"""The files a reader opens: CSV tables, results.json, and findings.md with its head, tables and numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence.files import whole_file
from influence.store.artefact import write_json


def write_results(
    out: Path,
    settings: Mapping[str, Any],
    made_by: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    page: str,
) -> None:
    """Write the tables as CSV, all of them as `results.json`, and the page as `findings.md`, last.

    Args:
        settings: The scale.
        made_by: The record of `influence.provenance`, with seeds, hours and seconds of each step.
    """
    for name, table in tables.items():
        with whole_file(out / f"{name}.csv") as part:
            table.to_csv(part, index=False, float_format="%.6g")
    records = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    write_json(out / "results.json", {**made_by, "settings": settings, "tables": records})
    with whole_file(out / "findings.md") as part:
        part.write_text(page, encoding="utf-8")


def page_head(
    title: str, subject: str, made_by: Mapping[str, Any], effort: str, texts: Sequence[str]
) -> list[str]:
    """The parts that every page begins with: title, subject and seeds, command, program and machine, how to read it.

    Args:
        subject: What the study is about, up to its punctuation before the number of seeds.
        effort: What the results took, such as "1.50 hours".
        texts: Paragraphs.
    """
    return [
        f"# {title}\n",
        f"{subject} {made_by['seeds']} seed{'s' * (made_by['seeds'] > 1)}.\n",
        f"```\n{made_by['command']}\n```\n",
        f"influence {made_by['version']}, commit {made_by['commit'] or 'unknown'}; {made_by['machine']}; {effort}.\n",
        "\n\n".join(texts) + "\n",
    ]


def with_interval(record: Mapping[Any, Any], value: str, low: str = "low", high: str = "high") -> str:
    """A value of a record with its interval, where there is one."""
    if not np.isfinite(record[value]):
        return "–"
    if not np.isfinite(record[low]):
        return short_number(record[value])
    return f"{short_number(record[value])} [{short_number(record[low])}, {short_number(record[high])}]"


def span(record: Mapping[Any, Any]) -> str:
    """The least and the most of a record's seeds."""
    return f"{short_number(record['least'])} to {short_number(record['most'])}"


def short_number(value: float) -> str:
    """Three digits; a dash for NaN."""
    return "–" if not np.isfinite(value) else f"{value:.3g}".replace("-", "−")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [" | ".join(head), "|".join(["---"] * len(head)), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" if "---|" not in line else f"|{line}|" for line in lines) + "\n"
