"""`influence reproduce`: a paper's findings, from pretraining on."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from influence.cli.options import wait_quietly


@click.group()
def reproduce() -> None:
    """Reproduce a paper where the truth is known."""


@reproduce.command("procedural-knowledge")
@click.option(
    "--scale",
    required=True,
    metavar="smoke|laptop|gpu",
    help="smoke: every step once, in a minute, models that know nothing. laptop: two cores, within three hours. "
    "gpu: one large GPU, within 20 minutes.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of everything. The same command after a kill goes on.",
)
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
    wait_quietly()

    from influence.reproduce.procedural_knowledge import procedural_knowledge as run

    with contextlib.redirect_stdout(sys.stderr):  # the training loop writes its losses to stdout
        tables = run(out, scale, seeds, say=lambda line: click.echo(line, err=True))
    for record in tables["findings"].to_dict("records"):
        if record["holds"] != "no claim":
            click.echo(f"{record['finding']}  {record['what']:<66} {record['here']:>8.3g}  {record['holds']}")
    click.echo(f"Findings: {out / 'findings.md'}")
    click.echo(f"Reports: {out / 'seed-*' / 'report.html'}")
