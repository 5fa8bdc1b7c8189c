"""What a series of checkpoints shows: its models, what rankings prefer, where influence lies, what probes read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from influence.analysis.kinds import MEASURES
from influence.report.format import count, plain, shade, signed
from influence.report.line_charts import BOOTSTRAP, Axes, Series, line_chart
from influence.report.page import Choice, Figure, Matrix, Panel
from influence.store.checkpoints import PROBES, CheckpointRecord, is_checkpoints, read_checkpoints
from influence.store.formats.tables import read_tables

#: What is read of `influence analyze stages`; the last two are there for a task's corpus only.
MIX_TABLES = ("held", "kinds")
CONTRAST_TABLES = ("contrasts_by_group", "trends")
MOST_KINDS = 9
#: Per cent of the positive documents whose share of positive influence is drawn.
HELD = 1
MOST_LAYERS = 4

_PLACES = {
    "mark": "before the answer",
    "second separator": "second separator",
    "separator": "end of the input",
}
_BANDS = "Bands: 95 %, bootstrap over queries"


def checkpoint_views(folder: Path) -> list[tuple[str, Figure]]:
    """Return title and figure of each view that a score store has data for, in the order of the page."""
    views = []
    mix, contrast = read_tables(folder, "stages", MIX_TABLES), _contrasts(folder)
    if contrast is not None:
        views.append(("Answer or procedure", checkpoint_contrasts(contrast)))
    if mix is not None:
        views.append(("Where positive influence lies", checkpoint_mix(mix)))
    if (folder / "analysis" / "stages" / "selves_by_pair.parquet").exists():
        own = read_tables(folder, "stages", ("selves_by_pair",))
        views += [("A distilled model and its two selves", selves(own["selves_by_pair"]))] if own else []
    read = probes(folder) if checkpoints_above(folder) is not None else None
    if read is not None:
        views.append(("What can be read of the running quantities", read))
    return views


def _contrasts(folder: Path) -> dict[str, pd.DataFrame] | None:
    """None for a corpus whose documents do not say what they show."""
    if not (folder / "analysis" / "stages" / f"{CONTRAST_TABLES[0]}.parquet").exists():
        return None
    return read_tables(folder, "stages", CONTRAST_TABLES)


def checkpoints_above(folder: Path) -> list[CheckpointRecord] | None:
    """The checkpoints among which this score store lies; None where it is not among any."""
    above = folder.resolve().parent
    if not is_checkpoints(above):
        return None
    checkpoints = read_checkpoints(above)
    return checkpoints if folder.resolve().name in {checkpoint.name for checkpoint in checkpoints} else None


def checkpoint_list(folder: Path) -> Figure | None:
    """The checkpoints as a table: what was removed, what is right, trained on how much, scored with which Hessian."""
    checkpoints = checkpoints_above(folder)
    if checkpoints is None:
        return None
    asked = list(dict.fromkeys(task for checkpoint in checkpoints for task in checkpoint.accuracy))
    columns = ["removed", *(f"right, {task}" for task in asked), "trained on", "Hessian"]
    rows, records = [], []
    for checkpoint in checkpoints:
        cells = ["–" if checkpoint.removed is None else f"{checkpoint.removed} of {checkpoint.total}"]
        for task in asked:
            hits, n = checkpoint.accuracy.get(task, (0, 0))
            cells.append(f"{hits / n:.3f}" if n else "–")
        examples = checkpoint.facts.get("examples")
        cells += ["–" if examples is None else count(int(examples)), _hessian(checkpoint)]
        rows.append((checkpoint.name, "", tuple((cell, "") for cell in cells)))
        records.append((checkpoint.name, checkpoint.model, checkpoint.revision, *cells))
    table = pd.DataFrame(records, columns=["stage", "checkpoint", "revision", *columns])
    n = max((n for checkpoint in checkpoints for _, n in checkpoint.accuracy.values()), default=0)
    said = [
        "Every stage has scored the same documents",
        f"Right: share of n = {count(n)} held-out examples whose completion is, token by token, the most likely one. "
        "As asked: what the stage was trained to write. Answer only: the answer, given no chain of thought"
        * (n > 0),
        "Trained on: examples seen until then",
    ]
    caption = " ".join(f"{one}." for one in said if one)
    panel = Panel("Checkpoints", matrix=Matrix("stage", tuple(columns), tuple(rows), beside=""))
    return Figure("stage-list", (panel,), caption, table)


def _hessian(checkpoint: CheckpointRecord) -> str:
    if checkpoint.hessian is None:
        return "identity"
    return f"of {Path(checkpoint.hessian).name}" if checkpoint.shared else "its own"


def checkpoint_contrasts(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """What the ranking of a query prefers, a panel a contrast, along the checkpoints."""
    table, trends = tables["contrasts_by_group"], tables["trends"]
    names = tuple(dict.fromkeys(table["stage"]))
    panels = []
    for number, (measure, meaning) in enumerate(MEASURES.items(), 1):
        of_measure = table[(table["measure"] == measure) & table["mean"].notna()]
        if of_measure.empty:
            continue
        axes = Axes(
            "stage",
            "probability, 0.5: no preference",
            x_log=False,
            names=names,
            y_limits=(-0.03, 1.03),
            y_line=0.5,
            band=BOOTSTRAP,
        )
        title = f"Preference for {measure}, by stage"
        svg = line_chart(f"stage-contrasts-{number}", title, _lines(of_measure, names, "mean"), axes)
        panels.append(Panel(measure, svg, note=meaning))
    caption = (
        "How often, in the ranking of a query, a document of the first set stands above one of the second (normed "
        "scores; 0.5: as often below). A chain is a matter of form too, and a stage prefers the form it is asked in; "
        "answer, operands and partial results compare documents of one form. Mean over queries. "
        f"{_BANDS}. n = {count(int(table['n'].max()))} queries a line. {_trends(trends)}"
    )
    return Figure("stage-contrasts", tuple(panels), caption, table)


def _trends(trends: pd.DataFrame) -> str:
    """One sentence a label on the contrast that the study is about."""
    parts = []
    for row in trends[trends["measure"] == next(iter(MEASURES))].to_dict("records"):
        parts.append(
            f"{row['measure']}, {plain(row['label'])}: {signed(row['change'])} from first to last stage "
            f"({signed(row['change_low'])} to {signed(row['change_high'])}); of {count(row['orders'])} orders of "
            f"the stages, {100 * row['p']:.0f} % have a slope as large"
        )
    return "; ".join(parts) + "." if parts else ""


def checkpoint_mix(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Where the positive influence lies: held by how few documents, and of which kind."""
    held, kinds = tables["held"], tables["kinds"]
    names = tuple(dict.fromkeys(kinds["stage"]))
    held = held[(held["side"] == "positive") & (held["unit"] == "percent") & (held["at"] == HELD)]
    influence = kinds[kinds["measure"] == "positive influence"]
    table = pd.concat(
        [
            influence.rename(columns={"kind": "what"}).drop(columns="measure"),
            held.assign(what=f"first {HELD} %", share=held["mean"])[
                ["stage", "label", "what", "share", "low", "high", "n"]
            ],
        ]
    )
    panels = []
    if held["mean"].notna().any():
        axes = Axes(
            "stage", "mean over queries", x_log=False, names=names, y_limits=(-0.03, 1.03), band=BOOTSTRAP
        )
        title = f"Share of positive influence that the first {HELD} % of the documents hold"
        svg = line_chart("stage-held", title, _lines(held, names, "mean"), axes)
        panels.append(Panel(f"held by the first {HELD} %", svg))
    largest = influence.groupby("kind", sort=False)["share"].max().nlargest(MOST_KINDS).index
    for number, (kind, part) in enumerate(
        influence[influence["kind"].isin(largest)].groupby("kind", sort=False), 1
    ):
        base = float(part["corpus_share"].mean())
        axes = Axes(
            "stage",
            "mean over queries",
            x_log=False,
            names=names,
            y_limits=(-0.03, 1.03),
            y_line=base,
            band=BOOTSTRAP,
        )
        title = f"Share of positive influence from {plain(str(kind))}, by stage"
        svg = line_chart(f"stage-mix-{number}", title, _lines(part, names, "share"), axes)
        panels.append(Panel(str(kind), svg, note=f"{100 * base:.2g} % of the corpus", source=str(kind)))
    left_out = influence["kind"].nunique() - len(largest)
    caption = (
        "Share of the sum of positive influence per nat: of the first documents, and of each kind of document; level "
        "line: share of the corpus. A kind that a stage has nothing left to learn from has small gradients, and so a "
        f"small share: their mean is in the data as gradient_norm. {_BANDS}. "
        f"n = {count(int(influence['n'].max()))} queries a line."
        + (f" {count(left_out)} smaller kinds are in the data." if left_out else "")
    )
    return Figure("stage-mix", tuple(panels), caption, table)


def _lines(table: pd.DataFrame, names: tuple[str, ...], value: str) -> list[Series]:
    place = {checkpoint: number for number, checkpoint in enumerate(names)}
    return [
        Series(
            str(label),
            [place[checkpoint] for checkpoint in own["stage"]],
            own[value],
            own["low"],
            own["high"],
        )
        for label, own in table.groupby("label", sort=False)
    ]


def probes(folder: Path) -> Figure | None:
    """What linear probes read of the running quantities, a table a place and layer; None where nobody probed."""
    path = folder.resolve().parent / PROBES
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    names = tuple(dict.fromkeys(table["stage"]))
    places = [place for place in _PLACES if (table["place"] == place).any()]
    deepest = int(table["layer"].max())
    layers = sorted({round(deepest * part / (MOST_LAYERS - 1)) for part in range(MOST_LAYERS)}, reverse=True)
    panels = []
    for at, place in enumerate(places, 1):
        for depth, layer in enumerate(layers, 1):
            own = table[(table["place"] == place) & (table["layer"] == layer)]
            rows = tuple(
                (str(quantity), f"{part['chance'].iloc[0]:.2f}", tuple(_probe_cells(part, names)))
                for quantity, part in own.groupby("quantity", sort=False)
            )
            matrix = Matrix("quantity", names, rows, beside="chance")
            panels.append(Panel(f"{_PLACES[place]}, {_layer(layer)}", at=(at, depth), matrix=matrix))
    measure = "Accuracy" if (table["measure"] == "accuracy").all() else "R²"
    caption = (
        f"{measure} of a ridge regression from the hidden states of a stage that is given an input and no chain of "
        f"thought, on n = {count(int(table['n'].max()))} held-out examples; 95 % intervals are in the data. The rows "
        "are in the order of the computation. A quantity that can be read need not be used."
        + (
            f" Drawn are {count(len(layers))} of {count(deepest + 1)} layers."
            if len(layers) <= deepest
            else ""
        )
    )
    choices = (
        Choice("Read at", tuple(_PLACES[place] for place in places)),
        Choice("Layer", tuple(_layer(layer) for layer in layers)),
    )
    return Figure("probes", tuple(panels), caption, table, choices)


def selves(table: pd.DataFrame) -> Figure:
    """Whose documents a distilled model leans on, a row a pair of models that are asked about the same inputs."""
    measures = {"r": "R of the scores", "overlap": "overlap of the top 50"}
    rows = []
    for pair, part in table.groupby("pair", sort=False):
        value = {row["measure"]: row for row in part.to_dict("records")}
        cells = []
        for measure in measures:
            one = value[measure]
            said = f"{signed(one['mean'])} ({signed(one['low'])} to {signed(one['high'])})"
            cells.append((said, shade(float(one["mean"]))))
        rows.append((str(pair), "", tuple(cells)))
    caption = (
        "System 1: the first checkpoint asked the question as it stands. System 2: the same checkpoint, given what it "
        "had read and written before its answer. Distilled: the last checkpoint, asked as System 1. All are asked for "
        f"the answer that System 2 gave. Mean over n = {count(int(table['n'].max()))} inputs, "
        "95 % bootstrap intervals."
    )
    matrix = Matrix("pair", tuple(measures.values()), tuple(rows), beside="")
    return Figure("selves", (Panel("Agreement about the same inputs", matrix=matrix),), caption, table)


def _layer(layer: int) -> str:
    return f"layer {layer}" if layer else "embeddings"


def _probe_cells(part: pd.DataFrame, names: tuple[str, ...]) -> list[tuple[str, str]]:
    value = dict(zip(part["stage"], part["value"], strict=True))
    chance = float(part["chance"].iloc[0])
    cells = []
    for name in names:
        one = value.get(name)
        above = 0.0 if one is None or one != one else max(0.0, (one - chance) / max(1 - chance, 1e-9))
        level = min(10, round(10 * above))
        cells.append(("–" if one is None or one != one else f"{one:.2f}", f"p{level}" if level else ""))
    return cells
