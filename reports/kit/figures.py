"""SVG figures: the same table gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from influence.files import whole_file


@contextmanager
def svg_axes(path: Path) -> Iterator[Any]:
    """Axes whose figure becomes an SVG: the same table gives the same bytes."""
    with svg_panels(path, 1) as (axes,):
        yield axes


@contextmanager
def svg_panels(path: Path, count: int) -> Iterator[list[Any]]:
    """So many axes beside each other, each with its own scale, whose figure becomes an SVG."""
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
