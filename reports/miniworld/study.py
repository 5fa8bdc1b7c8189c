"""Everything from pretraining to the table of findings, for several seeds; killed at any point, it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from influence.provenance import provenance
from influence.store.artefact import claim
from influence.store.scores import open_scores
from reports.kit.asked import scale_named, seeds_asked, silent
from reports.kit.command import command_line
from reports.kit.steps import Times, run_steps
from reports.miniworld.drawings import draw_recall, draw_removal
from reports.miniworld.findings import findings_table
from reports.miniworld.measures import SeedMeasures, correlation_matrix, pair_labels
from reports.miniworld.one_seed import OneSeed
from reports.miniworld.results import write_results
from reports.miniworld.scales import SCALES, Scale
from reports.miniworld.tables import (
    recall_over_seeds,
    relations_over_seeds,
    removal_order,
    removal_over_seeds,
)


def run(
    out: str | Path,
    scale: str | Scale = "laptop",
    seeds: int | None = None,
    say: Callable[[str], None] = silent,
) -> dict[str, pd.DataFrame]:
    """Reproduce the findings of Ruis et al. (arXiv 2411.12580) in worlds of our own, where the truth is known.

    Args:
        out: Folder of everything. The same call after a kill goes on; with more seeds it adds those.
        scale: A name in `scales.SCALES`, or a scale of your own.
        seeds: How many worlds and models, seeded 0, 1, …; the scale's own number by default.
        say: Takes one line for each step: which of how many, and about how long is left.

    Returns:
        The tables in `out`: accuracy, findings, recall, relations, removal, removal_order. Also written there are
        `findings.md`, `results.json`, a CSV of each table, two figures, and `seed-N/report.html`.

    Raises:
        InputError: There is no such scale, or fewer than one seed.
        StoreError: `out` holds other files, or another scale.
    """
    chosen = scale_named(scale, SCALES) if isinstance(scale, str) else scale
    n_seeds = seeds_asked(seeds, chosen.seeds)
    folder = Path(out)
    claim(folder, "reproduction", asdict(chosen))
    times = Times(folder / "times.json")
    every = [OneSeed(folder / f"seed-{seed}", chosen, seed) for seed in range(n_seeds)]
    for number, one in enumerate(every):
        one.folder.mkdir(exist_ok=True)
        later = [step.kind for other in every[number + 1 :] for step in other.steps() if not step.done()]
        run_steps(one.steps(), times, f"seed {number + 1} of {n_seeds}", later, say)
        one.tidy()
    say("tables and figures")
    tables = tables_of(every)
    draw_recall(tables["recall"], folder / "recall.svg")
    draw_removal(tables["removal"], folder / "removal.svg")
    spent = sum(sum(taken.values()) for taken in times.seconds.values())
    made_by = provenance(
        spent,
        command=command_line("miniworld", scale, out, seeds),
        seeds=n_seeds,
        hours=spent / 3600,
        step_seconds=times.seconds,
    )
    write_results(folder, chosen, made_by, tables)
    return tables


def summary(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """What the command prints: every finding that makes a claim."""
    for record in tables["findings"].to_dict("records"):
        if record["holds"] != "no claim":
            yield f"{record['finding']}  {record['what']:<66} {record['here']:>8.3g}  {record['holds']}"


def tables_of(seeds: Sequence[OneSeed]) -> dict[str, pd.DataFrame]:
    """All tables over finished seeds."""
    measures = [_measures(one) for one in seeds]
    scale = seeds[0].scale
    records = [[one.json(one.removal_path(*removal)) for removal in one.removals()] for one in seeds]
    accuracy = [pd.DataFrame(one.json(one.path("accuracy.json"))).assign(seed=one.seed) for one in seeds]
    return {
        "accuracy": pd.concat(accuracy, ignore_index=True),
        "findings": findings_table(measures, scale.top_k, scale.source_k),
        "recall": recall_over_seeds([one.measured("gold") for one in seeds]),
        "relations": relations_over_seeds([one.measured("relations") for one in seeds]),
        "removal": removal_over_seeds(records),
        "removal_order": removal_order(records),
    }


def _measures(one: OneSeed) -> SeedMeasures:
    queries = open_scores(one.path("scores")).queries
    return SeedMeasures(
        one.measured("queries"),
        one.measured("relations"),
        correlation_matrix(one.analysis, queries),
        pair_labels(queries),
        one.json(one.path("measures.json"))["corpus_shares"],
    )
