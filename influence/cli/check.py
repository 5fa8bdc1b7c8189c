"""`influence check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.command import Command
from influence.cli.options import corpus_options, loss_option, model_options, options_from, taken_fields
from influence.cli.runs import named_run
from influence.validation.settings import CheckConfig


@click.command(
    "check",
    cls=Command,
    shown={
        "What": ("model", "hessian"),
        "Settings": ("documents",),
    },
    example="influence check runs/x/scores --model miniworld --hessian runs/x/hessian",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="The model that the scores were made with.")
@click.option("--hessian", required=True, help="Folder of the Hessian that the scores were made with.")
@corpus_options(required=False)
@loss_option
@options_from(CheckConfig)
@click.option("--device", help="cpu, cuda, cuda:1, …  [default: a GPU where there is one]")
@model_options
def check(
    run: Path,
    model: str,
    hessian: str,
    corpus: str | None,
    config: CheckConfig,
    device: str | None,
    revision: str | None,
    base: str | None,
    **fields: Any,
) -> None:
    """Compare a few scores of RUN with three other computations, for the verdict of its report.

    An exact solve: conjugate gradients on the Gauss-Newton matrix of some documents. A Hessian of half the documents:
    have the factors converged? Learning: a few optimizer steps on one document alone, and the change of log p against
    its score, which is positive where the document is predicted to RAISE log p.
    """
    from influence.data.corpus import read_corpus
    from influence.models.load import load_model
    from influence.store.factors import open_factors
    from influence.store.scores import open_scores
    from influence.validation.exact import check as compare

    scores = open_scores(named_run(run, "scores"))
    dtype: Any = scores.manifest["config"].get("dtype", "float32")
    loaded = load_model(model, dtype=dtype, device=device, revision=revision, base=base)
    name = corpus or str(scores.manifest["provenance"].get("corpus_name"))
    documents = read_corpus(name, **taken_fields(fields))
    tables = compare(
        scores, loaded, open_factors(hessian), documents, config, lambda line: click.echo(line, err=True)
    )
    for row in tables["checks"].itertuples():
        click.echo(f"{row.check}: {row.state}. {row.why}.")
    click.echo(f"Tables: {scores.folder / 'analysis' / 'check'}")
    click.echo(f"Next: influence report {scores.folder} --out report.html")
