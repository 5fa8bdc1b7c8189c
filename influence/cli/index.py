"""`influence index`: sketch a corpus once, then ask it again and again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.command import Group
from influence.cli.options import (
    base_option,
    compute_options,
    corpus_options,
    device_options,
    loss_option,
    model_option,
    options_from,
    out_option,
    taken_fields,
)
from influence.cli.torchrun import require_one_process, shared_by_processes
from influence.config import IndexConfig, SearchConfig
from influence.errors import plain

if TYPE_CHECKING:
    from influence.engine.parallel.distributed import World
    from influence.store.scores import Scores
    from influence.types import Query

_SNIPPET = 60


@click.group("index", cls=Group)
def index() -> None:
    """Sketch a corpus once, so that new queries are answered by scoring a few documents.

    \b
    influence index build --model MODEL --hessian HESSIAN --corpus CORPUS --out runs/x/index
    influence index search runs/x/index --query "What is the capital of …" --out runs/x/asked
    """


@index.command(
    "build",
    shown={
        "What": ("model", "hessian", "corpus", "out"),
        "Settings": ("kind", "bytes", "bits"),
    },
    example="influence index build --model miniworld --hessian runs/x/hessian --corpus miniworld --out runs/x/index",
)
@model_option(
    required=True, help="The model that the Hessian was fitted on: a folder, a hub name, or miniworld."
)
@click.option(
    "--hessian",
    metavar="HESSIAN",
    required=True,
    help="Folder of a finished fit; or identity, to find by gradient dot product (a baseline).",
)
@corpus_options()
@out_option()
@click.option(
    "--queries",
    help="With --kind data: queries like those to be asked, to choose projections by.  [default: documents]",
)
@options_from(IndexConfig)
@loss_option
@compute_options
@shared_by_processes
def build(
    model: str,
    hessian: str,
    corpus: str,
    out: Path,
    queries: str | None,
    config: IndexConfig,
    dtype: Any,
    revision: str | None,
    base: str | None,
    batch_tokens: int | None,
    world: World,
    **fields: str,
) -> None:
    """Sketch every document of a corpus in one pass.

    A sketch is a short vector; its dot product with a query's estimates the influence of the document.
    """
    from influence.data.corpus import read_corpus
    from influence.data.queries import read_queries
    from influence.engine.index.build import build_index
    from influence.models.load import load_model
    from influence.store.factors import open_factors

    like = read_queries(queries) if queries else None
    factors = None if hessian == "identity" else open_factors(hessian)
    documents = read_corpus(corpus, **taken_fields(fields))
    loaded = world.shard(load_model(model, dtype=dtype, device=world.loads_on, revision=revision, base=base))
    built = build_index(
        loaded, factors, documents, out, queries=like, config=config, batch_tokens=batch_tokens, world=world
    )
    made = built.manifest["provenance"]
    click.echo(made["summary"])
    click.echo(
        f"Index of {len(built.documents):,} documents, {made['numbers']:,} numbers and "
        f"{made['bytes_per_document']:,} bytes each: {out}"
    )
    click.echo(f'Next: influence index search {out} --query "…" --out SCORES')


@index.command(
    "search",
    shown={
        "What": ("query", "completion", "queries", "out"),
        "Settings": ("best", "by", "k"),
        "Computation": ("dtype",),
    },
    example='influence index search runs/x/index --query "The capital of Orrin is" --out runs/x/asked',
)
@click.argument("folder", metavar="INDEX", type=click.Path(path_type=Path))
@click.option("--query", help="A prompt to ask about.")
@click.option(
    "--completion", help="With --query: what was answered, as it follows the prompt.  [default: the model's]"
)
@click.option("--queries", help="Instead: a JSONL file, or the name of a ready set such as slopes.")
@out_option()
@click.option(
    "--best",
    default="2%",
    show_default=True,
    metavar="PERCENT",
    help="Part of the corpus that is scored exactly, all queries together. Below 5% the estimates are cheaper too.",
)
@click.option(
    "--by",
    type=click.Choice(["normed", "dot"]),
    default="normed",
    show_default=True,
    help="Reading to retrieve and print by.",
)
@click.option(
    "--k", default=10, show_default=True, type=click.IntRange(1), help="Documents to print a query."
)
@click.option("--model", help="The model that the index was built with.  [default: found by its record]")
@click.option("--query-model", help="The tuned model that wrote the completions, for the queries' gradients.")
@click.option("--hessian", help="The Hessian that it was built with.  [default: found by its record]")
@base_option
@device_options
def search(
    folder: Path,
    query: str | None,
    completion: str | None,
    queries: str | None,
    out: Path,
    best: str,
    by: Any,
    k: int,
    model: str | None,
    query_model: str | None,
    hessian: str | None,
    base: str | None,
    dtype: Any,
    device: str | None,
) -> None:
    """Find the documents of INDEX that influence some queries most, and score the best of them exactly.

    Writes an ordinary score store of all documents, for influence top, analyze and report; those that were not
    scored are NaN in it. Positive: the document is predicted to RAISE log p(completion | prompt). The table shows
    normed and dot, exact, beside what the index had estimated of normed.
    """
    require_one_process("influence index search")
    from influence.data.queries import completions_by, read_queries
    from influence.engine.index.search import asked_query, search_index
    from influence.errors import InputError
    from influence.models.load import load_model
    from influence.store.factors import open_factors
    from influence.store.index import open_index

    if (query is None) == (queries is None):
        raise InputError("Give either --query or --queries.")
    if completion is not None and query is None:
        raise InputError("--completion belongs to --query.")
    part = _part(best)
    opened = open_index(folder)
    made = opened.manifest["provenance"]
    hessian = hessian or made["hessian_folder"] or "identity"
    factors = None if hessian == "identity" else open_factors(hessian)
    loaded = load_model(model or made["model_name"], dtype=dtype, device=device, base=base)
    tuned = load_model(query_model, dtype=dtype, device=device) if query_model else None
    if queries is not None:
        asked = read_queries(queries)
        written_by = completions_by(queries, asked)
    else:
        assert query is not None
        asked = [asked_query(tuned or loaded, query, completion)]
        written_by = (tuned or loaded).name if completion is None else None
    config = SearchConfig(best=part, by=by)
    scores = search_index(
        opened, loaded, factors, asked, out, query_model=tuned, completions_by=written_by, config=config
    )
    for one in scores.queries:
        _print_table(scores, one, k, by)
    click.echo(scores.manifest["provenance"]["summary"])
    click.echo(f"Scores: {out}")
    click.echo(f"Next: influence report {out} --out report.html")


def _part(text: str) -> float:
    """`5%` as 0.05."""
    from influence.errors import InputError

    try:
        part = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        part = 0.0
    if not 0 < part <= 1:
        raise InputError(f"--best {text} is no part of a corpus.", fix="Give percents, such as --best 5%.")
    return part


def _print_table(scores: Scores, query: Query, k: int, by: Any) -> None:
    """The best documents of one query with what the index had estimated."""
    import numpy as np

    from influence.store.arrays import map_arrays
    from influence.store.index import ESTIMATES

    table = scores.top(query.id, k=k, by=by)
    columns = scores.ranking(query.id, k, by)
    estimate = map_arrays(scores.folder / ESTIMATES)["estimate"][scores.index(query.id), columns]
    norm = np.asarray(scores.gradient_norm[columns])
    table.insert(3, "estimated", np.divide(estimate, norm, out=np.zeros_like(estimate), where=norm > 0))
    table["snippet"] = table["snippet"].str.slice(0, _SNIPPET)
    shown = table[["rank", "document", "source", "estimated", "normed", "dot", "snippet"]]
    click.echo(plain(f"{query.id}: {' '.join((query.prompt + query.completion).split())[:100]}"))
    click.echo(plain(shown.to_string(index=False, float_format=lambda value: f"{value:.4g}")) + "\n")
