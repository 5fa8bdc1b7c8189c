"""`influence fit-hessian`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.assumed import assume_fit
from influence.cli.command import Command
from influence.cli.options import (
    compute_options,
    corpus_options,
    dry_run_option,
    loss_option,
    model_option,
    out_option,
    taken_fields,
)
from influence.cli.options_from import options_from
from influence.cli.torchrun import shared_by_processes
from influence.config import FitConfig

if TYPE_CHECKING:
    from influence.engine.parallel.distributed import World


@click.command(
    "fit-hessian",
    cls=Command,
    assume=assume_fit,
    shown={
        "What (all three, or none for the ready model and corpus)": ("model", "corpus", "out"),
        "Settings": ("layers", "max_length", "windows", "documents"),
        "Computation": ("batch_tokens", "dtype", "dry_run"),
    },
    example="influence fit-hessian --model miniworld --corpus miniworld --out runs/x/hessian",
)
@model_option()
@corpus_options(required=False)
@out_option(required=False)
@options_from(FitConfig)
@loss_option
@dry_run_option
@compute_options
@shared_by_processes
def fit_hessian(
    model: str,
    corpus: str,
    out: Path,
    config: FitConfig,
    dtype: Any,
    revision: str | None,
    base: str | None,
    batch_tokens: int | None,
    dry_run: bool,
    world: World,
    **fields: str,
) -> None:
    """Fit the EK-FAC Hessian of a model on a corpus.

    Two passes over the documents: covariances, with labels sampled from the model, then corrected eigenvalues.
    The factors are safetensors with kronfluence's names and scale, so each program reads the other's.
    """
    from influence.data.corpus import read_corpus
    from influence.engine.fit import fit_hessian as fit
    from influence.models.load import load_model

    documents = read_corpus(corpus, **taken_fields(fields))
    loaded = world.shard(load_model(model, dtype=dtype, device=world.loads_on, revision=revision, base=base))
    if dry_run:
        from influence.engine.plan.plan import plan_fit

        click.echo(plan_fit(loaded, documents, config=config, batch_tokens=batch_tokens).text())
        return
    factors = fit(loaded, documents, out=out, config=config, batch_tokens=batch_tokens, world=world)
    assert factors.manifest is not None
    click.echo(f"{factors.manifest['provenance']['summary']}")
    click.echo(f"Hessian of {len(factors.layers)} layers: {out}")
