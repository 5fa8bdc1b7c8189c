"""`influence corpus`: a corpus of the miniworld, or what a model was trained on as documents of several kinds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from influence.cli.command import Group
from influence.cli.options import options_from
from influence.data.miniworld.settings import Settings, parse_shares
from influence.progress import Progress
from influence.types import Document


@click.group(cls=Group)
def corpus() -> None:
    """Make a ready corpus."""


@corpus.command(
    "miniworld",
    shown={"Options": ("n_documents", "seed", "out", "facts", "queries")},
    example="influence corpus miniworld --documents 2000 --seed 0 --out corpora/mine",
)
@click.option("--documents", "n_documents", type=int, required=True, help="How many documents to write.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the documents; the facts stay.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for documents.jsonl.")
@options_from(Settings, name="settings", only=("facts", "procedures", "asides"))
@click.option("--shares", help="Share of each source, such as wiki=0.6,code=0.4; they sum to 1.")
@click.option("--forms", help="Shares of prose, maths, code and stackexchange among these; they sum to 1.")
@click.option("--queries", type=click.Path(path_type=Path), help="Folder for query sets that fit the corpus.")
def miniworld(
    n_documents: int,
    seed: int,
    out: Path,
    settings: Settings,
    shares: str | None,
    forms: str | None,
    queries: Path | None,
) -> None:
    """Write a corpus in which it is known which document states what.

    Fictional facts and three procedures (slopes, two-step arithmetic, linear equations) in eight sources, among
    distractors. Each fact is stated in exactly 0, 1, 2, 5 or 20 documents, a fifth of the facts in each. The same
    options give the same bytes. Every record carries its truth: the facts it states, the procedures it shows and in
    what form, the steps it writes out. The ready query sets ask about this world, if it has 80 facts or more; their
    gold documents are those of the ready corpus, so other corpora need query sets of their own (--queries).
    """
    from influence.data.corpus import read_corpus
    from influence.data.miniworld import (
        SOURCES,
        all_questions,
        generate,
        make_plan,
        query_sets,
        write_corpus,
    )
    from influence.data.queries import write_queries

    if shares is not None:
        settings = dataclasses.replace(settings, shares=parse_shares(shares, "sources"))
    if forms is not None:
        settings = dataclasses.replace(settings, forms=parse_shares(forms, "forms"))
    counts: Counter[str] = Counter()
    documents = generate(n_documents, seed, settings)
    path = write_corpus(_counted(documents, counts, n_documents), out)
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


def _counted(documents: Iterable[Document], counts: Counter[str], total: int) -> Iterator[Document]:
    """Yield the documents with progress on stderr, counted by source."""
    with Progress("documents", total) as progress:
        for document in documents:
            counts[document.source] += 1
            progress.advance()
            yield document


@corpus.command(
    "task",
    shown={"Options": ("model", "out", "counts", "other")},
    example="influence corpus task data/parity --model runs/icot/stage-000 --out corpora/parity",
)
@click.argument("task", type=click.Path(path_type=Path))
@click.option(
    "--model",
    required=True,
    type=click.Path(path_type=Path),
    help="A stage of influence train, in whose language the documents are written.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for documents.jsonl.")
@click.option(
    "--asked",
    default=40,
    show_default=True,
    type=click.IntRange(1),
    help="Examples that influence score --task asks: documents about them are among the kinds.",
)
@click.option(
    "--counts",
    metavar="KIND=N,…",
    help="Documents of a kind; the kinds, and how many of each by default, are below.",
)
@click.option("--other", type=click.Path(path_type=Path), help="Another task, for the kind of that name.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Chooses the examples.")
def corpus_task(
    task: Path, model: Path, out: Path, asked: int, counts: str | None, other: Path | None, seed: int
) -> None:
    """Write training examples of TASK, a folder such as `influence data` writes, as documents of several kinds.

    The source of a document is its kind, which reports and analyses then count:

    \b
    full chain 400             an example with its whole chain of thought
    partial chain 400          the same examples, some of the chain removed as in the stages
    answer only 400            the same examples, all of it removed
    same operands 10           of each asked example: the digits that count, or one of both numbers
    shared partial result 10   of each asked example: most partial results, another answer
    distractor 200             an input with the chain and answer of another
    another task 200           examples of --other, if it is given
    """
    from influence.data.miniworld.corpus import write_corpus
    from influence.data.tasks.document_kinds import COUNTS, choose
    from influence.data.tasks.folder import read_task
    from influence.subjects.documents import task_documents
    from influence.subjects.questions import Texts, asked_examples
    from influence.train.stepwise.stages import read_stage

    stage, read = read_stage(model), read_task(task)
    foreign = read_task(other) if other is not None else None
    pieces = choose(
        read,
        asked_examples(read, asked),
        counts=_counts(counts) if counts is not None else None,
        other=foreign,
        seed=seed,
    )
    texts = Texts.of_stage(model)
    documents = task_documents(pieces, read, texts, stage.side, foreign)
    written: Counter[str] = Counter()
    path = write_corpus(_counted(documents, written, len(pieces)), out)
    for kind in COUNTS:
        click.echo(f"{kind:<22}{written[kind]:>7,}")
    click.echo(f"Wrote {len(pieces):,} documents to {path}")


@corpus.command("distillation", example="influence corpus distillation runs/letters --out corpora/letters")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for documents.jsonl and queries.jsonl.",
)
@click.option(
    "--asked", default=40, show_default=True, type=click.IntRange(1), help="Test inputs that are asked."
)
def corpus_distillation(run: Path, out: Path, asked: int) -> None:
    """Write the pairs of RUN, a finished `influence distill`, as documents, and queries about both Systems.

    Documents: each pair (answer only), the same with what System 2 had read and written (full chain), and each question
    with another answer (distractor). Queries: each asked input as System 1 is asked it and as System 2 answered it,
    with System 2's answer, right or wrong.

    \b
    influence score --checkpoints BASE --checkpoints runs/letters/model --queries corpora/letters/queries.jsonl \\
                    --corpus corpora/letters/documents.jsonl --out runs/selves
    """
    from influence.data.miniworld.corpus import write_corpus
    from influence.data.queries import write_queries
    from influence.subjects.documents import distillation_documents, distillation_queries

    queries, documents = distillation_queries(run, asked), distillation_documents(run)
    path = write_corpus(documents, out)
    write_queries(queries, out / "queries.jsonl")
    click.echo(f"Wrote {len(documents):,} documents to {path} and {len(queries)} queries beside them")


def _counts(text: str) -> dict[str, int]:
    from influence.errors import InputError

    counts = {}
    for part in text.split(","):
        kind, equals, number = part.partition("=")
        if not equals or not number.strip().isdigit():
            raise InputError(f"--counts {part!r} is not a kind and a number.", fix="Write 'full chain=100'.")
        counts[kind.strip()] = int(number)
    return counts
