"""`influence reproduce`: a paper's findings, from training on."""

from __future__ import annotations

from pathlib import Path

import click

_OUT = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of everything. The same command after a kill goes on.",
)


@click.group()
def reproduce() -> None:
    """Reproduce what a paper found, from its data and training on."""


@reproduce.command("procedural-knowledge")
@click.option(
    "--scale",
    required=True,
    metavar="smoke|laptop|gpu",
    help="smoke: every step once, in a minute, models that know nothing. laptop: two cores, within three hours. "
    "gpu: one large GPU, within 20 minutes.",
)
@_OUT
@click.option(
    "--seeds", type=click.IntRange(1), help="How many worlds and models.  [default: the scale's own]"
)
def procedural_knowledge(scale: str, out: Path, seeds: int | None) -> None:
    """Reproduce the five findings of Procedural Knowledge in Pretraining (Ruis et al., arXiv 2411.12580).

    For each seed: a corpus in which it is known what each document teaches, a base model pretrained on it and a tuned
    one, its completions, the queries, the Hessian, the scores, the analyses and a report. Then each finding with the
    published value, ours with its interval and whether it holds here; how well influence and its baselines find the
    documents that taught an answer; and what happens to the answers when those are left out and the models are trained
    again.

    \b
    influence reproduce procedural-knowledge --scale laptop --out runs/reproduction

    Writes findings.md, results.json, CSV tables and figures to OUT, and a report to OUT/seed-N.
    """
    from influence.reproduce.procedural_knowledge import procedural_knowledge as run

    tables = run(out, scale, seeds, say=lambda line: click.echo(line, err=True))
    for record in tables["findings"].to_dict("records"):
        if record["holds"] != "no claim":
            click.echo(f"{record['finding']}  {record['what']:<66} {record['here']:>8.3g}  {record['holds']}")
    click.echo(f"Findings: {out / 'findings.md'}")
    click.echo(f"Reports: {out / 'seed-*' / 'report.html'}")


@reproduce.command("internalization")
@click.option(
    "--scale",
    required=True,
    metavar="smoke|laptop|gpu",
    help="smoke: every step once, in half a minute, models that know nothing. laptop: two cores, hours in the "
    "background; parity and 2×2 multiplication. gpu: one large GPU; 4×4 multiplication, two sizes of model.",
)
@_OUT
@click.option(
    "--seeds", type=click.IntRange(1), help="How often every run is made.  [default: the scale's own]"
)
def internalization(scale: str, out: Path, seeds: int | None) -> None:
    """Reproduce the comparison and the ablations of From Explicit CoT to Implicit CoT (Deng et al., arXiv 2405.14838).

    For each task and seed: no chain of thought, explicit chain of thought, stepwise internalisation linear in time and
    triggered by the loss, ICoT-KD; then without smoothing, without optimizer reset, from the right, with a larger Δ,
    with kept positions. Every kept stage answers unseen problems. Then a table of methods with accuracy and speed,
    curves of accuracy against removed tokens, and each effect with the published value, ours with its interval and
    whether it appears here.

    \b
    influence reproduce internalization --scale laptop --out runs/internalization

    Writes findings.md, results.json, CSV tables and figures to OUT; each run, and a page of each stepwise one, to
    OUT/TASK/seed-N.
    """
    from transformers.utils import logging

    from influence.reproduce.internalization.reproduction import internalization as run

    logging.disable_progress_bar()  # one for each stage that is loaded
    tables = run(out, scale, seeds, say=lambda line: click.echo(line, err=True))
    for record in tables["methods"].to_dict("records"):
        click.echo(
            f"{record['task']}, {record['method']:<12}  accuracy {record['accuracy']:.3f} "
            f"({record['accuracy_low']:.3f}–{record['accuracy_high']:.3f}), speed {record['speed']:.2f}"
        )
    for record in tables["effects"].to_dict("records"):
        click.echo(f"{record['task']}, {record['what']}, {record['claim']}: {record['appears']}")
    click.echo(f"Findings: {out / 'findings.md'}")


@reproduce.command("system2")
@click.option(
    "--scale",
    required=True,
    metavar="smoke|laptop",
    help="smoke: every step once, in half a minute, a model that knows next to nothing. laptop: one core, hours; "
    "last letters, coin flip, multiplication.",
)
@_OUT
@click.option("--seeds", type=click.IntRange(1), help="How often all is made.  [default: the scale's own]")
def system2(scale: str, out: Path, seeds: int | None) -> None:
    """Reproduce the distillations and controls of Distilling System 2 into System 1 (Yu et al., arXiv 2407.06023).

    For each seed: a small model is trained on text until its System 2 (rephrase, then answer) is good and its System 1
    poor. Then, for each task, System 2 on unlabelled inputs, a majority, tuning, the three controls, and the other
    internalisers; for multiplication the failure of answers alone, and stepwise removal.

    \b
    influence reproduce system2 --scale laptop --out runs/system2

    Writes findings.md, results.json and CSV tables to OUT, and each distillation with its report to OUT/seed-N/TASK.
    """
    from transformers.utils import logging

    from influence.reproduce.system2.reproduction import system2 as run

    logging.disable_progress_bar()
    tables = run(out, scale, seeds, say=lambda line: click.echo(line, err=True))
    for record in tables["models"].to_dict("records"):
        click.echo(
            f"{record['task']}, {record['model']:<21}  accuracy {record['accuracy']:.3f} "
            f"({record['accuracy_low']:.3f}–{record['accuracy_high']:.3f}), {record['tokens']:.1f} tokens"
        )
    for record in tables["effects"].to_dict("records"):
        click.echo(f"{record['task']}, {record['effect']}: {record['appears']}")
    click.echo(f"Findings: {out / 'findings.md'}")


@reproduce.command("stages")
@click.option(
    "--scale",
    required=True,
    metavar="smoke|laptop",
    help="smoke: every step once, in half a minute, models that know nothing. laptop: one core, about half an hour a "
    "seed; parity.",
)
@_OUT
@click.option("--seeds", type=click.IntRange(1), help="How often all is made.  [default: the scale's own]")
def stages(scale: str, out: Path, seeds: int | None) -> None:
    """Study which training documents a model leans on while it internalises its chain of thought.

    For each seed: stepwise internalisation, and two controls that see as many examples (no chain of thought, the whole
    chain); scores of the task's own examples in several forms at every stage, and probes. Then whether influence moves
    from documents with the answer to documents with the procedure, with the stages in shuffled order beside it.

    \b
    influence reproduce stages --scale laptop --out runs/stages

    Writes findings.md, results.json and CSV tables to OUT, and a page to OUT/seed-N.
    """
    from transformers.utils import logging

    from influence.reproduce.stages.study import stages as run

    logging.disable_progress_bar()
    tables = run(out, scale, seeds, say=lambda line: click.echo(line, err=True))
    for record in tables["questions"].to_dict("records"):
        click.echo(f"{record['question']} {record['answer']} ({record['contrast']:.3f})")
    click.echo(f"Findings: {out / 'findings.md'}")
