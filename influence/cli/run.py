"""`influence run` and `influence demo`: several commands, each as it would be typed, each resumable."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import click

from influence.cli.command import Command
from influence.cli.options import model_option
from influence.cli.runs import RUNS
from influence.errors import InputError
from influence.ready import MINIWORLD

#: Analyses of every run.
ANALYSES = ("correlation", "concentration", "answers", "sources", "reuse", "bm25", "sanity")
_QUESTIONS = ("slopes", "arithmetic", "questions", "controls")


@click.command(
    "run",
    cls=Command,
    example="influence run --model miniworld --corpus miniworld --queries slopes --out runs/x",
)
@model_option(required=True)
@click.option("--corpus", required=True, help="A file, folder or hub name, or the ready corpus miniworld.")
@click.option("--queries", required=True, help="A JSONL file, or the name of a ready set such as slopes.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of all results.")
@click.option(
    "--documents", type=click.IntRange(1), help="Fit on at most this many documents.  [default: 100000]"
)
def run(model: str, corpus: str, queries: str, out: Path, documents: int | None) -> None:
    """Fit, score, decompose into tokens, analyze and report: all that a new model and corpus need.

    Each part prints the command that does it alone, with all its options. The same command after a kill goes on; what
    is done is not done again.
    """
    _run_all(_commands(model, corpus, queries, out, documents))
    click.echo(f"Report: {out / 'report.html'}")


@click.command("demo", cls=Command, example="influence demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=RUNS / "demo",
    show_default=True,
    help="Folder of all results.",
)
def demo(out: Path) -> None:
    """Show the whole tool on a small world and the two ready models that learned from it, in three minutes.

    The tuned model answers questions; the influence of 3,000 documents on its answers is scored at the base model.
    """
    started = time.monotonic()
    corpus, queries = out / "corpus", out / "queries.jsonl"
    world = [
        "corpus",
        "miniworld",
        "--documents",
        "3000",
        "--no-asides",
        "--queries",
        out / "asked",
        "--out",
        corpus,
    ]
    asked = [out / "asked" / f"{name}.jsonl" for name in _QUESTIONS]
    answers = ["--right", "20", "--wrong", "20", "--max-new-tokens", "120", "--out", queries]
    commands: list[list[object]] = [world, ["complete", *asked, "--model", f"{MINIWORLD}-tuned", *answers]]
    _run_all([*commands, *_commands(MINIWORLD, str(corpus), str(queries), out, 1000)])
    click.echo(f"Done in {time.monotonic() - started:.0f} s. Open {out / 'report.html'} in a browser.")


def _commands(model: str, corpus: str, queries: str, out: Path, documents: int | None) -> list[list[object]]:
    hessian, scores = out / "hessian", out / "scores"
    most = [] if documents is None else ["--documents", documents]
    return [
        ["fit-hessian", "--model", model, "--corpus", corpus, *most, "--out", hessian],
        [
            "score",
            "--queries",
            queries,
            "--model",
            model,
            "--hessian",
            hessian,
            "--corpus",
            corpus,
            "--out",
            scores,
        ],
        ["tokens", scores, "--model", model, "--hessian", hessian],
        *(["analyze", name, scores] for name in ANALYSES),
        ["report", scores, "--out", out / "report.html"],
    ]


def _run_all(commands: Sequence[Sequence[object]]) -> None:
    """Run commands one after the other, each printed as it would be typed, without analyses that do not apply."""
    from influence.cli.main import cli

    for command in commands:
        words = [str(word) for word in command]
        click.echo(f"$ {shlex.join(['influence', *words])}")
        try:
            cli.main(words, prog_name="influence", standalone_mode=False)
        except InputError as error:
            if words[0] != "analyze":  # an analysis that these queries do not allow
                raise
            click.echo(f"Left out: {error.message}")
