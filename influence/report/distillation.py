"""The page of a distillation: verdict, filter, accuracy against tokens, controls, wordings, judges, examples.

One file without script or request, in the style of the other reports. Every text of a model or task is untrusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from influence.analysis.distillation import (
    differences,
    judges,
    measures,
    sensitivity,
    verdict,
    wordings,
)
from influence.files import whole_file
from influence.report.distillation_figures import (
    CHARACTERS,
    MOST_SAMPLES,
    OF_EACH,
    cost_figure,
    examples,
    funnel_figure,
    wording_figure,
)
from influence.report.drawing import exporting
from influence.report.format import count, fixed, interval, interval_of
from influence.report.page import Place, Section, render, write_page
from influence.store.artefact import open_complete
from influence.store.formats.distillation import (
    DISTILLED,
    RESULTS_FILE,
    SUMMARY_FILE,
    SYSTEM_1,
    SYSTEM_2,
    DistillationResults,
    DistillationSummary,
    Verdict,
    read_answers,
)
from influence.store.formats.records import read_record, write_record

KIND = "distillation"
_WHAT = {
    "System 1": "the model as it was, asked for the answer at once",
    "System 2, one sample": "the first sample alone, without the filter",
    "System 2": "all samples and the filter's choice",
    "distilled": "tuned on what the filter kept, asked for the answer at once",
    "distilled, stepwise": "the same pairs; the trace removed token by token",
    "distilled, context": "the same inputs; taught by itself with the trace in context",
    "no filter": "control: tuned on the first sample of every input",
    "System 1 distilled": "control: tuned on System 1's own filtered answers",
    "gold labels": "control: tuned on the right answers of all inputs",
}


def write_results(folder: Path) -> Path:
    """Write tables, figures and page of a finished distillation into its folder; the page.

    `tables/` has models, differences, wordings, sensitivity and judges, each as Parquet and CSV; `results.json` all of
    them with the verdict; `figures/` SVG, PDF and PNG.
    """
    open_complete(folder, KIND)
    write_tables(folder, _summary(folder).config["tune"]["way"])
    return distillation_page(folder, folder / "report.html", figures=folder / "figures")


def write_tables(folder: Path, way: str) -> Verdict:
    """Write `tables/` and `results.json` beside the answers in a folder; the verdict.

    Args:
        way: The internaliser, for the words of the verdict.
    """
    answers = read_answers(folder)
    tables = _tables(answers)
    (folder / "tables").mkdir(exist_ok=True)
    for name, table in tables.items():
        with whole_file(folder / "tables" / f"{name}.parquet") as part:
            table.to_parquet(part, index=False)
        with whole_file(folder / "tables" / f"{name}.csv") as part:
            table.to_csv(part, index=False)
    said = verdict(answers, way)
    records = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    write_record(folder / RESULTS_FILE, DistillationResults(verdict=said, tables=records))
    return said


def distillation_page(folder: Path, out: Path, *, figures: Path | None = None) -> Path:
    """Write the page of a finished distillation to the HTML file `out`.

    Args:
        figures: A folder for the figures as SVG, PDF and PNG too, for papers.

    Returns:
        `out`. The same distillation gives the same bytes.

    Raises:
        StoreError: The folder holds no finished distillation, or one of its files is damaged.
    """
    manifest = open_complete(folder, KIND)
    with exporting(figures):
        values = _values(folder)
    return write_page(out, render("distillation.html", manifest, **values).encode("utf-8"))


def _summary(folder: Path) -> DistillationSummary:
    return read_record(folder / SUMMARY_FILE, DistillationSummary, fix="Run influence distill again.")


def _tables(answers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    worded = wordings(answers)
    tables = {
        "models": measures(answers),
        "differences": differences(answers),
        "wordings": worded,
        "sensitivity": sensitivity(worded),
        "judges": judges(answers),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _values(folder: Path) -> dict[str, Any]:
    answers, summary = read_answers(folder), _summary(folder)
    tables = _tables(answers)
    config, models = summary.config, tables["models"]
    said = verdict(answers, config["tune"]["way"])
    fates = examples(folder)
    return {
        "title": folder.resolve().name,
        "kind": "distillation",
        "task": config["task"]["name"],
        "system": config["system"],
        "way": config["tune"]["way"],
        "verdict": said,
        "tiles": _tiles(models, summary),
        "card": _card(config, summary),
        "settings": sorted(
            (key, "–" if value is None else str(value)) for key, value in config["tune"].items()
        ),
        "dropped": [(reason, count(number)) for reason, number in summary.filter.dropped_for.items()],
        "models": _models(models, tables.get("differences")),
        "no_control": sorted(summary.no_control.items()),
        "sensitivity": _sensitivity(tables.get("sensitivity")),
        "judges": _judges(tables.get("judges")),
        "fates": fates,
        "left_out": _left_out(fates),
        "sections": _sections(summary, tables),
    }


def _sections(summary: DistillationSummary, tables: Mapping[str, pd.DataFrame]) -> list[Section]:
    worded = wording_figure(tables.get("wordings", pd.DataFrame()))
    return [
        Section(
            "filter",
            "Filter",
            "How much of what System 2 said was learned from?",
            (Place(funnel_figure(summary.filter)),),
        ),
        Section(
            "cost",
            "Accuracy and tokens",
            "What is gained, what does it cost, and what do the controls say?",
            (Place(cost_figure(tables["models"])),),
        ),
        *(
            [
                Section(
                    "wordings",
                    "Wordings",
                    "How much does the wording of the prompt alone change?",
                    (Place(worded),),
                )
            ]
            if worded is not None
            else []
        ),
        *(
            [
                Section(
                    "judges",
                    "Judges",
                    "Does a judge agree with people, and with itself when the two responses change places?",
                )
            ]
            if "judges" in tables
            else []
        ),
        Section(
            "examples", "Examples", "What was kept, what was dropped, and what System 2 wrote on the way."
        ),
    ]


def _tiles(models: pd.DataFrame, summary: DistillationSummary) -> list[tuple[str, str, str]]:
    """The numbers that open the page: a name, a value, a note."""
    rows = models.set_index("model").to_dict("index")
    tiles = [
        (f"Accuracy, {name}", f"{rows[name]['accuracy']:.3f}", interval_of(rows[name], "accuracy", 3))
        for name in (SYSTEM_1, SYSTEM_2, DISTILLED)
    ]
    less = rows[SYSTEM_2]["tokens"] / max(rows[DISTILLED]["tokens"], 1e-9)
    tokens = f"{rows[SYSTEM_2]['tokens']:,.1f} by System 2, {rows[DISTILLED]['tokens']:,.1f} distilled"
    tiles.append(("Fewer tokens", f"{less:,.1f}×", tokens))
    sums = summary.filter
    known = "" if sums.target_accuracy is None else f"; {sums.target_accuracy:.1%} of their targets are right"
    tiles.append(("Inputs kept", f"{sums.kept / sums.items:.1%}", f"{count(sums.kept)}{known}"))
    return tiles


def _card(config: Mapping[str, Any], summary: DistillationSummary) -> list[tuple[str, str]]:
    sampling = config["sampling"]
    return [
        ("Task", str(config["task"]["name"])),
        ("System 2", str(config["system"])),
        ("Model", str(config["model"])),
        (
            "Inputs",
            f"{count(summary.inputs['train'])} to learn from, {count(summary.inputs['test'])} to test",
        ),
        ("Samples", f"{count(config['samples'])} an input, temperature {sampling['temperature']:g}"),
        ("Filter", f"{config['filter']}; the {config['target']} is distilled"),
        ("Cost of System 2", f"{summary.tokens_per_input:,.1f} tokens an input to learn from"),
        ("Internaliser", str(config["tune"]["way"])),
    ]


def _models(models: pd.DataFrame, minus: pd.DataFrame | None) -> list[dict[str, str]]:
    """The table of models as texts."""
    against = {} if minus is None else minus.set_index("minus").to_dict("index")
    shown = []
    for row in models.to_dict("records"):
        name = str(row["model"])
        difference = against.get(name)
        shown.append(
            {
                "model": name,
                "what": _WHAT.get(name, ""),
                "accuracy": f"{row['accuracy']:.3f}",
                "interval": interval_of(row, "accuracy", 3),
                "right": f"{count(int(row['right']))}/{count(int(row['n']))}",
                "unread": count(int(row["unread"])),
                "tokens": f"{row['tokens']:,.1f}",
                "difference": fixed(None if difference is None else difference["difference"], 3, "+"),
                "difference_interval": ""
                if difference is None
                else interval(difference["low"], difference["high"], 3, "+"),
            }
        )
    return shown


def _sensitivity(table: pd.DataFrame | None) -> list[dict[str, str]]:
    if table is None:
        return []
    return [
        {"model": str(row["model"]), "wordings": count(int(row["wordings"]))}
        | {name: f"{row[name]:.3f}" for name in ("lowest", "highest", "spread", "mean")}
        for row in table.to_dict("records")
    ]


def _judges(table: pd.DataFrame | None) -> list[dict[str, str]]:
    if table is None:
        return []
    return [
        {
            "model": str(row["model"]),
            "pairs_are": str(row["pairs_are"]),
            "n": count(int(row["n"])),
            "agreement": fixed(row["agreement"], 3),
            "agreement_interval": interval_of(row, "agreement", 3),
            "inconsistent": f"{row['inconsistent']:.1%}",
            "inconsistent_interval": f"{row['inconsistent_low']:.1%} to {row['inconsistent_high']:.1%}",
            "unread": f"{row['unread']:.1%}",
        }
        for row in table.to_dict("records")
    ]


def _left_out(fates: list[tuple[str, int, list[Any]]]) -> list[str]:
    met, shown = sum(number for _, number, _ in fates), sum(len(some) for *_, some in fates)
    return [
        f"Examples: {count(shown)} of {count(met)} inputs are shown, the first {OF_EACH} of each fate, with up to "
        f"{MOST_SAMPLES} samples; texts are cut at {count(CHARACTERS)} characters. All lie in samples/traces.jsonl.",
        "Answers to the test inputs: all lie in answers/, a Parquet file a model.",
        "The paper publishes neither learning rate nor steps nor batch; the settings above are ours.",
    ]
