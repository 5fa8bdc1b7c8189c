"""`metrics.jsonl`: what a training measured, a line a step or an epoch, in the order of the steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from influence.errors import StoreError
from influence.store.lines import Lines

METRICS = "metrics.jsonl"


class MetricsLine(msgspec.Struct, frozen=True):
    """What every line has; the trainer decides which numbers stand beside it.

    Attributes:
        step: Optimizer steps that were done.
        epoch: Passes over the examples, with fractions.
    """

    step: int
    epoch: float


def add_metrics(folder: Path, line: Mapping[str, Any]) -> None:
    """Add a line to the metrics of a training."""
    msgspec.convert(line, MetricsLine)
    Lines(folder / METRICS).append(line)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics of a training; none where there is no file.

    Raises:
        StoreError: A line is no line of metrics.
    """
    lines = Lines(folder / METRICS).read()
    try:
        msgspec.convert(lines, list[MetricsLine])
        return lines
    except msgspec.ValidationError as error:
        raise StoreError(
            f"{folder / METRICS} is no file of metrics.",
            have=str(error),
            fix="Restore it from a copy, or train again.",
        ) from error


def cut_metrics(folder: Path, step: int) -> None:
    """Forget the lines after `step`, from where a killed run goes on."""
    if (folder / METRICS).exists():
        lines = read_metrics(folder)
        Lines(folder / METRICS).rewrite(
            line for line in lines if msgspec.convert(line, MetricsLine).step <= step
        )
