"""Figures of a distillation (filter, accuracy against tokens, wordings), and what became of some inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from influence.distill.traces import Run, Trace, read_traces
from influence.report.drawing import INK, LINE, MUTED, SERIES_INKS, drawing_of
from influence.report.format import clip, count, plain
from influence.report.line_charts import Axes, Series, line_chart
from influence.report.page import Figure, Panel
from influence.store.formats.distillation import (
    AGAIN,
    CONTEXT,
    DISTILLED,
    ONE_SAMPLE,
    OUTCOMES_FILE,
    STEPWISE,
    SYSTEM_1,
    SYSTEM_2,
    FilterSums,
    OutcomeRecord,
)
from influence.store.formats.records import read_records

#: The method's own; controls are muted and hollow. The same inks as lines of the two systems have.
_INKS = {
    SYSTEM_1: SERIES_INKS[0],
    **dict.fromkeys((DISTILLED, STEPWISE, CONTEXT), SERIES_INKS[1]),
    **dict.fromkeys((SYSTEM_2, ONE_SAMPLE), SERIES_INKS[2]),
}
_LABEL_POINTS = 11.0


def funnel_figure(sums: FilterSums) -> Figure:
    """Inputs, those with an answer, those the filter kept, and the targets that are right where that is known."""
    reasons: Mapping[str, int] = sums.dropped_for
    answered = sums.items - reasons.get("no answer", 0)
    rows = [("inputs", sums.items), ("some sample answers", answered), ("kept", sums.kept)]
    if sums.target_accuracy is not None:
        rows.append(("kept, and right", round(sums.target_accuracy * sums.known)))
    known = (
        ""
        if sums.target_accuracy is None
        else " Right answers only measure here; the filter never sees them."
    )
    caption = (
        f"What the filter did with {count(sums.items)} inputs, {count(sums.samples)} samples of System 2; "
        f"{count(sums.abstentions)} samples had no answer that could be read.{known}"
    )
    table = pd.DataFrame(rows, columns=["step", "inputs"])
    return Figure("funnel", (Panel("Inputs left", _bars(rows)),), caption, table)


def _bars(rows: Sequence[tuple[str, int]]) -> Markup:
    with drawing_of("funnel", 5.2, 0.4 + 0.36 * len(rows)) as drawing:
        plot = drawing.figure.add_axes((0.28, 0.06, 0.5, 0.9))
        places = np.arange(len(rows))[::-1]
        plot.barh(places, [value for _, value in rows], height=0.62, color=SERIES_INKS[2])
        plot.set_yticks(places, [name for name, _ in rows])
        plot.set_xlim(0, max(1, rows[0][1]))
        plot.set_xticks([])
        for place, (_, value) in zip(places, rows, strict=True):
            share = f"{count(value)}  ({value / max(1, rows[0][1]):.0%})"
            where: dict[str, Any] = {
                "xytext": (4, 0),
                "textcoords": "offset points",
                "va": "center",
                "color": INK,
            }
            plot.annotate(share, (value, place), **where)
        plot.tick_params(left=False)
        for side in ("top", "right", "bottom", "left"):
            plot.spines[side].set_visible(False)
    said = "; ".join(f"{name}: {count(value)}" for name, value in rows)
    return drawing.inline("What the filter kept", f"{said}.")


def cost_figure(table: pd.DataFrame) -> Figure:
    """Accuracy upwards, tokens generated for an input to the right, a point a model."""
    caption = (
        f"Accuracy on the same {count(int(table['n'].max()))} test inputs against the mean number of tokens that were "
        "generated for one, intermediate texts and voted samples included. Filled: the method; hollow: controls, and "
        "one sample. Bars: 95 % (Wilson for accuracy, bootstrap over inputs for tokens)."
    )
    return Figure("cost", (Panel("Accuracy and tokens", _points(table)),), caption, table)


def _points(table: pd.DataFrame) -> Markup:
    with drawing_of("cost", 5.6, 3.4) as drawing:
        plot = drawing.figure.add_axes((0.08, 0.14, 0.9, 0.77))
        plot.set_xscale("log")
        records = table.to_dict("records")
        for record in records:
            _point(plot, record)
        plot.set_ylim(-0.04, 1.06)
        low, high = float(table["tokens_low"].clip(lower=0.5).min()), float(table["tokens_high"].max())
        plot.set_xlim(low / 1.4, high * 2.2)
        plot.xaxis.set_major_formatter(lambda value, _position: f"{value:,.10g}")
        plot.set_xlabel("tokens generated for an input (logarithmic)", labelpad=3)
        plot.set_title("share right", loc="left", fontsize=8, pad=6, x=-0.06)
        plot.grid(color=LINE, linewidth=0.6)
        plot.set_axisbelow(True)
        plot.tick_params(left=False, bottom=False)
        plot.minorticks_off()
        for side in ("top", "right"):
            plot.spines[side].set_visible(False)
        _labels(plot, records)
    said = "; ".join(
        f"{r['model']}: accuracy {r['accuracy']:.2f} at {r['tokens']:.3g} tokens" for r in records
    )
    return drawing.inline("Accuracy against generated tokens", f"{said}.")


def _point(plot: Any, record: Mapping[Any, Any]) -> None:
    x, y = float(record["tokens"]), float(record["accuracy"])
    ink = _INKS.get(record["model"], MUTED)
    bars = [
        [[max(0.0, x - record["tokens_low"])], [max(0.0, record["tokens_high"] - x)]],
        [[max(0.0, y - record["accuracy_low"])], [max(0.0, record["accuracy_high"] - y)]],
    ]
    plot.errorbar(
        x,
        y,
        xerr=bars[0],
        yerr=bars[1],
        color=ink,
        marker="o",
        markersize=6,
        markerfacecolor=ink if record["model"] in _INKS and record["model"] != ONE_SAMPLE else "none",
        elinewidth=0.8,
        linestyle="none",
    )


def _labels(plot: Any, records: Sequence[Mapping[Any, Any]]) -> None:
    """Names to the right of the points; those that would overlap are moved down, best first."""
    taken: list[tuple[float, float]] = []
    for record in sorted(records, key=lambda one: -float(one["accuracy"])):
        at = plot.transData.transform((float(record["tokens"]), float(record["accuracy"])))
        x, y = float(at[0]), float(at[1])
        move = 0.0
        while any(abs(x - a) < 110 and abs(y + move - b) < _LABEL_POINTS for a, b in taken):
            move -= 2.0
        taken.append((x, y + move))
        where: dict[str, Any] = {
            "xytext": (7, move),
            "textcoords": "offset points",
            "va": "center",
            "fontsize": 8,
            "color": INK,
        }
        if move < -_LABEL_POINTS / 2:  # a leader leads back to its point
            where["arrowprops"] = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkB": 4}
        plot.annotate(
            plain(str(record["model"]), 30), (float(record["tokens"]), float(record["accuracy"])), **where
        )


def wording_figure(table: pd.DataFrame) -> Figure | None:
    """Accuracy under each wording of the question; None where only one was asked."""
    if table.empty:
        return None
    names = tuple(dict.fromkeys(table["wording"]))
    shown = [model for model in (SYSTEM_1, DISTILLED) if model in set(table["model"])]
    series = []
    for model in shown:
        own = table[table["model"] == model].set_index("wording").reindex(names)
        series.append(
            Series(model, np.arange(len(names)), own["accuracy"], own["accuracy_low"], own["accuracy_high"])
        )
    axes = Axes(
        "wording of the question",
        "share right",
        x_log=False,
        y_limits=(-0.03, 1.03),
        names=names,
        band="95 % Wilson",
    )
    svg = line_chart("wordings", "Accuracy by wording", series, axes)
    caption = (
        "The same question, worded differently; a model that has internalised the task should not care. "
        "Bands: 95 % Wilson."
    )
    return Figure("wordings", (Panel("Accuracy by wording", svg),), caption, table)


#: Inputs shown of each fate, and samples of an input; texts are cut.
OF_EACH, MOST_SAMPLES = 3, 4
CHARACTERS = 1_500


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample: its calls as (step, text), and the answer that was read, None where there is none."""

    sample: int
    calls: tuple[tuple[str, str], ...]
    answer: str | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Example:
    """An input and what became of it.

    Attributes:
        fate: `kept, right`, `kept, wrong`, `kept` or `dropped: reason`.
        votes: How often each answer was given, most first.
        left_out: Samples that are not shown.
    """

    fate: str
    id: str
    input: str
    target: str | None
    gold: str | None
    votes: tuple[tuple[str, int], ...]
    samples: tuple[Shown, ...]
    left_out: int


def examples(folder: Path) -> list[tuple[str, int, list[Example]]]:
    """(fate, how many inputs met it, the first few of them) of a distillation, kept first, then the commonest."""
    outcomes = list(read_records(folder / "pairs" / OUTCOMES_FILE, OutcomeRecord, fix=AGAIN))
    counts = Counter(_fate(outcome) for outcome in outcomes)
    chosen: dict[str, list[OutcomeRecord]] = {}
    for outcome in outcomes:
        some = chosen.setdefault(_fate(outcome), [])
        if len(some) < OF_EACH:
            some.append(outcome)
    wanted = {outcome.id for some in chosen.values() for outcome in some}
    traces = {trace.item.id: trace for trace in read_traces(folder / "samples") if trace.item.id in wanted}
    fates = sorted(counts, key=lambda fate: (not fate.startswith("kept"), -counts[fate], fate))
    return [
        (fate, counts[fate], [_example(fate, one, traces[one.id]) for one in chosen[fate]]) for fate in fates
    ]


def _fate(outcome: OutcomeRecord) -> str:
    if not outcome.kept:
        return f"dropped: {outcome.reason}"
    return "kept" if outcome.correct is None else f"kept, {'right' if outcome.correct else 'wrong'}"


def _example(fate: str, outcome: OutcomeRecord, trace: Trace) -> Example:
    answers, place = outcome.answers, outcome.sample
    order = sorted(range(len(trace.runs)), key=lambda number: number != place)  # the chosen one first
    return Example(
        fate,
        outcome.id,
        clip(trace.item.input, CHARACTERS),
        None if outcome.target is None else clip(outcome.target, CHARACTERS),
        trace.item.answer,
        tuple(Counter("no answer" if one is None else one for one in answers).most_common(8)),
        tuple(
            _sample(trace.runs[number], answers[number], number == place) for number in order[:MOST_SAMPLES]
        ),
        max(0, len(order) - MOST_SAMPLES),
    )


def _sample(run: Run, answer: str | None, chosen: bool) -> Shown:
    calls = tuple((call.step, clip(call.text.strip(), CHARACTERS)) for call in run.calls)
    return Shown(run.sample, calls, answer, chosen)
