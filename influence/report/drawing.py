"""Figures as inline SVG that follows the theme of the page and passes its security policy, and as files for papers.

matplotlib draws; `Drawing.inline` then turns style attributes into presentation attributes, inks into `currentColor`
and CSS variables, prefixes ids, and removes metadata. Same input, same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from influence.files import whole_file
from influence.report.format import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Ink drawn by matplotlib -> what the page makes of it.
INK = "#010203"
LINE = "#040506"
MUTED = "#070809"
GROUP_INKS = {"reasoning": "#0a0b0c", "factual": "#0d0e0f", "control": "#101112"}
#: Lines that are no group of ours: Okabe–Ito blue, vermilion, green, purple.
SERIES_INKS = ("#131415", "#161718", "#191a1b", "#1c1d1e")

#: Ink -> colour on white paper; Okabe–Ito, darkened where thin lines need it.
PAPER = {
    INK: "#000000",
    LINE: "#cccccc",
    MUTED: "#555555",
    **dict(zip(GROUP_INKS.values(), ("#0072b2", "#d55e00", "#009e73"), strict=True)),
    **dict(zip(SERIES_INKS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True)),
}


_THEME = {
    INK: "currentColor",
    LINE: "var(--line)",
    MUTED: "var(--muted)",
    **{ink: f"var(--{group})" for group, ink in GROUP_INKS.items()},
    **{ink: f"var(--s{number})" for number, ink in enumerate(SERIES_INKS, 1)},
}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "Liberation Sans"],
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
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
#: Pixels between the outermost label and the edge of a figure.
_EDGE = 1.0
_HREF = "{http://www.w3.org/1999/xlink}href"


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
        fit(drawing.figure)
        stream = io.StringIO()
        drawing.figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        drawing.svg = stream.getvalue()
        export(drawing.figure, name)


def fit(figure: Figure) -> None:
    """Make room for what stands outside the axes, such as the numbers of a scale, so that no label is cut."""
    for axes in figure.axes:
        axes.get_tightbbox()  # ticks and titles have their places only once they were laid out
    for _ in range(8):
        width, height = figure.bbox.size
        cut = False
        for axes in figure.axes:
            box, place = axes.get_tightbbox(), axes.get_position()
            if box is None:
                continue
            left, bottom = max(0.0, _EDGE - box.x0) / width, max(0.0, _EDGE - box.y0) / height
            right = max(0.0, box.x1 + _EDGE - width) / width
            top = max(0.0, box.y1 + _EDGE - height) / height
            if max(left, bottom, right, top) > 0:
                cut = True
                size = (max(0.1, place.width - left - right), max(0.1, place.height - bottom - top))
                axes.set_position((place.x0 + left, place.y0 + bottom, *size))
        if not cut:
            return


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


#: What the names of small forms of other figures begin with.
THUMBNAIL = "thumbnail-"
#: Of figures as PNG, dots an inch.
_DPI = 200
_folder: ContextVar[Path | None] = ContextVar("folder of exported figures", default=None)


@contextmanager
def exporting(folder: Path | None) -> Iterator[None]:
    """Write the charts drawn inside to `folder`; None writes none."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def export(figure: Figure, name: str) -> None:
    """Write a figure as `name.svg`, `.pdf` and `.png`, in the colours of paper; it is not to be drawn on after.

    Small forms of other figures are left out.
    """
    folder = _folder.get()
    if folder is None or name.startswith(THUMBNAIL):
        return
    _recolour(figure)
    for kind, undated in (
        ("svg", {"Date": None}),
        ("pdf", {"CreationDate": None}),
        ("png", {"Software": None}),
    ):
        with whole_file(folder / f"{name}.{kind}") as part:
            figure.savefig(part, format=kind, facecolor="white", metadata=undated, dpi=_DPI)


def _recolour(figure: Figure) -> None:
    from matplotlib.colors import to_hex

    for artist in figure.findobj():
        for kind in ("color", "edgecolor", "facecolor", "markeredgecolor", "markerfacecolor"):
            get, change = getattr(artist, f"get_{kind}", None), getattr(artist, f"set_{kind}", None)
            if get is None or change is None:
                continue
            try:
                now = to_hex(
                    get()
                    if isinstance(get(), str)
                    else tuple(get().reshape(-1, 4)[0])
                    if hasattr(get(), "reshape")
                    else get()
                )
            except (TypeError, ValueError, IndexError):
                continue  # no colour, or one a point
            if now in PAPER:
                change(PAPER[now])
