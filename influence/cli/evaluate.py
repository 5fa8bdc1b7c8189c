"""`influence evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.command import Command
from influence.cli.internalize import TASK
from influence.cli.options import device_options, json_option, options_from
from influence.train.settings import EvaluationSettings

if TYPE_CHECKING:
    import pandas as pd


@click.command(
    "evaluate",
    cls=Command,
    shown={"Options": ("task", "no_cot", "split", "limit")},
    example="influence evaluate runs/icot --task data/mult4 --no-cot runs/no-cot",
)
@click.argument("stages", nargs=-1, required=True, type=click.Path(path_type=Path))
@TASK
@click.option(
    "--no-cot",
    type=click.Path(path_type=Path),
    help="Run without chain of thought whose speed is 1.  [default: speed in examples a second only]",
)
@options_from(EvaluationSettings, name="settings", without=("dtype", "device"))
@device_options
@json_option("Print the table of stages as JSON, for programs.")
def evaluate(
    stages: tuple[Path, ...],
    task: Path,
    no_cot: Path | None,
    settings: EvaluationSettings,
    as_json: bool,
    **place: Any,
) -> None:
    """Measure STAGES of internalisation, folders such as RUN/stage-008, or runs with all their stages.

    Accuracy is the exact match of the greedily decoded answer; speed is examples a second of generation, one at a
    time. Results lie in each run: evaluation.json and .csv, the page evaluation.html, and figures/. Runs of one method
    that are evaluated together, such as several seeds, are pooled. What was evaluated before is not evaluated again.
    """
    from transformers.utils import logging

    from influence.analysis.internalization import pooled_rows, read_evaluation, stage_rows
    from influence.data.tasks.folder import read_task
    from influence.report.internalization import write_results
    from influence.train.evaluate import evaluate as run

    logging.disable_progress_bar()  # one for each stage that is loaded
    runs = run(stages, read_task(task), no_cot=no_cot, settings=dataclasses.replace(settings, **place))
    evaluations = [read_evaluation(folder) for folder in runs]
    rows = stage_rows(evaluations)
    pages = [
        write_results(evaluation, [other for other in evaluations if other is not evaluation])
        for evaluation in evaluations
    ]
    if as_json:
        click.echo(rows.to_json(orient="records", indent=1))
        return
    click.echo(_table(rows))
    pooled = pooled_rows(rows)
    if (pooled["runs"] > 1).any():
        click.echo("\nMean over runs, and from the least to the most of them:")
        click.echo(_pooled_table(pooled[pooled["runs"] > 1]))
    for page in pages:
        click.echo(f"Report: {page}")


def _table(rows: pd.DataFrame) -> str:
    """A line a stage: accuracy with its interval, token accuracy, generated tokens, speeds."""
    head = ("run", "removed", "exact match", "tokens", "generated", "examples/s", "relative speed")
    lines: list[tuple[str, ...]] = [head]
    for row in rows.to_dict("records"):
        lines.append(
            (
                str(row["run"]),
                f"{row['removed']:,}",
                _between(row, "accuracy", 3),
                f"{row['token_accuracy']:.3f}",
                f"{row['generated_tokens']:.1f}",
                "–" if row["timed"] == 0 else f"{row['examples_per_second']:.1f}",
                _between(row, "relative_speed", 2),
            )
        )
    return _aligned(lines)


def _pooled_table(pooled: pd.DataFrame) -> str:
    lines: list[tuple[str, ...]] = [("method", "removed", "runs", "exact match", "tokens", "relative speed")]
    for row in pooled.to_dict("records"):
        spread = [_spread(row, name) for name in ("accuracy", "token_accuracy", "relative_speed")]
        lines.append((str(row["method"]), f"{row['removed']:,}", str(row["runs"]), *spread))
    return _aligned(lines)


def _between(row: Any, name: str, digits: int) -> str:
    if row[name] != row[name]:  # NaN: not measured
        return "–"
    return f"{row[name]:.{digits}f} ({row[f'{name}_low']:.{digits}f}–{row[f'{name}_high']:.{digits}f})"


def _spread(row: Any, name: str) -> str:
    if row[name] != row[name]:
        return "–"
    return f"{row[name]:.3f} ({row[f'{name}_least']:.3f}–{row[f'{name}_most']:.3f})"


def _aligned(lines: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
