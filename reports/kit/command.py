"""`python -m reports.STUDY`: one command for every study, which loads torch only when it runs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.command import show_messages
from influence.cli.torchrun import require_one_process

if TYPE_CHECKING:
    from reports.kit.study import Study


def study_command(name: str, scales: str, text: str) -> click.Command:
    """The command of a study.

    Args:
        name: Of its package in `reports`, whose module `study` has the study as `STUDY`.
        scales: What each scale is, for the help of `--scale`.
        text: Help of the command; its first line is short.
    """

    def run(scale: str, out: Path, seeds: int | None) -> None:
        require_one_process(f"python -m reports.{name}")
        from transformers.utils import logging

        show_messages()
        logging.disable_progress_bar()  # one for each model that is loaded
        study: Study[Any, Any] = importlib.import_module(f"reports.{name}.study").STUDY
        tables = study.run(out, scale, seeds, say=lambda line: click.echo(line, err=True))
        for line in study.summary(tables):
            click.echo(line)
        click.echo(f"Findings: {out / 'findings.md'}")

    options = [
        click.Option(["--scale"], required=True, help=scales),
        click.Option(
            ["--out"],
            required=True,
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of everything. The same command after a kill goes on.",
        ),
        click.Option(
            ["--seeds"],
            type=click.IntRange(1),
            help="How often everything is made, from seed 0 on.  [default: the scale's own]",
        ),
    ]
    return click.Command(name, callback=run, params=list(options), help=text)
