"""Figures of a report as inline SVG that follows the page's theme and passes a strict content security policy.

matplotlib draws; `Drawing.inline` then turns style attributes into presentation attributes, inks into `currentColor`
and CSS variables, prefixes ids, and removes metadata. Same input, same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from influence.report.inks import GROUP_INKS, INK, LINE, MUTED, SERIES_INKS
from influence.report.paper import export
from influence.report.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_THEME = {
    INK: "currentColor",
    LINE: "var(--line)",
    MUTED: "var(--muted)",
    **{ink: f"var(--{group})" for group, ink in GROUP_INKS.items()},
    **{ink: f"var(--s{number})" for number, ink in enumerate(SERIES_INKS, 1)},
}
#: R = −1 and R = +1; 0 is the page itself, so the scale holds in both themes.
_NEGATIVE, _POSITIVE = (0xB3, 0x58, 0x06), (0x21, 0x66, 0xAC)
_NOT_DEFINED = (0x80, 0x80, 0x80, 0x60)

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "hatch.linewidth": 0.6,
}
_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
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


@dataclass
class Drawing:
    """A figure while matplotlib draws it, then its SVG text."""

    name: str
    figure: Figure
    svg: str = ""

    def inline(
        self,
        title: str,
        description: str,
        labels: Mapping[str, str] = MappingProxyType({}),
        queries: Mapping[str, str] = MappingProxyType({}),
    ) -> Markup:
        """The figure as an `<svg>` element for a page: themed, without styles, metadata or colliding ids.

        `labels` maps the gid of what belongs to a group of queries to its label, `queries` the gid of what belongs
        to one query to its id, which is shown where the pointer is.
        """
        root = ET.fromstring(self.svg)
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                    parent.remove(child)
        _join_marks(root)
        for element in list(root.iter()):
            label, query = (of.get(element.get("id", "")) for of in (labels, queries))
            _restyle(element, self.name)
            if label is not None:
                element.set("data-label", plain(label, 1000))
            if query is not None:
                element.set("data-query", plain(query, 1000))
                tip = ET.Element(f"{{{_SVG}}}title")
                tip.text = plain(query, 1000)
                element.insert(0, tip)
        _ungroup(root)
        del root.attrib["version"]
        for place, (tag, text) in enumerate((("title", title), ("desc", description))):
            node = ET.Element(f"{{{_SVG}}}{tag}", id=f"{self.name}-{tag}")
            node.text = plain(text, 1000)
            root.insert(place, node)
        root.set("role", "img")
        root.set("aria-labelledby", f"{self.name}-title {self.name}-desc")
        ET.register_namespace("", _SVG)
        ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
        return Markup(ET.tostring(root, encoding="unicode"))  # escaped by ElementTree


@contextmanager
def drawing_of(name: str, width: float, height: float) -> Iterator[Drawing]:
    """A figure of this size in inches, drawn with our settings whatever the user's are; `svg` is there after."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_SETTINGS, "svg.hashsalt": name})
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser picks the font, not we
        drawing = Drawing(name, Figure(figsize=(width, height)))
        FigureCanvasSVG(drawing.figure)
        yield drawing
        stream = io.StringIO()
        drawing.figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        drawing.svg = stream.getvalue()
        export(drawing.figure, name)


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


def _join_marks(root: ET.Element) -> None:
    """Markers of a line as one path instead of an element each."""
    paths = {element.get("id"): element.get("d", "") for element in root.iter(f"{{{_SVG}}}path")}
    for group in list(root.iter(f"{{{_SVG}}}g")):
        marks = [child for child in group if child.tag == f"{{{_SVG}}}use"]
        if len(marks) < 2 or len({(mark.get(_HREF), mark.get("style")) for mark in marks}) > 1:
            continue
        shape = paths[marks[0].get(_HREF, "")[1:]]
        moved = (_moved(shape, float(mark.get("x", 0)), float(mark.get("y", 0))) for mark in marks)
        for mark in marks:
            group.remove(mark)
        ET.SubElement(group, f"{{{_SVG}}}path", d=" ".join(moved), style=marks[0].get("style", ""))


def _moved(path: str, x: float, y: float) -> str:
    """Path data, all of it absolute, moved; a tenth of a pixel of 1/72 inch is fine enough."""
    numbers = re.split(r"(-?[\d.]+(?:e-?\d+)?)", path)
    for place in range(1, len(numbers), 2):
        numbers[place] = f"{float(numbers[place]) + (x if place % 4 == 1 else y):.1f}"
    return " ".join("".join(numbers).split())


def _ungroup(parent: ET.Element) -> None:
    """Put the children of groups that say nothing (an id at most, which nothing refers to) in their place."""
    children = list(parent)
    for child in children:
        _ungroup(child)
    kept: list[ET.Element] = []
    for child in children:
        empty = child.tag == f"{{{_SVG}}}g" and not set(child.attrib) - {"id"}
        kept += list(child) if empty else [child]
    parent[:] = kept


def _restyle(element: ET.Element, name: str) -> None:
    style = element.attrib.pop("style", "")
    for declaration in filter(None, (part.strip() for part in style.split(";"))):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font":
            size = re.search(r"([\d.]+)px", value)
            element.set("font-size", size[1] if size else "8")
        else:
            element.set(key, value)
    for key, value in list(element.attrib.items()):
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif value.startswith("#") and key.endswith("href"):
            element.set(key, f"#{name}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))
        else:
            element.set(key, _THEME.get(value, value))
