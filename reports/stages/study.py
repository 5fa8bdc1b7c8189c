"""Every seed of the study and the tables over them; killed at any point, it goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from influence.data.chains.kinds import choose
from influence.data.chains.task import Task
from influence.data.chains.write import write_task
from influence.data.miniworld.corpus import write_corpus
from influence.provenance import provenance
from influence.store.artefact import claim
from influence.subjects.documents import task_documents
from influence.subjects.scoring import asked_examples
from influence.subjects.texts import Texts
from influence.train.stepwise.stages import find_stages
from reports.kit.asked import scale_named, seeds_asked, silent
from reports.kit.command import command_line
from reports.kit.steps import Times, run_steps
from reports.stages.measured import SeedMeasures, measure
from reports.stages.one_seed import STEPWISE, OneSeed
from reports.stages.results import write_results
from reports.stages.scales import SCALES, Scale
from reports.stages.tables import (
    kinds_table,
    probes_table,
    questions_table,
    stages_table,
    trends_table,
)


def run(
    out: str | Path,
    scale: str | Scale = "laptop",
    seeds: int | None = None,
    say: Callable[[str], None] = silent,
) -> dict[str, pd.DataFrame]:
    """Train, score and compare the stages of internalisation, at a size of your choice.

    Args:
        out: Folder of everything. The same call after a kill goes on; with more seeds it adds those.
        scale: A name in `scales.SCALES`, or a scale of your own.
        seeds: How often all is trained, seeded 0, 1, …; the scale's own number by default.
        say: Takes one line for each step, and the lines of progress of each.

    Returns:
        The tables in `out`: questions, stages, trends, kinds, probes. Also written there are `findings.md`,
        `results.json` and a CSV of each table; `out/seed-N` has its trainings, its folders of stages and `stages.html`.

    Raises:
        InputError: There is no such scale, or fewer than one seed.
        StoreError: `out` holds other files, or a study of another scale.
    """
    chosen = scale_named(scale, SCALES) if isinstance(scale, str) else scale
    n_seeds = seeds_asked(seeds, chosen.seeds)
    folder = Path(out)
    claim(folder, "study of stages", chosen.config())
    times = Times(folder / "times.json")
    task = write_task(chosen.maker, folder / "task")
    other = write_task(chosen.other, folder / "other-task")
    corpus = folder / "corpus"
    every = [OneSeed(folder / f"seed-{seed}", chosen, task, corpus, seed, say) for seed in range(n_seeds)]
    for one in every:
        one.folder.mkdir(exist_ok=True)
        where = f"seed {one.seed + 1} of {n_seeds}"
        later = [
            step.kind for next_ in every[one.seed + 1 :] for step in next_.trainings() if not step.done()
        ]
        run_steps(one.trainings(), times, where, later, say, _expected)
        _write_corpus(corpus, chosen, task, other, one.folder / STEPWISE)
        run_steps(one.scorings(), times, where, later, say, _expected)
    say("tables")
    tables = tables_of([measure(one.folder) for one in every])
    spent = sum(sum(taken.values()) for taken in times.seconds.values())
    made_by = provenance(
        spent,
        command=command_line("stages", scale, out, seeds),
        seeds=n_seeds,
        hours=spent / 3600,
        step_seconds=times.seconds,
    )
    write_results(folder, chosen, made_by, tables)
    return tables


def summary(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """What the command prints: the questions with their answers."""
    for record in tables["questions"].to_dict("records"):
        yield f"{record['question']} {record['answer']} ({record['contrast']:.3f})"


def tables_of(seeds: Sequence[SeedMeasures]) -> dict[str, pd.DataFrame]:
    """All tables over finished seeds."""
    return {
        "questions": questions_table(seeds),
        "stages": stages_table(seeds),
        "trends": trends_table(seeds),
        "kinds": kinds_table(seeds),
        "probes": probes_table(seeds),
    }


def _write_corpus(folder: Path, scale: Scale, task: Task, other: Task, run: Path) -> None:
    """The documents, once: models of all seeds have the same words."""
    if folder.exists():
        return
    stage = find_stages([run])[0]
    pieces = choose(task, asked_examples(task, scale.asked), counts=scale.counts, other=other)
    texts = Texts.of_stage(stage.folder)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    write_corpus(task_documents(pieces, task, texts, stage.side, other), part)
    part.replace(folder)


def _expected(kinds: Sequence[str], typical: Mapping[str, float]) -> float | None:
    """Seconds of steps of these kinds; None until each has been run once."""
    if any(kind not in typical for kind in kinds):
        return None
    return sum(typical[kind] for kind in kinds)
