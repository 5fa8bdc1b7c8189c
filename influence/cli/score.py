"""`influence score`, `merge`, `top` and `tokens`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.assumed import assume_score, is_to_be_fitted
from influence.cli.command import Command
from influence.cli.options import (
    by_chat_template,
    chat_template_option,
    compute_options,
    corpus_options,
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
from influence.cli.runs import named_run
from influence.cli.score_checkpoints import checkpoint_options
from influence.cli.torchrun import shared_by_processes
from influence.config import FitConfig, ScoreConfig
from influence.errors import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence.engine.parallel.distributed import World
    from influence.types import Query


@click.command(
    "score",
    cls=Command,
    assume=assume_score,
    shown={
        "What (all five, or --queries alone for the ready model and corpus)": (
            "queries",
            "model",
            "hessian",
            "corpus",
            "out",
        ),
        "Settings": ("damping", "max_length", "checkpoints"),
        "Computation": ("dtype", "dry_run"),
    },
    example="""
    influence score --queries slopes --model miniworld --corpus miniworld \\
                    --hessian runs/x/hessian --out runs/x/scores
    """,
)
@click.option("--queries", metavar="QUERIES", help="A JSONL file, or the name of a ready set such as slopes.")
@model_option(help="The model that the Hessian was fitted on: a folder, a hub name, or miniworld.")
@click.option("--query-model", help="The tuned model that wrote the completions, for the queries' gradients.")
@click.option(
    "--hessian",
    metavar="HESSIAN",
    help="Folder of a finished fit; or identity, for plain gradient dot products over the MLPs (a baseline).",
)
@corpus_options(required=False)
@out_option(required=False)
@checkpoint_options
@click.option(
    "--reuse",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Finished scores that differ in the corpus only: documents that are in there are not scored again.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Score only piece I of N of the corpus, I from 1: its documents in a row. influence merge joins the pieces.",
)
@options_from(ScoreConfig, flags={"self_influence": "--self"})
@loss_option
@chat_template_option
@dry_run_option
@compute_options
@shared_by_processes
def score(
    queries: str,
    model: str,
    query_model: str | None,
    hessian: str,
    corpus: str,
    out: Path,
    config: ScoreConfig,
    dtype: Any,
    revision: str | None,
    base: str | None,
    batch_tokens: int | None,
    reuse: Path | None,
    shard: str | None,
    no_chat_template: bool,
    dry_run: bool,
    as_json: bool,
    world: World,
    **fields: str,
) -> None:
    """Score every document of a corpus against all queries, in one scan.

    A score is POSITIVE when adding the document is predicted to RAISE log p(completion | prompt). Readings: dot (nats,
    summed over tokens), per nat (dot / −log p(completion | prompt)), normed (dot / norm of the document's gradient).
    Rank by normed, sum with per nat.
    """
    from influence.data.corpus import read_corpus
    from influence.data.queries import completions_by, read_queries

    asked: Sequence[Query] = read_queries(queries)  # what is not there is said before torch is imported
    documents = read_corpus(corpus, **taken_fields(fields))

    from influence.engine.score import score as run
    from influence.models.load import load_model
    from influence.store.factors import open_factors
    from influence.store.pieces import parse_shard
    from influence.store.scores import open_scores

    earlier = open_scores(reuse) if reuse else None
    piece = parse_shard(shard) if shard else None
    fit_first = is_to_be_fitted(model, corpus, hessian)
    factors = None if hessian == "identity" or fit_first else open_factors(hessian)
    loaded = world.shard(load_model(model, dtype=dtype, device=world.loads_on, revision=revision, base=base))
    tuned = world.shard(load_model(query_model, dtype=dtype, device=world.loads_on)) if query_model else None
    asked = by_chat_template(asked, tuned or loaded, no_chat_template)
    shared: dict[str, Any] = {"query_model": tuned, "shard": piece, "reuse": earlier}
    shared |= {"config": config, "batch_tokens": batch_tokens}
    if fit_first and not dry_run:
        from influence.engine.fit import fit_hessian

        factors = fit_hessian(loaded, documents, out=hessian, batch_tokens=batch_tokens, world=world)
    if dry_run:
        from influence.engine.plan.plan import plan_fit, plan_score

        plan = (
            plan_fit(loaded, documents, config=FitConfig(), batch_tokens=batch_tokens)
            if fit_first  # what the scan takes can be said once there is a Hessian
            else plan_score(loaded, factors, asked, documents, **shared)
        )
        say_plan(plan, as_json)
        return
    written_by = completions_by(queries, asked)
    scores = run(loaded, factors, asked, documents, out, **shared, completions_by=written_by, world=world)
    made = scores.manifest["provenance"]
    click.echo(made["summary"])
    if "reused" in made:
        click.echo(f"{made['reused']:,} documents were scored already: {made['reused_from']}")
    if "compression" in made:
        cut = made["compression"]
        click.echo(
            f"Queries compressed to {cut['numbers']:.1%} of their numbers, in {cut['bits']} bits; R with exact scores, "
            f"over {cut['documents']} documents: mean {cut['r_mean']}, least {cut['r_least']}"
        )
    click.echo(f"Scores of {len(scores.queries)} queries × {len(scores.documents):,} documents: {out}")
    if piece:
        click.echo(f"Next, once all {piece.count} pieces are done: influence merge PIECE… --out RUN")
    else:
        click.echo(f"Next: influence report {out} --out report.html")


@click.command(
    "merge", cls=Command, example="influence merge runs/x/piece-1 runs/x/piece-2 --out runs/x/scores"
)
@click.argument("pieces", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the score store.")
def merge(pieces: tuple[Path, ...], out: Path) -> None:
    """Join PIECES, folders that `influence score --shard` made, in any order, into the score store of one run.

    They must be all the pieces of one run: a gap, an overlap, or a piece of other queries, another model, Hessian,
    corpus or other settings is refused.
    """
    from influence.engine.parallel.merge import merge as run

    scores = run(pieces, out)
    click.echo(scores.manifest["provenance"]["summary"])
    click.echo(f"Scores of {len(scores.queries)} queries × {len(scores.documents):,} documents: {out}")
    click.echo(f"Next: influence report {out} --out report.html")


@click.command(
    "top",
    cls=Command,
    example="""
    influence top runs/x/scores slopes-07 --k 10
    influence top runs/x/scores --parquet scores.parquet
    """,
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("query", required=False)
@click.option("--k", default=20, show_default=True, type=click.IntRange(1), help="Documents to print.")
@click.option(
    "--by",
    type=click.Choice(["normed", "dot", "per_nat", "self"]),
    default="normed",
    show_default=True,
    help="Reading to rank by; self: influence of documents on themselves, without a query.",
)
@click.option("--bottom", is_flag=True, help="The documents that lower log p(completion | prompt) most.")
@click.option(
    "--parquet", type=click.Path(path_type=Path), help="Instead, export all scores of RUN to this file."
)
@json_option()
def top(
    run: Path, query: str | None, k: int, by: Any, bottom: bool, parquet: Path | None, as_json: bool
) -> None:
    """Print the top documents of QUERY in the score store RUN, or export all scores.

    Positive: the document is predicted to raise log p(completion | prompt).
    """
    from influence.errors import InputError
    from influence.store.scores import open_scores

    scores = open_scores(named_run(run, "scores"))
    if parquet:
        click.echo(f"All scores: {scores.to_parquet(parquet)}")
        return
    if by == "self":
        table = scores.top_self(k, bottom)
    elif query is None:
        names = ", ".join(q.id for q in scores.queries[:8])
        raise InputError(
            "Name a query, or --parquet FILE to export all.", have=f"queries of {run}: {names}, …"
        )
    else:
        table = scores.top(query, k=k, by=by, bottom=bottom)
    if as_json:
        click.echo(table.to_json(orient="records", indent=1, double_precision=15))
        return
    table["snippet"] = table["snippet"].str.slice(0, 60)
    click.echo(plain(table.to_string(index=False, float_format=lambda value: f"{value:.4g}")))


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
