"""The figures: recall by how often a fact is stated, and what removal does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from reports.kit.page import svg_axes, svg_panels

#: Colours that differ for colour-blind readers too (Okabe and Ito).
_COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#666666")


def draw_recall(table: pd.DataFrame, path: Path) -> None:
    """Recall@10 of gold documents against the number of documents that state the fact, for true statements of it."""
    counted = table["queries_are"].str.fullmatch(r"stated (once|\d+ times), true statements")
    own = table[(table["measure"] == "recall@10") & counted]
    with svg_axes(path) as axes:
        for place, method in enumerate(own["method"].unique()):
            part = own[own["method"] == method]
            counts = part["queries_are"].str.extract(r"(\d+)")[0].fillna("1").astype(int).to_numpy()
            x = np.log(counts) + 0.03 * (place - 2)
            low, high = part["value"] - part["low"], part["high"] - part["value"]
            axes.errorbar(
                x,
                part["value"],
                yerr=[low.clip(lower=0).fillna(0), high.clip(lower=0).fillna(0)],
                label=method,
                color=_COLOURS[place % len(_COLOURS)],
                marker="o",
                capsize=2,
                linewidth=1.2,
            )
            axes.set_xticks(np.log(counts), [str(count) for count in counts])
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("documents that state the fact")
        axes.set_ylabel("recall@10 of gold documents")
        if len(own):
            axes.figure.legend(loc="outside right upper", frameon=False, fontsize=8)


def draw_removal(table: pd.DataFrame, path: Path) -> None:
    """Change of the loss on completions, a panel a group and a bar a way to choose the documents left out."""
    own = table[table["method"] != "undisturbed"]
    methods = list(own["method"].unique())
    parts = list(own.groupby("group", sort=False))
    with svg_panels(path, len(parts)) as panels:
        for axes, (group, rows) in zip(panels, parts, strict=True):
            part = rows.set_index("method").reindex(methods)
            value = part["nll_change"].to_numpy(float)
            error = np.nan_to_num([value - part["nll_low"], part["nll_high"] - value]).clip(min=0)
            colours = [_COLOURS[place % len(_COLOURS)] for place in range(len(methods))]
            axes.bar(np.arange(len(methods)), value, yerr=error, capsize=2, label=methods, color=colours)
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set_xticks([])
            axes.set_title(group)
        panels[0].set_ylabel("change of loss, nats a completion")
        handles, labels = panels[0].get_legend_handles_labels()
        panels[0].figure.legend(
            handles, labels, loc="outside right upper", frameon=False, fontsize=8, title="left out by"
        )
