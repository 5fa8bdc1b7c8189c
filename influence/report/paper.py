"""Figures for papers: while `exporting` is on, every chart that is drawn is also written as SVG and PDF, on white."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from influence.files import whole_file
from influence.report.inks import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    """Write a figure as `name.svg` and `name.pdf`, in the colours of paper; it is not to be drawn on after."""
    folder = _folder.get()
    if folder is None:
        return
    _recolour(figure)
    for kind, dates in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
        with whole_file(folder / f"{name}.{kind}") as part:
            figure.savefig(part, format=kind, facecolor="white", metadata=dates)


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
