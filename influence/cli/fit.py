"""`influence fit-hessian`, and `influence doctor`, which tells whether a model is fit for it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.assumed import assume_fit
from influence.cli.command import Command
from influence.cli.options import (
    compute_options,
    corpus_options,
    device_options,
    dry_run_option,
    json_option,
    loss_option,
    model_option,
    model_options,
    options_from,
    out_option,
    say_plan,
    taken_fields,
)
from influence.cli.torchrun import shared_by_processes
from influence.config import FitConfig
from influence.errors import plain

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
    as_json: bool,
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

        say_plan(plan_fit(loaded, documents, config=config, batch_tokens=batch_tokens), as_json)
        return
    factors = fit(loaded, documents, out=out, config=config, batch_tokens=batch_tokens, world=world)
    assert factors.manifest is not None
    click.echo(f"{factors.manifest['provenance']['summary']}")
    click.echo(f"Hessian of {len(factors.layers)} layers: {out}")


@click.command(
    "doctor",
    cls=Command,
    shown={"Options": ("model", "corpus", "layers", "dtype")},
    example="influence doctor --model miniworld --corpus miniworld",
)
@model_option(required=True)
@click.option("--corpus", help="Take documents from here.  [default: random tokens]")
@click.option("--documents", default=8, show_default=True, type=click.IntRange(2), help="So many of them.")
@click.option(
    "--max-length", default=512, show_default=True, type=click.IntRange(8), help="Most tokens of a document."
)
@options_from(FitConfig, only=("layers", "exclude_layers"))
@device_options
@model_options
@json_option()
def doctor(
    model: str,
    corpus: str | None,
    documents: int,
    max_length: int,
    config: FitConfig,
    dtype: Any,
    device: str | None,
    revision: str | None,
    base: str | None,
    as_json: bool,
) -> None:
    """What is tracked in a model, how it reads text, and does a document's gradient change with what it should not?

    Names the layers that are tracked and those that are left out, with the reason; the frame that the tokenizer puts
    around a text; and the context. Then compares the gradients of some documents in one padded batch with those of
    each document alone, with plain (eager) attention, and in bfloat16 (on a GPU in tf32 too): how much they differ, and
    what the other way costs.
    """
    from itertools import islice

    from influence.data.corpus import read_corpus
    from influence.data.document_tokens import TokenReport, encode_documents
    from influence.engine.doctor import describe, examine, random_documents
    from influence.models.load import load_model
    from influence.models.probe import embedding_rows

    loaded = load_model(model, dtype=dtype, device=device, revision=revision, base=base)
    if corpus:
        taken = islice(read_corpus(corpus), documents)
        encoded = encode_documents(taken, loaded.tokenizer, max_length, False, TokenReport())
        rows = [tokens for _, tokens in encoded]
    else:
        context = min(loaded.fitting(max_length), loaded.trained_context or max_length)
        rows = random_documents(embedding_rows(loaded.model), context, documents)
    page = describe(loaded, config.layers, rows, config.exclude_layers)
    findings = examine(loaded, config.layers, rows, config.exclude_layers)
    if as_json:
        found = [{**dataclasses.asdict(one), "harmless": one.harmless} for one in findings]
        click.echo(json.dumps({"page": dict(page), "findings": found}, indent=1))
        return
    widest = max(len(title) for title, _ in page)
    for title, text in page:
        click.echo(f"{title:{widest}}  {plain(text)}")
    click.echo()
    lengths = [len(row) for row in rows]
    click.echo(
        f"{len(rows)} documents of {min(lengths)} to {max(lengths)} tokens, against one padded batch:\n"
    )
    width = max(len(one.change) for one in findings)
    click.echo(f"{'':{width}}  difference  least cosine  time")
    for one in findings:
        click.echo(f"{one.change:{width}}  {one.difference:10.1e}  {one.cosine:12.7f}  {one.cost:3.1f}×")
    click.echo()
    for one in findings:
        if not one.harmless:
            click.echo(f"Gradients change with: {one.change}. {one.advice}")
    if all(one.harmless for one in findings):
        click.echo("None of these changes a document's gradient enough to matter for scores.")
