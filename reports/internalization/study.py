"""Every run of every task and seed, and the tables over them; killed at any point, it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from influence.data.chains.write import write_task
from influence.provenance import provenance
from influence.report.internalization import internalization_page
from influence.store.artefact import claim
from reports.internalization.drawings import draw_removal, draw_trade_off
from reports.internalization.one_seed import OneSeed, expected_seconds
from reports.internalization.results import write_results
from reports.internalization.scales import METHODS, SCALES, Scale
from reports.internalization.tables import curves_table, effects_table, methods_table
from reports.kit.asked import scale_named, seeds_asked, silent
from reports.kit.command import command_line
from reports.kit.steps import Times, run_steps


def run(
    out: str | Path,
    scale: str | Scale = "laptop",
    seeds: int | None = None,
    say: Callable[[str], None] = silent,
) -> dict[str, pd.DataFrame]:
    """Reproduce the comparison and the ablations of Deng et al. (arXiv 2405.14838) at a size of your choice.

    Args:
        out: Folder of everything. The same call after a kill goes on; with more seeds it adds those.
        scale: A name in `scales.SCALES`, or a scale of your own.
        seeds: How often every run is made, seeded 0, 1, …; the scale's own number by default.
        say: Takes one line for each step (which of how many, and about how long is left), and the lines of progress
            of each training.

    Returns:
        The tables in `out`: methods, curves, effects. Also written there are `findings.md`, `results.json`, a CSV of
        each table and two figures a task. `out/TASK/seed-N` has pages of its stepwise runs, and each run as `influence
        train` leaves it, but for weights: once evaluated, those of a method's last stage stay.

    Raises:
        InputError: There is no such scale, or fewer than one seed.
        StoreError: `out` holds other files, or a run with other settings than the scale's: before any training.
    """
    chosen = scale_named(scale, SCALES) if isinstance(scale, str) else scale
    n_seeds = seeds_asked(seeds, chosen.seeds)
    folder = Path(out)
    claim(folder, "reproduction of internalisation", chosen.measuring())
    times = Times(folder / "times.json")
    every = _every(folder, chosen, n_seeds, say)
    for one in every:
        one.check()
    work = {kind: amount for one in every for kind, amount in one.work().items()}
    for number, one in enumerate(every):
        later = [step.kind for other in every[number + 1 :] for step in other.steps() if not step.done()]
        where = f"{one.runs.title}, seed {one.seed + 1} of {n_seeds}"
        run_steps(one.steps(), times, where, later, say, partial(expected_seconds, work))
        for name in one.settings:
            one.tidy(name)
    say("tables and figures")
    tables = tables_of(every)
    _draw(folder, chosen, tables["curves"])
    for one in every:
        _pages(one)
    spent = sum(one.seconds() for one in every)
    made_by = provenance(
        spent,
        command=command_line("internalization", scale, out, seeds),
        seeds=n_seeds,
        hours=spent / 3600,
        step_seconds=times.seconds,
    )
    write_results(folder, chosen, made_by, tables)
    return tables


def summary(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """What the command prints: the methods, then the effects."""
    for record in tables["methods"].to_dict("records"):
        yield (
            f"{record['task']}, {record['method']:<12}  accuracy {record['accuracy']:.3f} "
            f"({record['accuracy_low']:.3f}–{record['accuracy_high']:.3f}), speed {record['speed']:.2f}"
        )
    for record in tables["effects"].to_dict("records"):
        yield f"{record['task']}, {record['what']}, {record['claim']}: {record['appears']}"


def tables_of(every: Sequence[OneSeed]) -> dict[str, pd.DataFrame]:
    """All tables over finished seeds, of all tasks."""
    tables: dict[str, list[pd.DataFrame]] = {"methods": [], "curves": [], "effects": []}
    for name in dict.fromkeys(one.runs.name for one in every):
        own = [one for one in every if one.runs.name == name]
        task, seeds = own[0].runs, [one.evaluations() for one in own]
        tables["methods"].append(methods_table(task, seeds))
        tables["curves"].append(curves_table(task, seeds))
        tables["effects"].append(effects_table(task, seeds))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _every(folder: Path, scale: Scale, n_seeds: int, say: Callable[[str], None]) -> list[OneSeed]:
    """Every seed of every task, the tasks made where they are not there; all settings are checked by that."""
    every = []
    for number, runs in enumerate(scale.tasks, 1):
        runs.runs(0)
        say(f"task {number} of {len(scale.tasks)}: {runs.title}")
        task = write_task(runs.maker, folder / runs.name / "task")
        for seed in range(n_seeds):
            every.append(OneSeed(folder / runs.name / f"seed-{seed}", runs, task, scale, seed, say))
    return every


def _pages(one: OneSeed) -> None:
    """The page of each stepwise run, compared with the baselines of its seed."""
    evaluations = one.evaluations()
    for name in ("stepwise", "adaptive"):
        others = [run for other, run in evaluations.items() if other in METHODS and run.method != "stepwise"]
        internalization_page(evaluations[name], one.folder / f"{name}.html", others=others)


def _draw(folder: Path, scale: Scale, curves: pd.DataFrame) -> None:
    for task in scale.tasks:
        own = curves[curves["task"] == task.title]
        shown = ["stepwise", "adaptive", *task.ablations]
        draw_removal(own, folder / f"{task.name}-ablations.svg", shown, task.ablated)
        draw_trade_off(own[own["run"].isin(METHODS)], folder / f"{task.name}-trade-off.svg")
