"""`influence doctor`."""

from __future__ import annotations

from typing import Any

import click

from influence.cli.command import Command
from influence.cli.options import device_options, model_option, model_options
from influence.cli.options_from import options_from
from influence.config import FitConfig
from influence.errors import plain


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
    from influence.engine.doctor import examine, random_documents
    from influence.engine.model_page import describe
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
    widest = max(len(title) for title, _ in page)
    for title, text in page:
        click.echo(f"{title:{widest}}  {plain(text)}")
    click.echo()
    findings = examine(loaded, config.layers, rows, config.exclude_layers)
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
