"""`influence corpus`: make a ready corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from influence.cli.command import Group
from influence.cli.corpus_task import corpus_distillation, corpus_task
from influence.types import Document


@click.group(cls=Group)
def corpus() -> None:
    """Make a ready corpus."""


corpus.add_command(corpus_task)
corpus.add_command(corpus_distillation)


@corpus.command(
    "miniworld",
    shown={"Options": ("n_documents", "seed", "out", "facts", "queries")},
    example="influence corpus miniworld --documents 2000 --seed 0 --out corpora/mine",
)
@click.option("--documents", "n_documents", type=int, required=True, help="How many documents to write.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the documents; the facts stay.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for documents.jsonl.")
@click.option("--facts", type=int, help="How many facts; by default as many as the documents can state.")
@click.option("--shares", help="Share of each source, such as wiki=0.6,code=0.4; they sum to 1.")
@click.option("--procedures", type=float, help="Share of documents that show a procedure; by default 0.39.")
@click.option("--forms", help="Shares of prose, maths, code and stackexchange among these; they sum to 1.")
@click.option(
    "--asides/--no-asides",
    default=True,
    show_default=True,
    help="Whether documents hold sentences about nothing in particular; a seventh shorter without.",
)
@click.option("--queries", type=click.Path(path_type=Path), help="Folder for query sets that fit the corpus.")
def miniworld(
    n_documents: int,
    seed: int,
    out: Path,
    facts: int | None,
    shares: str | None,
    procedures: float | None,
    forms: str | None,
    asides: bool,
    queries: Path | None,
) -> None:
    """Write a corpus in which it is known which document states what.

    Fictional facts and three procedures (slopes, two-step arithmetic, linear equations) in eight sources, among
    distractors. Each fact is stated in exactly 0, 1, 2, 5 or 20 documents, a fifth of the facts in each. The same
    options give the same bytes. Every record carries its truth: the facts it states, the procedures it shows and in
    what form, the steps it writes out. The ready query sets ask about this world, if it has 80 facts or more; their
    gold documents are those of the ready corpus, so other corpora need query sets of their own (--queries).
    """
    from tqdm import tqdm

    from influence.data.corpus import read_corpus
    from influence.data.miniworld import (
        SOURCES,
        Settings,
        all_questions,
        generate,
        make_plan,
        query_sets,
        write_corpus,
    )
    from influence.data.miniworld.settings import SHARES, parse_shares
    from influence.data.queries import write_queries

    settings = Settings(
        facts=facts,
        shares=parse_shares(shares, "sources") if shares is not None else SHARES,
        procedures=procedures,
        forms=parse_shares(forms, "forms") if forms is not None else None,
        asides=asides,
    )
    counts: Counter[str] = Counter()
    documents = generate(n_documents, seed, settings)
    with tqdm(documents, desc="documents", total=n_documents, unit="doc", dynamic_ncols=True) as bar:
        path = write_corpus(_counted(bar, counts), out)
    click.echo(f"Wrote {n_documents:,} documents ({path.stat().st_size / 1e6:,.1f} MB) to {path}\n")
    click.echo(f"{'source':<18}{'documents':>10}{'share':>9}")
    for source in SOURCES:
        click.echo(f"{source:<18}{counts[source]:>10,}{counts[source] / n_documents:>9.1%}")
    if queries:
        world = make_plan(n_documents, settings).world
        for name, queries_of_set in query_sets(world, read_corpus(path)).items():
            write_queries(queries_of_set, queries / f"{name}.jsonl")
        asked = all_questions(world, read_corpus(path))
        write_queries(asked, queries / "questions.jsonl", completed=False)
        click.echo(f"\nWrote the query sets of this corpus to {queries}")


def _counted(documents: Iterable[Document], counts: Counter[str]) -> Iterator[Document]:
    for document in documents:
        counts[document.source] += 1
        yield document
