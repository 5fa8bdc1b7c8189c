"""Line charts of a report: a line a group with its band, marker and dash, and its name where the line ends."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from influence.report.drawing import GROUP_INKS, LINE, MUTED, SERIES_INKS, drawing_of
from influence.report.format import plain, power

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MARKERS = ("o", "s", "^", "D")
_GROUPS = tuple(GROUP_INKS)
_WIDTH = 3.9
#: What most bands are.
BOOTSTRAP = "95 %, bootstrap over queries"
#: Fewer queries than this make no finding.
FEW = 3


@dataclass(frozen=True)
class Series:
    """One line: its values, and the two ends of its band where it has one.

    `zero_x` are the places where the value is 0 and the axis is logarithmic: open triangles at its floor, the last
    with `zero_note`. With `steps` a value holds from its x to the next. `marked` puts a marker at each value. `n` is
    how many queries a line is over: one over fewer than `FEW` is thin, without a band, and says its n.
    """

    label: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    low: npt.ArrayLike | None = None
    high: npt.ArrayLike | None = None
    end: str = ""
    zero_x: npt.ArrayLike = ()
    zero_note: str = ""
    steps: bool = False
    marked: bool = True
    n: int | None = None

    @property
    def few(self) -> bool:
        """Whether the line is over too few queries to say anything of their kind."""
        return self.n is not None and self.n < FEW


@dataclass(frozen=True)
class Axes:
    """Scales and words of a chart; `names` replace the ticks of x where it is a list of stages.

    A logarithmic y has powers of 2 as ticks; with `x_powers` x is a logarithm to base 2, and its ticks say of what.
    `band` says on the chart what its bands are.
    """

    x: str
    y: str
    x_log: bool = True
    y_log: bool = False
    y_limits: tuple[float, float] | None = None
    y_line: float | None = None
    names: tuple[str, ...] = ()
    x_powers: bool = False
    band: str = ""


def line_chart(name: str, title: str, series: Sequence[Series], axes: Axes) -> Markup:
    """The chart as one `<svg>`; a value that a logarithmic axis cannot show is left out of its line.

    Args:
        name: Makes the ids of this figure unique.
    """
    gids: dict[str, str] = {}
    banded = [one for one in series if one.low is not None and not one.few]
    assert axes.band or not banded, f"the bands of {name} do not say what they are"
    axes = axes if not banded else replace(axes, x=f"{axes.x}\nband: {axes.band}")
    floor = _floor(series) if axes.y_log else -math.inf
    with drawing_of(name, _WIDTH, 2.75) as drawing:
        plot = drawing.figure.add_axes((0.14, 0.17, 0.83 - _room(series), 0.72))
        ends = []
        for number, line in enumerate(series):
            colour, dash, marker = _look(line.label, number)
            x, y = np.asarray(line.x, float), np.asarray(line.y, float)
            shown = np.isfinite(y) & ((y > 0) | (not axes.y_log))
            zero_x = np.asarray(line.zero_x, float)
            if not shown.any() and not zero_x.size:
                continue
            gid = f"label-{number}"
            gids |= dict.fromkeys(
                (gid, f"{gid}-band", f"{gid}-name", f"{gid}-zero", f"{gid}-count"), line.label
            )
            style: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": marker, "markersize": 3.2}
            if line.steps:
                style["drawstyle"] = "steps-post"
            if line.steps or not line.marked:
                style["marker"] = ""
            plot.plot(x[shown], y[shown], linewidth=0.8 if line.few else 1.8, gid=gid, **style)
            if line.low is not None and line.high is not None and not line.few:
                low, high = np.asarray(line.low, float)[shown], np.asarray(line.high, float)[shown]
                band: dict[str, Any] = {"color": colour, "alpha": 0.18, "linewidth": 0, "gid": f"{gid}-band"}
                step: Literal["post"] | None = "post" if line.steps else None
                plot.fill_between(x[shown], np.maximum(low, floor), high, step=step, **band)
            ground = floor / 1.5**number if axes.y_log else 0.0
            if zero_x.size:
                _zeros(plot, zero_x, ground, line.zero_note, colour, gid)
            height = float(y[shown][-1]) if shown.any() and not _ends_at_zero(x[shown], zero_x) else ground
            ends.append((height, _end(line), colour, gid))
        _dress(plot, axes)
        _name_ends(plot, ends)
    said = "; ".join(_said(line) for line in series)
    return drawing.inline(title, f"{axes.y} against {axes.x}. {said}.".replace("\n", ", "), gids)


def without_prefix(names: Sequence[str]) -> list[str]:
    """Names of ticks without what all begin with, where numbers follow: `stage-000`, `stage-001` are 000, 001."""
    words = re.match(r"\D*", names[0] if names else "")
    rest = [name.removeprefix(words.group() if words else "") for name in names]
    return rest if all(one[:1].isdigit() for one in rest) else list(names)


def _room(series: Sequence[Series]) -> float:
    """Part of the width that the names at the right take."""
    longest = max((len(_end(one)) for one in series), default=0)
    return min(0.4, (6 + 5 * longest) / (72 * _WIDTH))


def _end(one: Series) -> str:
    end = f"n = {one.n}" if one.few and not one.end else one.end
    return f"{plain(one.label, 18) or '(empty)'} {end}".strip()


def _floor(series: Sequence[Series]) -> float:
    """Half the smallest positive value: where a zero is marked."""
    values = np.concatenate([np.asarray(one.y, float) for one in series])
    values = values[np.isfinite(values) & (values > 0)]
    return float(values.min()) / 2 if values.size else 0.5


def _ends_at_zero(x: npt.NDArray[np.float64], zero_x: npt.NDArray[np.float64]) -> bool:
    return bool(zero_x.size) and zero_x.max() > x.max()


def _zeros(
    plot: Any, zero_x: npt.NDArray[np.float64], ground: float, note: str, colour: str, gid: str
) -> None:
    marks = {"marker": "v", "markersize": 5, "markerfacecolor": "none", "linestyle": "none"}
    plot.plot(zero_x, np.full(len(zero_x), ground), color=colour, gid=f"{gid}-zero", **marks)
    if note:
        where = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
        plot.annotate(note, (float(zero_x.max()), ground), color=colour, gid=f"{gid}-count", **where)


def _look(label: str, number: int) -> tuple[str, Any, str]:
    place = _GROUPS.index(label) if label in _GROUPS else number % 4
    colour = GROUP_INKS.get(label, SERIES_INKS[number % 4])
    return colour, _DASHES[place], _MARKERS[place]


def _said(one: Series) -> str:
    values = [f"{value:.3g}" for value in np.asarray(one.y, float) if math.isfinite(value)]
    ends = f"from {values[0]} to {values[-1]}" if values else "no value"
    return f"{plain(one.label, 60)}: {ends}"


def _dress(plot: Any, axes: Axes) -> None:
    from matplotlib.ticker import MultipleLocator

    if axes.x_log:
        plot.set_xscale("log")
        plot.xaxis.set_major_formatter(lambda value, _position: power(round(math.log10(value))))
    if axes.x_powers:
        plot.xaxis.set_major_locator(MultipleLocator(4))
        plot.xaxis.set_major_formatter(lambda value, _position: _times(2.0**value))
    if axes.y_log:
        plot.set_yscale("log", base=2)
        plot.yaxis.set_major_formatter(lambda value, _position: _times(value))
    else:
        plot.yaxis.set_major_formatter(lambda value, _position: f"{value:,.10g}".replace("-", "−"))
    if axes.names:
        plot.set_xticks(range(len(axes.names)), [plain(name, 14) for name in without_prefix(axes.names)])
        plot.set_xlim(-0.2, max(len(axes.names) - 0.8, 0.2))
    if axes.y_limits:
        plot.set_ylim(axes.y_limits)
    if axes.y_line is not None:
        plot.axhline(axes.y_line, color=MUTED, linewidth=0.9)
    plot.set_xlabel(axes.x, labelpad=2)
    plot.set_title(axes.y, loc="left", fontsize=8, pad=6, x=-0.15)
    plot.grid(color=LINE, linewidth=0.6)
    plot.set_axisbelow(True)
    plot.tick_params(left=False, bottom=False, pad=7.5)
    plot.minorticks_off()
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)


def _times(value: float) -> str:
    """A tick of a logarithmic axis of base 2: 8, 1/4."""
    return f"{value:,.10g}" if value >= 1 else f"1/{1 / value:,.10g}"


def _name_ends(plot: Any, ends: Sequence[tuple[float, str, str, str]]) -> None:
    """Names at the right of the lines, pushed apart where they would overlap."""
    transform, height = plot.transData, 0.085
    low, high = plot.transAxes.transform([(0, 0), (0, 1)])[:, 1]
    places = [
        ((transform.transform((plot.get_xlim()[1], y))[1] - low) / (high - low), text, colour, gid)
        for y, text, colour, gid in ends
    ]
    places.sort()
    heights = [max(place[0], 0.02) for place in places]
    for number in range(1, len(heights)):
        heights[number] = max(heights[number], heights[number - 1] + height)
    limit = 1.05
    for number in range(len(heights) - 1, -1, -1):
        heights[number] = min(heights[number], limit)
        limit = heights[number] - height
    for at, (_, text, colour, gid) in zip(heights, places, strict=True):
        where = {"transform": plot.transAxes, "ha": "left", "va": "center", "fontsize": 8, "color": colour}
        plot.text(1.03, at, text, gid=f"{gid}-name", clip_on=False, **where)
