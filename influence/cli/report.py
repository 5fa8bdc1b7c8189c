"""`influence report` and `influence figures`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.command import Command
from influence.cli.runs import latest_run, named_run


@click.command(
    "report",
    cls=Command,
    shown={"Options": ("out", "texts")},
    keeps_result=False,
    example="""
    influence report
    influence report runs/x/scores --out x.html
    """,
)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file to write.  [default: report.html in RUN]"
)
@click.option(
    "--texts",
    type=click.Choice(["full", "snippet", "none"]),
    default="full",
    show_default=True,
    help="Documents in full, their first 160 characters, or no text at all (no prompts and completions either).",
)
@click.option(
    "--k",
    default=50,
    show_default=True,
    type=click.IntRange(1),
    help="Documents of each list of a query: top and bottom, by normed and by dot.",
)
@click.option(
    "--by",
    type=click.Choice(["normed", "dot", "per_nat"]),
    default="normed",
    show_default=True,
    help="Reading that orders tables and enters correlation, curves and source shares.",
)
@click.option(
    "--max-mb",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Most megabytes of the page; what is cut to stay below, the page says.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["html", "json"]),
    default="html",
    show_default=True,
    help="json: the same data, uncut, for programs.",
)
@click.option("--title", default="", help="Title of the page.  [default: the name of the run's folder]")
def report(
    run: Path | None,
    out: Path | None,
    texts: Any,
    k: int,
    by: Any,
    max_mb: float,
    format_: Any,
    title: str,
) -> None:
    """Render the score store RUN, by default the latest, as one self-contained HTML file, and print its path.

    It shows what influence analyze left in RUN/analysis and influence tokens in RUN too. A score is POSITIVE when
    adding the document is predicted to RAISE log p(completion | prompt), negative when it is predicted to lower it.
    dot is in nats, summed over tokens; per nat is dot / −log p(completion | prompt); normed is dot / norm of the
    document's gradient.
    """
    from influence.report.pages import write_report

    run = named_run(run, "scores") if run else latest_run("scores")
    out = out or run / f"report.{format_}"
    click.echo(write_report(run, out, texts=texts, k=k, by=by, max_mb=max_mb, format=format_, title=title))


@click.command(
    "figures",
    cls=Command,
    shown={"Options": ("out",)},
    keeps_result=False,
    example="influence figures runs/x/scores --out figures",
)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The folder.  [default: figures in RUN]")
@click.option(
    "--by",
    type=click.Choice(["normed", "dot", "per_nat"]),
    default="normed",
    show_default=True,
    help="Reading that the figures show.",
)
def figures(run: Path | None, out: Path | None, by: Any) -> None:
    """Write the figures of a report of the score store RUN, by default the latest, as SVG, PDF and PNG."""
    from influence.report.pages import write_figures

    run = named_run(run, "scores") if run else latest_run("scores")
    for path in write_figures(run, out or run / "figures", by=by):
        click.echo(path)
