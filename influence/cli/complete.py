"""`influence complete`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.command import Command
from influence.cli.options import by_chat_template, chat_template_option, device_options
from influence.errors import plain


@click.command(
    "complete",
    cls=Command,
    shown={"Options": ("model", "out", "right", "wrong")},
    example="influence complete slopes arithmetic --model miniworld-tuned --out runs/x/queries.jsonl",
)
@click.argument("queries", nargs=-1, required=True)
@click.option("--model", required=True, help="The tuned model: a folder or a hub name.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The query set to write (JSONL). The same command after a kill resumes.",
)
@click.option(
    "--right", type=click.IntRange(0), help="Keep at most this many right ones of each task.  [default: all]"
)
@click.option(
    "--wrong", type=click.IntRange(0), help="Keep at most this many wrong ones of each task.  [default: all]"
)
@click.option(
    "--max-new-tokens",
    default=200,
    show_default=True,
    type=click.IntRange(1),
    help="Most tokens of a completion.",
)
@chat_template_option
@device_options
def complete(
    queries: tuple[str, ...],
    model: str,
    out: Path,
    no_chat_template: bool,
    device: str | None,
    dtype: Any,
    **settings: Any,
) -> None:
    """Let a model answer QUERIES, mark each answer right or wrong, and write the query set to score.

    QUERIES are JSONL files, or names of ready sets; their completions, if any, are replaced by the model's own,
    greedily decoded. An answer that is a number is right when it is the last number the model says; any other when
    it, or a keyword of the query, is said.
    """
    from influence.data.queries import read_queries
    from influence.engine.complete import complete as run
    from influence.errors import InputError
    from influence.models.load import load_model

    if out.exists():
        raise InputError(f"{out} already exists.", fix="Choose another --out, or remove it.")
    questions = [query for source in queries for query in read_queries(source, completed=False)]
    loaded = load_model(model, dtype=dtype, device=device)
    done = run(loaded, by_chat_template(questions, loaded, no_chat_template), out, **settings)
    for task, (good, asked) in done.accuracy().items():
        click.echo(plain(f"{task:<24}") + f" {good:>5,} of {asked:,} right ({good / asked:.0%})")
    if done.empty:
        click.echo(
            f"Left out, for the model said nothing: {plain(', '.join(done.empty[:8]))} ({len(done.empty)} in all)"
        )
    click.echo(f"{len(done.kept)} queries: {out}")
    click.echo(
        f"Next: influence score --queries {out} --query-model {model} --model BASE --hessian HESSIAN …"
    )
