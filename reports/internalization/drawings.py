"""The figures of a task: its ablations and its methods along the removal, and accuracy against speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.internalization.scales import METHODS
from reports.kit.page import svg_axes

#: A colour and a marker a run, the same in all figures (Okabe and Ito).
_LOOK = {
    "stepwise": ("#000000", "o"),
    "adaptive": ("#0072B2", "s"),
    "no-smoothing": ("#D55E00", "v"),
    "no-reset": ("#E69F00", "^"),
    "right-side": ("#009E73", "<"),
    "left-side": ("#009E73", "<"),
    "larger-delta": ("#CC79A7", ">"),
    "kept-positions": ("#56B4E9", "D"),
    "moved-positions": ("#56B4E9", "D"),
    "explicit-cot": ("#009E73", "P"),
    "no-cot": ("#666666", "X"),
    "icot-kd": ("#E69F00", "*"),
}


def draw_removal(curves: pd.DataFrame, path: Path, runs: Sequence[str], base: str) -> None:
    """Accuracy against removed tokens; the band is the 95 % interval, the dotted line no CoT.

    Args:
        curves: Of one task, of `tables.curves_table`.
        runs: Those that are drawn.
        base: The run that ablations change, drawn thicker.
    """
    with svg_axes(path) as axes:
        for name in runs:
            own = curves[curves["run"] == name]
            if own.empty:
                continue
            colour, marker = _LOOK[name]
            width = 2.4 if name == base else 1.2
            x = own["removed"]
            axes.plot(x, own["accuracy"], label=name, color=colour, marker=marker, ms=4, linewidth=width)
            axes.fill_between(x, own["accuracy_low"], own["accuracy_high"], color=colour, alpha=0.12, lw=0)
        for value in curves.loc[curves["run"] == "no-cot", "accuracy"]:
            axes.axhline(value, color=_LOOK["no-cot"][0], linestyle=":", label="no-cot")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _finish(axes, "removed tokens of the chain of thought")


def draw_trade_off(curves: pd.DataFrame, path: Path) -> None:
    """Accuracy against relative speed: a point a method, or a stage of those that remove the chain."""
    with svg_axes(path) as axes:
        for name in reversed(METHODS):  # points over curves
            own = curves[(curves["run"] == name) & curves["speed"].notna()]
            if len(own):
                colour, marker = _LOOK[name]
                axes.plot(
                    own["speed"],
                    own["accuracy"],
                    label=name,
                    color=colour,
                    marker=marker,
                    lw=1,
                    ms=4 if len(own) > 1 else 8,
                )
        _finish(axes, "examples a second at batch size 1, no CoT = 1")


def _finish(axes: Any, label: str) -> None:
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy (exact match)")
    if axes.get_legend_handles_labels()[0]:
        axes.figure.legend(loc="outside right upper", frameon=False, fontsize=8)
