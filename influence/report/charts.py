"""Charts that are no lines: the heat map of correlations, and accuracy against speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from influence.report.drawing import GROUP_INKS, INK, LINE, MUTED, SERIES_INKS, drawing_of
from influence.report.format import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: R = −1 and R = +1; 0 is the page itself, so the scale holds in both themes.
_NEGATIVE, _POSITIVE = (0xB3, 0x58, 0x06), (0x21, 0x66, 0xAC)
_NOT_DEFINED = (0x80, 0x80, 0x80, 0x60)
_LABEL_CHARACTERS = 17
_IDS_UP_TO = 28
_HATCH_UP_TO = 200
_SEPARATED_UP_TO = 20


def heat_map(
    r_QQ: npt.NDArray[np.float64], tasks: Sequence[str], groups: Sequence[str], ids: Sequence[str], label: str
) -> Markup:
    """Correlation heat map, rows in the order given, as one `<svg>`.

    Args:
        r_QQ: Pearson R, `[Q, Q]`; NaN is drawn as "not defined". The colour domain is fixed, −1 to 1.
        tasks: Task label of each query, runs of equal labels side by side.
        groups: Group of each query.
        label: Of the colour bar: what R, over what.
    """
    n = len(r_QQ)
    description = f"{label}. Rows and columns by task: {_listed(tasks)}."
    with drawing_of("correlation", 6.6, 5.6) as drawing:
        axes = drawing.figure.add_axes((0.215, 0.16, 0.67, 0.67 * 6.6 / 5.6))
        hatched = n <= _HATCH_UP_TO
        image = colours(np.where(np.eye(n, dtype=bool), 0.0 if hatched else np.nan, r_QQ))
        axes.imshow(image, extent=(0, n, n, 0), interpolation="none", aspect="auto")
        if hatched:
            _hatch_diagonal(axes, n)
        axes.set(xlim=(0, n), ylim=(n, 0), xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=INK, linewidth=0.8)
        _separators(axes, tasks, groups)
        _labels(axes, tasks, groups, ids)
        _colour_bar(drawing.figure)
    return drawing.inline(f"Heat map of Pearson R between {n} queries", description)


def colours(r: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """RGBA of R: the hue says the sign, the opacity the size. On white, this is the scale orange–white–blue."""
    rgba = np.empty((*r.shape, 4), np.uint8)
    rgba[..., :3] = np.where((r > 0)[..., None], _POSITIVE, _NEGATIVE)
    rgba[..., 3] = np.round(255 * np.clip(np.abs(np.nan_to_num(r)), 0, 1))
    rgba[np.isnan(r)] = _NOT_DEFINED
    return rgba


def _hatch_diagonal(axes: Any, n: int) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    squares = [Path([(i, i), (i + 1, i), (i + 1, i + 1), (i, i + 1), (i, i)], closed=True) for i in range(n)]
    path = Path.make_compound_path(*squares)
    squares_patch = PathPatch(
        path, facecolor="none", edgecolor=MUTED, hatch="/" * max(3, n // 14), linewidth=0
    )
    axes.add_patch(squares_patch)


def _runs(labels: Sequence[str]) -> list[tuple[int, int, str]]:
    """Runs of equal labels: `(start, end, label)`."""
    starts = [i for i in range(len(labels)) if i == 0 or labels[i] != labels[i - 1]]
    return [(a, b, labels[a]) for a, b in pairwise([*starts, len(labels)])]


def _separators(axes: Any, tasks: Sequence[str], groups: Sequence[str]) -> None:
    for labels, width in ((tasks, 0.5), (groups, 1.4)):
        runs = _runs(labels)
        for start, _, _ in runs[1:] if len(runs) <= _SEPARATED_UP_TO else ():
            axes.axhline(start, color=INK, linewidth=width)
            axes.axvline(start, color=INK, linewidth=width)


def _labels(axes: Any, tasks: Sequence[str], groups: Sequence[str], ids: Sequence[str]) -> None:
    """Names of tasks (or of few queries) on the left, of tasks below, and a band for each group."""
    n = len(tasks)
    gap = n / 100
    rows = [(i, i + 1, name) for i, name in enumerate(ids)] if n <= _IDS_UP_TO else _runs(tasks)
    rows = [(start, end, _short(name)) for start, end, name in rows if (end - start) / n > 0.028]
    widest = max((len(name) for _, _, name in rows), default=0)
    for start, end, group in _runs(groups):
        colour = GROUP_INKS.get(group, INK)
        bands = {"color": colour, "linewidth": 3.5, "clip_on": False, "solid_capstyle": "butt"}
        axes.plot([-1.3 * gap, -1.3 * gap], [start + gap / 4, end - gap / 4], **bands)
        axes.plot([start + gap / 4, end - gap / 4], [n + 1.3 * gap, n + 1.3 * gap], **bands)
        if (end - start) / n > 0.08:
            where = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 8, "color": colour}
            axes.text(-(5 + widest * 1.42) * gap, (start + end) / 2, _short(group), **where)
    for start, end, name in rows:
        axes.text(-3 * gap, (start + end) / 2, name, ha="right", va="center", fontsize=8)
    for start, end, name in _runs(tasks):
        if (end - start) / n > 0.035:
            where = {"rotation": 32, "ha": "right", "va": "top", "rotation_mode": "anchor", "fontsize": 8}
            axes.text((start + end) / 2 + gap, n + 3.4 * gap, _short(name), **where)


def _short(name: str) -> str:
    return plain(name, _LABEL_CHARACTERS) or "(empty)"


def _listed(names: Sequence[str]) -> str:
    runs = _runs(names)
    text = ", ".join(f"{plain(name, 40)} ({end - start})" for start, end, name in runs[:12])
    return text + (f" and {len(runs) - 12} more" if len(runs) > 12 else "")


def _colour_bar(figure: Figure) -> None:
    bar = figure.add_axes((0.915, 0.16, 0.022, 0.67 * 6.6 / 5.6))
    scale = colours(np.linspace(1, -1, 201)[:, None])
    bar.imshow(scale, extent=(0, 1, -1, 1), aspect="auto", interpolation="none")
    bar.set(xticks=[], yticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_yticklabels(["−1", "−0.5", "0", "+0.5", "+1"])
    bar.yaxis.tick_right()
    bar.tick_params(length=2.5, width=0.6, pad=2)
    for spine in bar.spines.values():
        spine.set(color=INK, linewidth=0.6)
    bar.set_title("R", fontsize=9, pad=6)


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
