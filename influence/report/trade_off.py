"""Accuracy against speed over the stages of internalisation: from all of the chain written to all of it internal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from influence.report.charts import drawing_of
from influence.report.inks import INK, LINE, SERIES_INKS
from influence.report.text import plain

_MARKERS = ("o", "s", "^", "D")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_LABEL_PIXELS = 30


@dataclass(frozen=True)
class Curve:
    """Stages of one run or method in the order of removal; `[S]` arrays, bars from low to high.

    Attributes:
        notes: Printed at the points, as far as there is room: removed tokens.
    """

    label: str
    speed: npt.NDArray[np.float64]
    speed_low: npt.NDArray[np.float64]
    speed_high: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    accuracy_low: npt.NDArray[np.float64]
    accuracy_high: npt.NDArray[np.float64]
    notes: tuple[str, ...]


def trade_off(name: str, title: str, curves: Sequence[Curve], speed: str) -> Markup:
    """The plot as one `<svg>`: exact match upwards, speed to the right, a line a curve, 95 % bars.

    Args:
        name: Makes the ids of this figure unique.
        speed: What the speed is: relative, or examples a second.
    """
    with drawing_of(name, 4.7, 3.3) as drawing:
        plot = drawing.figure.add_axes((0.11, 0.15, 0.87, 0.75))
        for number, curve in enumerate(curves):
            _draw(plot, curve, number)
        plot.set_ylim(-0.04, 1.06)
        right = max(float(np.nanmax(curve.speed_high)) for curve in curves)
        plot.set_xlim(0, 1.08 * right)
        plot.set_xlabel(speed, labelpad=3)
        plot.set_title("exact match of the answer", loc="left", fontsize=8, pad=6, x=-0.1)
        plot.grid(color=LINE, linewidth=0.6)
        plot.set_axisbelow(True)
        plot.tick_params(left=False, bottom=False)
        for side in ("top", "right"):
            plot.spines[side].set_visible(False)
        legend = plot.legend(fontsize=8, frameon=False, loc="best", labelcolor=INK)
        legend.set_zorder(1)
        _notes(plot, curves)
    said = "; ".join(
        f"{plain(curve.label, 60)}: from accuracy {curve.accuracy[0]:.2f} at speed {curve.speed[0]:.3g} "
        f"to {curve.accuracy[-1]:.2f} at {curve.speed[-1]:.3g}"
        for curve in curves
    )
    return drawing.inline(title, f"Exact match of the answer against {speed}. {said}.")


def _draw(plot: Any, curve: Curve, number: int) -> None:
    colour, marker = SERIES_INKS[number % 4], _MARKERS[number % 4]
    bars = [
        [curve.speed - curve.speed_low, curve.speed_high - curve.speed],
        [curve.accuracy - curve.accuracy_low, curve.accuracy_high - curve.accuracy],
    ]
    xerr, yerr = (np.nan_to_num(np.clip(np.stack(bar), 0, None)) for bar in bars)
    plot.errorbar(
        curve.speed,
        curve.accuracy,
        xerr=xerr,
        yerr=yerr,
        color=colour,
        marker=marker,
        markersize=4 if len(curve.speed) > 1 else 6,
        linestyle=_DASHES[number % 4],
        linewidth=1.3,
        elinewidth=0.8,
        label=plain(curve.label, 40),
    )


def _notes(plot: Any, curves: Sequence[Curve]) -> None:
    """Notes at the points of lines, those left out that would stand on another: ends first, then from the left."""
    taken: list[tuple[float, float]] = []
    for curve in (one for one in curves if len(one.notes) > 1):
        last = len(curve.notes) - 1
        for place in sorted(range(last + 1), key=lambda place: (place not in (0, last), place)):
            x, y = (float(value) for value in (curve.speed[place], curve.accuracy[place]))
            at = tuple(float(value) for value in plot.transData.transform((x, y)))
            if any(abs(at[0] - a) < _LABEL_PIXELS and abs(at[1] - b) < _LABEL_PIXELS / 2 for a, b in taken):
                continue
            taken.append((at[0], at[1]))
            where = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 7.5, "color": INK}
            plot.annotate(plain(curve.notes[place], 12), (x, y), **where)
