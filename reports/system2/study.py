"""Every distillation of every seed, and the tables over them; killed at any point, it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from influence.provenance import provenance
from influence.store.artefact import claim
from reports.kit.asked import scale_named, seeds_asked, silent
from reports.kit.command import command_line
from reports.kit.steps import Times, run_steps
from reports.system2.one_seed import OneSeed
from reports.system2.results import write_results
from reports.system2.scales import SCALES, Scale
from reports.system2.tables import effects_table, models_table, verdicts_table


def run(
    out: str | Path,
    scale: str | Scale = "laptop",
    seeds: int | None = None,
    say: Callable[[str], None] = silent,
) -> dict[str, pd.DataFrame]:
    """Reproduce the distillations and controls of Yu et al. (arXiv 2407.06023) with small models that do System 2.

    Args:
        out: Folder of everything. The same call after a kill goes on; with more seeds it adds those.
        scale: A name in `scales.SCALES`, or a scale of your own.
        seeds: How often all is made, seeded 0, 1, …; the scale's own number by default.
        say: Takes one line for each step, and the lines of progress of each part.

    Returns:
        The tables in `out`: models, effects, verdicts. Also written there are `findings.md`, `results.json` and a CSV
        of each table; `out/seed-N/TASK` is a distillation as `influence distill` leaves it, with its report.

    Raises:
        InputError: There is no such scale, or fewer than one seed.
        StoreError: `out` holds other files, or a run of another scale.
    """
    chosen = scale_named(scale, SCALES) if isinstance(scale, str) else scale
    n_seeds = seeds_asked(seeds, chosen.seeds)
    folder = Path(out)
    claim(folder, "reproduction of System 2 distillation", chosen.config())
    times = Times(folder / "times.json")
    every = [OneSeed(folder / f"seed-{seed}", chosen, seed, say) for seed in range(n_seeds)]
    for number, one in enumerate(every):
        one.folder.mkdir(exist_ok=True)
        later = [step.kind for other in every[number + 1 :] for step in other.steps() if not step.done()]
        run_steps(one.steps(), times, f"seed {number + 1} of {n_seeds}", later, say, _expected)
    say("tables")
    tables = tables_of(chosen, every)
    spent = sum(sum(taken.values()) for taken in times.seconds.values())
    made_by = provenance(
        spent,
        command=command_line("system2", scale, out, seeds),
        seeds=n_seeds,
        hours=spent / 3600,
        parameters=parameters_of(every[0]),
        step_seconds=times.seconds,
    )
    write_results(folder, chosen, made_by, tables)
    return tables


def summary(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """What the command prints: the models, then the effects."""
    for record in tables["models"].to_dict("records"):
        yield (
            f"{record['task']}, {record['model']:<21}  accuracy {record['accuracy']:.3f} "
            f"({record['accuracy_low']:.3f}–{record['accuracy_high']:.3f}), {record['tokens']:.1f} tokens"
        )
    for record in tables["effects"].to_dict("records"):
        yield f"{record['task']}, {record['effect']}: {record['appears']}"


def tables_of(scale: Scale, every: Sequence[OneSeed]) -> dict[str, pd.DataFrame]:
    """All tables over finished seeds, of all tasks."""
    makers = {"models": models_table, "effects": effects_table, "verdicts": verdicts_table}
    return {
        name: pd.concat(
            [make(task, [one.answers(task) for one in every]) for task in scale.tasks], ignore_index=True
        )
        for name, make in makers.items()
    }


def parameters_of(one: OneSeed) -> int:
    """Parameters of the largest base model; each has as many as the models made from it."""
    from safetensors import safe_open

    counts = []
    for base in {task.base.name for task in one.scale.tasks}:
        with safe_open(one.folder / "base" / base / "model.safetensors", "np") as weights:
            counts.append(sum(int(weights.get_tensor(name).size) for name in weights.keys()))  # noqa: SIM118
    return max(counts)


def _expected(kinds: Sequence[str], typical: Mapping[str, float]) -> float | None:
    """Seconds of steps of these kinds; None until each has been run once."""
    if any(kind not in typical for kind in kinds):
        return None
    return sum(typical[kind] for kind in kinds)
