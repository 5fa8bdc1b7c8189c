"""`influence tokens`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.command import Command
from influence.cli.options import model_options
from influence.cli.runs import named_run


@click.command(
    "tokens",
    cls=Command,
    shown={"Options": ("model", "query_model", "hessian", "k")},
    example="influence tokens runs/x/scores --model miniworld --hessian runs/x/hessian",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="The model that the scores were made with.")
@click.option("--query-model", help="The tuned model that gave the queries' gradients, if there was one.")
@click.option(
    "--hessian", required=True, help="Folder of the Hessian that the scores were made with; or identity."
)
@click.option(
    "--k",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="Documents of each query, by normed and by dot.",
)
@click.option("--device", help="cpu, cuda, cuda:1, …  [default: a GPU where there is one]")
@model_options
def tokens(
    run: Path,
    model: str,
    query_model: str | None,
    hessian: str,
    k: int,
    device: str | None,
    revision: str | None,
    base: str | None,
) -> None:
    """Decompose the scores of the top documents of RUN into their tokens, for the heat maps of a report.

    A token's value, in nats, is what its position adds to dot; positive RAISES log p(completion | prompt). The
    values of a document add up to its score, which is checked.
    """
    from influence.engine.decompose import decompose
    from influence.models.load import load_model
    from influence.store.factors import open_factors
    from influence.store.scores import open_scores

    run = named_run(run, "scores")
    scores = open_scores(run)
    dtype: Any = scores.manifest["config"].get("dtype", "float32")
    loaded = load_model(model, dtype=dtype, device=device, revision=revision, base=base)
    tuned = load_model(query_model, dtype=dtype, device=device) if query_model else None
    factors = None if hessian == "identity" else open_factors(hessian)
    done = decompose(scores, loaded, factors, query_model=tuned, k=k)
    click.echo(f"Tokens of {done.pairs:,} pairs of query and document: {done.path}")
    click.echo(
        f"Sums of tokens differ from the scores by at most {done.worst:.1e} of a query's largest score."
    )
    if done.left_out:
        click.echo(f"Left out: {done.left_out:,} documents whose text alone does not give their tokens.")
    click.echo(f"Next: influence report {run} --out report.html")
