"""`influence report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The HTML file to write.")
@click.option(
    "--texts",
    type=click.Choice(["full", "snippet", "none"]),
    default="snippet",
    show_default=True,
    help="Documents in full, their first 160 characters, or no text at all (no prompts and completions either).",
)
@click.option(
    "--k", default=10, show_default=True, type=click.IntRange(1), help="Documents of each list of a query."
)
@click.option(
    "--by",
    type=click.Choice(["normed", "dot", "per_nat"]),
    default="normed",
    show_default=True,
    help="Reading that orders tables and enters correlation, curves and source shares.",
)
def report(run: Path, out: Path, texts: Any, k: int, by: Any) -> None:
    """Render the score store RUN as one self-contained HTML file, and print its path.

    A score is POSITIVE when adding the document is predicted to RAISE log p(completion | prompt), negative when it
    is predicted to lower it. dot is in nats, summed over tokens; per nat is dot / −log p(completion | prompt);
    normed is dot / norm of the document's gradient.
    """
    from influence.report.pages import report as render

    click.echo(render(run, out, texts=texts, k=k, by=by))
