"""Figures of an internalisation run, each with the table it is drawn from, and generations of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.internalization import StageEvaluation, pooled_rows
from influence.report.charts import Curve, trade_off
from influence.report.format import clip, count, share_cell
from influence.report.line_charts import Axes, Series, line_chart
from influence.report.page import Figure, Matrix, Panel
from influence.store.formats.training import Sample

#: Points of a curve, rows and columns of the table of positions: more are thinned out or left out.
MOST_POINTS, MOST_ROWS, MOST_POSITIONS = 400, 100, 32
#: A curve of more points has no markers.
MOST_MARKED = 40

_LIMITS = (-0.03, 1.03)
_BOOTSTRAP = "bootstrap over examples"
_BARS = "Bars and bands: 95 % intervals (Wilson for exact match, else bootstrap over examples)."


def accuracy_figure(rows: pd.DataFrame, unit: str) -> Figure:
    """Exact match and token accuracy of the greedy answer, and generated tokens, against what is removed."""
    x = rows["removed"]
    series = [_series(rows, name, label) for name, label in _ACCURACIES.items()]
    axes = Axes(
        f"removed {unit}",
        "share right",
        x_log=False,
        y_limits=_LIMITS,
        band=f"95 %, Wilson; tokens: {_BOOTSTRAP}",
    )
    panels = [
        Panel("Greedy answers", line_chart("evaluated-accuracy", "Accuracy by removed tokens", series, axes)),
        Panel(
            "Generated tokens",
            line_chart(
                "evaluated-tokens",
                "Generated tokens by removed tokens",
                [_series(rows, "generated_tokens", "tokens")],
                Axes(
                    f"removed {unit}",
                    "mean tokens of a generation",
                    x_log=False,
                    y_limits=_from_zero(rows),
                    band=f"95 %, {_BOOTSTRAP}",
                ),
            ),
        ),
    ]
    n = count(int(rows["examples"].max()))
    caption = (
        f"{len(x)} stages, each on the same {n} examples, greedily decoded. {_BARS} Data: evaluation.csv."
    )
    return Figure("evaluated", tuple(panels), caption, rows)


_ACCURACIES = {"accuracy": "exact match", "token_accuracy": "tokens"}


def _series(rows: pd.DataFrame, name: str, label: str) -> Series:
    return Series(label, rows["removed"], rows[name], rows[f"{name}_low"], rows[f"{name}_high"])


def _from_zero(rows: pd.DataFrame) -> tuple[float, float]:
    return 0.0, 1.08 * float(rows["generated_tokens_high"].max())


def training_figure(metrics: pd.DataFrame) -> Figure | None:
    """Loss, teacher-forced accuracy and removed tokens along the training; None where it left no metrics."""
    if metrics.empty or "step" not in metrics:
        return None
    lines = metrics.sort_values("step", kind="stable").reset_index(drop=True)
    drawn = lines.iloc[spread(range(len(lines)), MOST_POINTS)]
    panels = []
    for key, title, y, names in _TRAINING:
        known = {name: label for name, label in names.items() if name in drawn and drawn[name].notna().any()}
        if not known:
            continue
        series = [
            Series(label, drawn["step"], drawn[name].astype(float), marked=len(drawn) <= MOST_MARKED)
            for name, label in known.items()
        ]
        limits = _LIMITS if key == "accuracies" else None
        axes = Axes("optimizer step", y, x_log=False, y_limits=limits)
        panels.append(Panel(title, line_chart(f"training-{key}", f"{title} by step", series, axes)))
    thinned = f", {count(len(drawn))} of them drawn" if len(drawn) < len(lines) else ""
    caption = (
        f"{count(len(lines))} checks{thinned}. The loss rises at each removal and recovers, or does not. Accuracies "
        "are teacher-forced, on held-out examples with exactly the scheduled amount removed, without intervals; greedy "
        "decoding above is the measure. Data: metrics.jsonl of the run."
    )
    return Figure("training", tuple(panels), caption, lines)


_TRAINING = (
    ("loss", "Loss", "nats a predicted token", {"train_loss": "training", "loss": "held out"}),
    (
        "accuracies",
        "Teacher-forced accuracy",
        "share right",
        {"answer_accuracy": "answer", "target_accuracy": "whole target", "token_accuracy": "tokens"},
    ),
    ("removed", "Removed", "scheduled amount", {"removed": "removed"}),
)


def position_figure(positions: pd.DataFrame, rows: pd.DataFrame, unit: str) -> Figure:
    """Accuracy of each token of the answer, stage × position, as a shaded table of numbers."""
    stages = spread(list(rows["stage"]), MOST_ROWS)
    last = int(positions["position"].max())
    columns = list(range(1, min(last, MOST_POSITIONS) + 1))
    cells = positions.set_index(["stage", "position"])["accuracy"]
    removed = rows.set_index("stage")["removed"]
    lines = tuple(
        (count(int(removed[stage])), "", tuple(share_cell(cells.get((stage, column))) for column in columns))
        for stage in stages
    )
    matrix = Matrix(f"removed {unit}", tuple(map(str, columns)), lines, beside="")
    fewest = int(positions.loc[positions["position"] <= MOST_POSITIONS, "n"].min())
    cut = [
        f"{count(most)} of {count(of)} {what}"
        for most, of, what in ((len(stages), len(rows), "stages"), (len(columns), last, "positions"))
        if most < of
    ]
    caption = (
        "Share of answers with the right token at this position of the greedily decoded answer, counted from its first "
        f"token. n = {count(int(positions['n'].max()))} at the first position, at least {count(fewest)} at each shown. "
        + (f"Shown are {' and '.join(cut)}. " if cut else "")
        + "Data with Wilson intervals: evaluation-positions.csv of the run."
    )
    return Figure(
        "positions", (Panel("Accuracy of each token of the answer", matrix=matrix),), caption, positions
    )


def trade_off_figure(rows: pd.DataFrame, compared: pd.DataFrame) -> Figure | None:
    """Accuracy against speed over the stages, beside other runs; None where no speed was measured."""
    relative = bool(rows["relative_speed"].notna().any())
    name = "relative_speed" if relative else "examples_per_second"
    together = pd.concat([rows, compared]) if len(compared) else rows
    curves = [
        _curve(str(run), own, name)
        for run, own in together[together[name].notna()].groupby("run", sort=False)
    ]
    if not curves:
        return None
    speed = (
        "speed relative to no CoT, one example at a time" if relative else "examples a second, one at a time"
    )
    svg = trade_off("trade-off", "Accuracy against speed over the stages", curves, speed)
    timed = count(int(rows["timed"].max()))
    turns = ", by turns with the no-CoT model" if relative else ""
    caption = (
        f"A point is a stage; numbers are what is removed. Speed: generation alone at batch size 1, {timed} examples"
        f"{turns}. {_BARS} Data: evaluation.csv of each run."
    )
    return Figure("trade-off", (Panel("Accuracy and speed", svg),), caption, together)


def _curve(label: str, rows: pd.DataFrame, name: str) -> Curve:
    def of(column: str) -> npt.NDArray[np.float64]:
        return rows[column].to_numpy(float)

    return Curve(
        label=label,
        speed=of(name),
        speed_low=of(f"{name}_low"),
        speed_high=of(f"{name}_high"),
        accuracy=of("accuracy"),
        accuracy_low=of("accuracy_low"),
        accuracy_high=of("accuracy_high"),
        notes=tuple(count(int(removed)) for removed in rows["removed"]),
    )


def pooled_figure(rows: pd.DataFrame, unit: str) -> Figure:
    """Mean over several runs of a method, with the least and the most of them, against removed tokens."""
    pooled = pooled_rows(rows)
    both = pooled[pooled["runs"] == pooled["runs"].max()]
    panels = [
        Panel(
            title,
            line_chart(
                f"pooled-{name}",
                f"{title} over runs",
                _pooled_series(both, name),
                Axes(f"removed {unit}", y, x_log=False, y_limits=limits, band="least to most of the runs"),
            ),
        )
        for name, title, y, limits in _POOLED
        if both[name].notna().any()
    ]
    caption = (
        f"Mean over {count(int(both['runs'].max()))} runs (seeds {both['seeds'].iloc[0]}) at the stages that all of "
        "them have; the band goes from the least to the most of them, which is no interval. "
        "Data: evaluation-pooled.csv."
    )
    return Figure("pooled", tuple(panels), caption, pooled)


_POOLED: tuple[tuple[str, str, str, tuple[float, float] | None], ...] = (
    ("accuracy", "Exact match", "mean share right", _LIMITS),
    ("token_accuracy", "Tokens right", "mean share right", _LIMITS),
    ("relative_speed", "Speed relative to no CoT", "mean, times no CoT", None),
)


def _pooled_series(pooled: pd.DataFrame, name: str) -> list[Series]:
    return [
        Series(str(method), own["removed"], own[name], own[f"{name}_least"], own[f"{name}_most"])
        for method, own in pooled.groupby("method", sort=False)
    ]


#: Stages whose generations are shown, and right and wrong ones of each.
MOST_STAGES, MOST_GENERATIONS = 12, 3

_CHARACTERS = 2_000


@dataclass(frozen=True)
class Generation:
    """One generation as texts.

    Attributes:
        said: Pieces of the answer given, and whether each is wrong.
        generated: All that was written.
    """

    right: bool
    input: str
    answer: str
    said: list[tuple[bool, str]]
    generated: str


@dataclass(frozen=True)
class OfStage:
    """The generations shown of a stage."""

    name: str
    removed: int
    right: int
    examples: int
    generations: list[Generation]


def generations(stages: Sequence[StageEvaluation]) -> list[OfStage]:
    """Of the first, the last and some stages between: three right and three wrong generations."""
    return [
        OfStage(
            stage.name,
            stage.removed,
            int(stage.right_N.sum()),
            len(stage.right_N),
            [
                _generation(sample)
                for right in (True, False)
                for sample in [one for one in stage.samples if one.right == right][:MOST_GENERATIONS]
            ],
        )
        for stage in spread(stages, MOST_STAGES)
    ]


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread, first and last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _generation(sample: Sample) -> Generation:
    texts = (sample.input, sample.answer, sample.said, sample.generated)
    asked, answer, said, generated = (clip(text, _CHARACTERS) for text in texts)
    return Generation(sample.right, asked, answer, marked(said, answer), generated)


def marked(said: str, answer: str) -> list[tuple[bool, str]]:
    """The words said, each with whether another word, or none, stands in its place in the answer.

    >>> marked("7 8 1", "7 9 1")
    [(False, '7'), (True, '8'), (False, '1')]
    """
    expected = answer.split()
    return [
        (place >= len(expected) or word != expected[place], word) for place, word in enumerate(said.split())
    ]
