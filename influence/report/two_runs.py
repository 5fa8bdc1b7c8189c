"""The same queries in two runs, of two models or two checkpoints: R of each query, and the ratio of the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from influence.analysis.grouping import mean_interval, task_labels
from influence.report.drawing import GROUP_INKS, INK, LINE, MUTED, drawing_of
from influence.report.format import count, plain, signed
from influence.report.line_charts import Axes, Series, line_chart
from influence.report.page import Figure, Panel
from influence.store.formats.tables import made_by, read_tables
from influence.store.scores import Scores

#: Table of two runs, in the folder of the second.
CROSS = Path("analysis") / "correlation" / "cross.parquet"
_MOST_ROWS = 20
_WIDTH = 3.9


@dataclass(frozen=True)
class Pair:
    """Two runs, by name, and their figures."""

    a: str
    b: str
    figures: tuple[Figure, ...]


def pair(scores: Scores) -> Pair | None:
    """What `influence analyze correlation A B`, or `stages`, left of this run and another; None if neither ran."""
    crossed = read_tables(scores.folder, "correlation", ("cross",))
    if crossed is not None:
        names = run_names(scores.folder / CROSS)
        table = crossed["cross"].rename(columns={"query_b": "query"})[["query", "r"]]
        return _pair(scores, "correlation", names, table)
    staged = read_tables(scores.folder, "stages", ("facts", "agreement"))
    if staged is None:
        return None
    stages = list(dict.fromkeys(staged["facts"]["stage"]))
    agreement = staged["agreement"]
    table = agreement[(agreement["a"] == stages[0]) & (agreement["b"] == stages[-1])][["query", "r"]]
    return _pair(scores, "stages", (stages[0], stages[-1]), table)


def _pair(scores: Scores, name: str, names: tuple[str, str], table: pd.DataFrame) -> Pair:
    figures = [_agreement(scores, names, table)]
    ratios = read_tables(scores.folder, name, ("ratios",))
    if ratios is not None:
        figures.append(_ratios(scores, names, ratios["ratios"]))
    return Pair(*names, tuple(figures))


def run_names(path: Path) -> tuple[str, str]:
    """Folders of the two runs as the table remembers them, as short as tells them apart."""
    folders = [str(run.get("folder", "")) for run in made_by(path).get("runs", [])]
    if len(folders) != 2:
        return "the other run", "this run"
    parts = [[part for part in Path(folder).parts if part != "/"] for folder in folders]
    while len(parts[0]) > 1 and len(parts[1]) > 1 and parts[0][-1] == parts[1][-1]:
        parts = [own[:-1] for own in parts]
    return parts[0][-1], parts[1][-1]


def _agreement(scores: Scores, names: tuple[str, str], table: pd.DataFrame) -> Figure:
    labels = dict(zip((query.id for query in scores.queries), task_labels(scores.queries), strict=True))
    groups: dict[str, str] = {query.id: query.group for query in scores.queries}
    table = table.assign(task=table["query"].map(labels), label=table["query"].map(groups))
    table = table[["label", "task", "query", "r"]].dropna(subset=["r", "label"]).reset_index(drop=True)
    means = {str(task): mean_interval(own["r"]) for task, own in table.groupby("task", sort=False)}
    for column in ("mean", "low", "high"):
        table[column] = [means[task][column] for task in table["task"]]
    panels = []
    if len(table):
        panels.append(Panel("R of each query between the two", _strip(table)))
    cut = (
        f" The first {_MOST_ROWS} of {count(len(means))} tasks are drawn." if len(means) > _MOST_ROWS else ""
    )
    caption = (
        f"Pearson R over all {count(scores.documents_scored)} documents between the scores that {plain(names[0])} and "
        f"{plain(names[1])} give them for the same prompt. Dot: one query; diamond and bar: mean of the task with its "
        f"95 % bootstrap interval over queries. n = {count(len(table))} queries.{cut} Where the model's completions "
        "differ between the runs, so do the queries: R is then of two completions of one prompt."
    )
    return Figure("pair", tuple(panels), caption, table)


def _strip(table: pd.DataFrame) -> Markup:
    tasks = list(dict.fromkeys(table["task"]))[:_MOST_ROWS]
    height = 0.75 + 0.3 * len(tasks)
    gids: dict[str, str] = {}
    with drawing_of("pair-r", _WIDTH, height) as drawing:
        room = (14 + 5 * max(len(plain(str(task), 18)) for task in tasks)) / (72 * _WIDTH)
        plot = drawing.figure.add_axes((room, 0.42 / height, 0.97 - room, 1 - 0.6 / height))
        for row, task in enumerate(tasks):
            own = table[table["task"] == task]
            colour = GROUP_INKS.get(str(own["label"].iloc[0]), INK)
            gids |= dict.fromkeys((f"r-{row}", f"mean-{row}", f"bar-{row}"), str(own["label"].iloc[0]))
            spread = row + 0.22 * np.sin(np.arange(len(own)) * 2.4)
            plot.plot(own["r"], spread, "o", color=colour, alpha=0.45, markersize=3, gid=f"r-{row}")
            first = own.iloc[0]
            plot.plot([first["low"], first["high"]], [row, row], color=INK, linewidth=1.4, gid=f"bar-{row}")
            plot.plot([first["mean"]], [row], "D", color=INK, markersize=4.5, gid=f"mean-{row}")
        _dress(plot, [plain(str(task), 18) or "(empty)" for task in tasks], float(table["r"].min()))
    means = table.drop_duplicates("task")
    said = "; ".join(
        f"{plain(str(t), 60)}: mean R {signed(m)}" for t, m in zip(means["task"], means["mean"], strict=True)
    )
    return drawing.inline("R between two runs, query by query", f"{said}.", gids)


def _dress(plot: Any, names: Sequence[str], lowest: float) -> None:
    plot.set_yticks(range(len(names)), names)
    plot.set(ylim=(len(names) - 0.5, -0.5), xlim=(min(0.0, lowest) - 0.02, 1.02))
    plot.axvline(0, color=MUTED, linewidth=0.9)
    plot.set_xlabel("R", labelpad=2)
    plot.xaxis.set_major_formatter(lambda value, _position: f"{value:.10g}".replace("-", "−"))
    plot.grid(axis="x", color=LINE, linewidth=0.6)
    plot.set_axisbelow(True)
    plot.tick_params(left=False, bottom=False, pad=7.5)
    for side in ("top", "right", "left"):
        plot.spines[side].set_visible(False)


def _ratios(scores: Scores, names: tuple[str, str], table: pd.DataFrame) -> Figure:
    table = table.rename(columns={"group": "label"})
    edges = table[["low", "high"]].replace([-np.inf, np.inf], np.nan)
    step = float((edges["high"] - edges["low"]).median())
    low = edges["low"].fillna(edges["high"] - step)
    table = table.assign(low=edges["low"], high=edges["high"], log2_ratio=low + step / 2)
    panels = []
    for number, signs in enumerate(dict.fromkeys(table["signs"])):
        part = table[table["signs"] == signs]
        series = [
            Series(str(label), own["log2_ratio"], own["share"])
            for label, own in part.groupby("label", sort=False)
        ]
        axes = Axes(
            f"{plain(names[1], 24)} / {plain(names[0], 24)}",
            "share of the scores",
            x_log=False,
            x_powers=True,
        )
        title = f"Ratio of scores, {signs}"
        panels.append(Panel(str(signs), line_chart(f"pair-ratios-{number + 1}", title, series, axes)))
    caption = (
        f"Score in {plain(names[1])} over the score of the same document and query in {plain(names[0])}, in bins of "
        "half a power of 2; the outermost points hold all beyond. Pairs of scores of the same sign and of opposite "
        f"signs together add up to 1 for each group. n = {_said(table)}. Scores of different checkpoints have "
        "different curvature: a ratio compares sizes, not importance."
    )
    return Figure("pair-ratios", tuple(panels), caption, table)


def _said(table: pd.DataFrame) -> str:
    parts: list[Mapping[str, Any]] = table.drop_duplicates("label").to_dict("records")  # type: ignore[assignment]
    return "; ".join(
        f"{plain(str(one['label']), 40)} {count(int(one['queries']))} queries, "
        f"{count(int(table.loc[table['label'] == one['label'], 'scores'].sum()))} scores"
        + (f" ({count(int(one['left_out']))} with a 0 left out)" if one["left_out"] else "")
        for one in parts
    )
