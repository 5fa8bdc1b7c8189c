"""`influence fit-hessian`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.options import (
    compute_options,
    corpus_options,
    dry_run_option,
    layers_option,
    out_option,
    taken_fields,
    text_options,
)
from influence.cli.torchrun import shared_by_processes
from influence.config import FitConfig

if TYPE_CHECKING:
    from influence.engine.parallel.distributed import World


@click.command("fit-hessian")
@click.argument("model")
@corpus_options
@out_option
@layers_option
@text_options
@click.option(
    "--documents",
    default=100_000,
    show_default=True,
    help="Fit on at most this many documents, drawn uniformly.",
)
@click.option(
    "--covariance-tokens",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the tokens that the covariances are summed over, drawn at random: less time, more noise.",
)
@click.option(
    "--covariance-blocks",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Keep so many blocks on the diagonal of each covariance: less memory and time, coarser.",
)
@click.option(
    "--empirical", is_flag=True, help="Use the corpus's own labels instead of labels sampled from the model."
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Of documents, tokens and labels drawn.",
)
@click.option(
    "--backend", type=click.Choice(["influence", "kronfluence"]), default="influence", show_default=True
)
@dry_run_option
@compute_options
@shared_by_processes
def fit_hessian(
    model: str,
    corpus: str,
    out: Path,
    dtype: Any,
    revision: str | None,
    base: str | None,
    dry_run: bool,
    world: World,
    **settings: Any,
) -> None:
    """Fit the EK-FAC Hessian of MODEL, a local folder or a hub name, on a corpus.

    Two passes over the documents: covariances, with labels sampled from the model, then corrected eigenvalues.
    The factors are safetensors with kronfluence's names and scale, so each program reads the other's.
    """
    from influence.data.corpus import read_corpus
    from influence.engine.fit import fit_hessian as fit
    from influence.models.load import load_model

    documents = read_corpus(corpus, **taken_fields(settings))
    loaded = world.shard(load_model(model, dtype=dtype, device=world.loads_on, revision=revision, base=base))
    batch_tokens = settings.pop("batch_tokens")
    config = FitConfig(**settings)
    if dry_run:
        from influence.engine.plan.plan import plan_fit

        click.echo(plan_fit(loaded, documents, config=config, batch_tokens=batch_tokens).text())
        return
    factors = fit(loaded, documents, out=out, config=config, batch_tokens=batch_tokens, world=world)
    assert factors.manifest is not None
    click.echo(f"{factors.manifest['provenance']['summary']}")
    click.echo(f"Hessian of {len(factors.layers)} layers: {out}")
