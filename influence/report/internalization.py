"""The page of an internalisation run: settings, stages, curves, positions, accuracy against speed, generations.

One file without script or request, in the style of the other reports. Every text of a run or task is untrusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from influence.analysis.internalization import Evaluation, pooled_rows, position_rows, stage_rows
from influence.files import whole_file
from influence.report.drawing import exporting
from influence.report.format import count, fixed, interval_of, percent, plain
from influence.report.internalization_figures import (
    accuracy_figure,
    generations,
    pooled_figure,
    position_figure,
    trade_off_figure,
    training_figure,
)
from influence.report.page import Place, Section, render, write_page
from influence.store.artefact import write_json
from influence.store.formats.training import StageFile, read_metrics

#: Share of the exact match of the first stage that counts as kept.
MOST_OF_IT = 0.9
#: Runs of other methods that have a tile.
_MOST_BASELINES = 4
#: Settings that the table of settings leaves out, for they say nothing but what the card says already.
_CARD = ("mode", "model", "seed", "side", "keep_positions", "by_step")


def internalization_page(
    evaluation: Evaluation, out: Path, *, others: Sequence[Evaluation] = (), figures: Path | None = None
) -> Path:
    """Write the page of a run that was evaluated to the HTML file `out`.

    Args:
        others: Evaluated runs to compare with: baselines, and other seeds of the same method.
        figures: A folder for the figures as SVG, PDF and PNG too, for papers.

    Returns:
        `out`. The same evaluation gives the same bytes.
    """
    with exporting(figures):
        values = _values(evaluation, others)
    made = {"evaluation": evaluation.manifest, "last stage": msgspec.to_builtins(evaluation.stages[-1].about)}
    return write_page(out, render("internalization.html", made, **values).encode("utf-8"))


def write_results(evaluation: Evaluation, others: Sequence[Evaluation] = ()) -> Path:
    """Write tables, figures and page of an evaluated run into its folder; the page.

    `evaluation.json` and `evaluation.csv` have a row a stage, `evaluation-positions.csv` one a stage and position;
    with other runs of the same method, `evaluation-pooled.csv` one a number of removed tokens. `figures/` has SVG,
    PDF and PNG.
    """
    run, rows = evaluation.run, stage_rows([evaluation])
    same = [other for other in others if other.method == evaluation.method]
    tables = {"evaluation": rows, "evaluation-positions": position_rows([evaluation])}
    if same:
        tables["evaluation-pooled"] = pooled_rows(stage_rows([evaluation, *same]))
    for name, table in tables.items():
        with whole_file(run / f"{name}.csv") as part:
            table.to_csv(part, index=False)
    stored = {"manifest": evaluation.manifest, "stages": json.loads(rows.to_json(orient="records"))}
    write_json(run / "evaluation.json", stored)
    return internalization_page(evaluation, run / "evaluation.html", others=others, figures=run / "figures")


def _values(evaluation: Evaluation, others: Sequence[Evaluation]) -> dict[str, Any]:
    rows = stage_rows([evaluation])
    compared = stage_rows(others) if others else rows.iloc[:0]
    same = compared[compared["method"] == evaluation.method]
    about = evaluation.stages[-1].about
    config = evaluation.manifest["config"]
    return {
        "title": evaluation.run.resolve().name,
        "kind": "internalisation",
        "mode": about.mode,
        "model": about.model,
        "task": _task(config),
        "split": config["split"],
        "n": config["examples"],
        "unit": _unit(about),
        "verdict": verdict(rows, _unit(about)),
        "tiles": _tiles(rows, compared[compared["method"] != evaluation.method], about),
        "card": _card(about),
        "settings": sorted((key, _shown(v)) for key, v in about.settings.items() if key not in _CARD),
        "stages": _table(rows),
        "compared": _table(compared[compared["method"] != evaluation.method]),
        "relative": bool(rows["relative_speed"].notna().any()),
        "timed": int(rows["timed"].max()),
        "same": _table(same),
        "generations": generations(evaluation.stages),
        "sections": _sections(evaluation, rows, compared, same),
        "left_out": _left_out(evaluation, rows),
    }


def _sections(
    evaluation: Evaluation, rows: pd.DataFrame, compared: pd.DataFrame, same: pd.DataFrame
) -> list[Section]:
    unit = _unit(evaluation.stages[-1].about)
    speed = trade_off_figure(rows, compared)
    trained = training_figure(_metrics(evaluation))
    by_position = position_figure(position_rows([evaluation]), rows, unit)
    sections = [
        Section(
            "stages",
            "Stages",
            "How much of the chain can go before the answer does?",
            (Place(accuracy_figure(rows, unit)),),
        ),
        Section(
            "trade-off",
            "Accuracy and speed",
            "A partly internalised model is faster than explicit reasoning and may be better than none."
            if speed is not None
            else "",
            (Place(speed, absent="No speed was measured."),),
        ),
        Section(
            "positions",
            "Positions of the answer",
            "Which tokens of the answer are lost first?",
            (Place(by_position),),
        ),
    ]
    if len(same):
        pooled = Place(pooled_figure(pd.concat([rows, same]), unit))
        sections.append(Section("runs", "Several runs", "Does another seed do the same?", (pooled,)))
    absent = "The run has no metrics.jsonl: there is no curve of its training."
    sections.append(Section("training", "Training", "", (Place(trained, absent=absent),)))
    told = (
        "The first right and the first wrong ones of some stages. Underlined: a word of the answer that is not in its "
        "place."
    )
    return [*sections, Section("generations", "Generations", told)]


def verdict(rows: pd.DataFrame, unit: str) -> str:
    """How much of the chain can go with most of the accuracy kept, in a sentence; `rows` are those of one run."""
    rows = rows.sort_values("removed", kind="stable")
    first, last = rows.iloc[0], rows.iloc[-1]
    if len(rows) == 1:
        removed = count(int(last["removed"]))
        return f"The one stage, with {removed} {unit} removed, has exact match {last['accuracy']:.3f}."
    if not first["accuracy"] > 0:
        return (
            f"The first stage answers no example right; the last one has exact match {last['accuracy']:.3f}."
        )
    keeps = rows["accuracy"] >= MOST_OF_IT * first["accuracy"]
    best = rows[keeps].iloc[-1]
    text = (
        f"With {count(int(best['removed']))} {unit} removed, exact match is {best['accuracy']:.3f} "
        f"(95 % {interval_of(best, 'accuracy', 3)}) against {first['accuracy']:.3f} at the first stage: the most of "
        f"the chain that can go with {percent(MOST_OF_IT)} of it kept."
    )
    dips = rows[~keeps & (rows["removed"] < best["removed"])]
    if len(dips):
        lower = ", ".join(count(int(number)) for number in dips["removed"])
        text += f" It does not fall steadily: it is lower with {lower} removed."
    if best["removed"] < last["removed"]:
        text += (
            f" At the last stage, with {count(int(last['removed']))} removed, it is {last['accuracy']:.3f}."
        )
    return text


def _unit(about: StageFile) -> str:
    return "steps" if about.by_step else "tokens"


def _task(config: Mapping[str, Any]) -> str:
    settings = config.get("task_settings") or {}
    digits = settings.get("digits")
    return f"{config['task']} {digits}×{digits}" if digits else str(config["task"])


def _tiles(rows: pd.DataFrame, baselines: pd.DataFrame, about: StageFile) -> list[tuple[str, str, str]]:
    """The numbers that open the page: a name, a value, a note; those of runs of another method stand last."""
    first, last = rows.iloc[0], rows.iloc[-1]
    tiles = [
        (
            "Removed, last stage",
            f"{count(int(last['removed']))} of {count(about.total)}",
            f"{_unit(about)} of the longest chain",
        ),
        ("Exact match, last stage", f"{last['accuracy']:.3f}", interval_of(last, "accuracy", 3)),
        (
            "Generated tokens",
            f"{last['generated_tokens']:.1f}",
            f"a mean; first stage {first['generated_tokens']:.1f}",
        ),
    ]
    if len(rows) > 1:
        note = f"{count(int(first['removed']))} removed; {interval_of(first, 'accuracy', 3)}"
        tiles.insert(1, ("Exact match, first stage", f"{first['accuracy']:.3f}", note))
    if np.isfinite(last["relative_speed"]):
        tiles.append(
            (
                "Speed, last stage",
                f"{last['relative_speed']:.2f}×",
                f"times no CoT; {interval_of(last, 'relative_speed', 2)}",
            )
        )
    elif np.isfinite(last["examples_per_second"]):
        tiles.append(("Speed, last stage", f"{last['examples_per_second']:.1f}", "examples a second"))
    for row in baselines.drop_duplicates("run", keep="last").head(_MOST_BASELINES).to_dict("records"):
        note = f"{plain(str(row['run']), 40)}; {interval_of(row, 'accuracy', 3)}"
        tiles.append((f"Exact match, {plain(str(row['method']), 30)}", f"{row['accuracy']:.3f}", note))
    return tiles


def _card(about: StageFile) -> list[tuple[str, str]]:
    normal = "kept: what follows the cut stays where it was" if about.keep_positions else "normal"
    return [
        ("Method", about.mode),
        ("Model", about.model),
        ("Seed", str(about.seed)),
        ("Removed", f"{'whole steps' if about.by_step else 'tokens'}, from the {about.side}"),
        ("Positions", normal),
        ("Longest chain", f"{count(about.total)} {_unit(about)}"),
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def _table(rows: pd.DataFrame) -> list[dict[str, str]]:
    """The table of stages as texts; – where nothing was measured."""
    shown = []
    for row in rows.to_dict("records"):
        cells = {str(key): str(value) for key, value in row.items()}
        cells |= {key: count(int(row[key])) for key in ("removed", "right", "examples")}
        cells["step"] = count(int(row["step"])) if row["step"] is not None else "–"
        for name, digits in (
            ("accuracy", 3),
            ("token_accuracy", 3),
            ("generated_tokens", 1),
            ("examples_per_second", 1),
            ("relative_speed", 2),
        ):
            cells[name] = fixed(row[name], digits)
            cells[f"{name}_interval"] = interval_of(row, name, digits) if np.isfinite(row[name]) else ""
        shown.append(cells)
    return shown


def _metrics(evaluation: Evaluation) -> pd.DataFrame:
    """The metrics of the run, or else of its last stage."""
    last = evaluation.run / evaluation.stages[-1].name
    return pd.DataFrame(read_metrics(evaluation.run) or read_metrics(last))


def _left_out(evaluation: Evaluation, rows: pd.DataFrame) -> list[str]:
    too_long = max(stage.measured.too_long for stage in evaluation.stages)
    unfinished = sum(stage.measured.unfinished for stage in evaluation.stages)
    timed = int(rows["timed"].max())
    items = [
        f"Speed of all {count(int(rows['examples'].max()))} examples: "
        f"{count(timed)} of them, evenly spread, were timed.",
        "What a batch makes of the speed: examples were generated one at a time, without compiling the model.",
        "Other generations than those shown: all of them lie in evaluation/ of the run, one file a stage.",
    ]
    if rows["relative_speed"].isna().all():
        items.append(
            "Speed relative to a model without chain of thought: no such run was given (--no-cot RUN)."
        )
    if too_long:
        items.append(f"Left out: {count(too_long)} examples that are longer than the positions of the model.")
    if unfinished:
        items.append(f"{count(unfinished)} generations of all stages together did not come to an end: wrong.")
    return items
