"""The files a reader opens: CSV tables, results.json, findings.md with its head, tables and numbers, and figures."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        part.write_text(wrapped(page), encoding="utf-8")


def wrapped(page: str, width: int = 120) -> str:
    """A page of Markdown whose lines have at most `width` characters, so that a diff can be read.

    A line is broken only where it is too long. Rows of tables and what stands in a fence stay as they are.
    """
    lines: list[str] = []
    fenced = False
    for line in page.split("\n"):
        fenced ^= line.startswith("```")
        if fenced or line.startswith("|") or len(line) <= width:
            lines.append(line)
        else:
            indent = "  " * line.startswith("- ")
            lines += textwrap.wrap(
                line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
    return "\n".join(lines)


_METHOD = (
    "Intervals of two or more seeds are t-intervals over seeds, and never narrower than resampling queries makes the "
    "mean; with one seed, queries alone are resampled. `results.json` has the value of each seed."
)


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
        "\n\n".join([*texts, _METHOD]) + "\n",
    ]


def with_interval(record: Mapping[Any, Any], value: str, prefix: str = "") -> str:
    """A value of a record with its interval, where there is one; the columns are those of `Interval.columns`."""
    if not np.isfinite(record[value]):
        return "–"
    low, high = record[f"{prefix}low"], record[f"{prefix}high"]
    if not np.isfinite(low):
        return short_number(record[value])
    return f"{short_number(record[value])} [{short_number(low)}, {short_number(high)}]"


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


@contextmanager
def svg_axes(path: Path) -> Iterator[Any]:
    """Axes whose figure becomes an SVG: the same table gives the same bytes."""
    with svg_panels(path, 1) as (axes,):
        yield axes


@contextmanager
def svg_panels(path: Path, count: int) -> Iterator[list[Any]]:
    """`count` axes beside each other, each with its own scale, whose figure becomes an SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "influence", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        panels = list(figure.subplots(1, count, squeeze=False)[0])
        for axes in panels:
            axes.spines[["top", "right"]].set_visible(False)
        yield panels
        with whole_file(path) as part:
            figure.savefig(part, format="svg", metadata={"Date": None})
