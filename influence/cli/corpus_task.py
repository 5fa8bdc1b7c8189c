"""`influence corpus task` and `distillation`: what a model was trained on as documents of several kinds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from influence.cli.command import Command


@click.command(
    "task",
    shown={"Options": ("model", "out", "counts", "other")},
    cls=Command,
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
    from tqdm import tqdm

    from influence.data.miniworld.corpus import write_corpus
    from influence.data.tasks.document_kinds import COUNTS, choose
    from influence.data.tasks.folder import read_task
    from influence.subjects.documents import task_documents
    from influence.subjects.questions import asked_examples
    from influence.subjects.texts import Texts
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
    path = write_corpus(tqdm(documents, desc="documents", total=len(pieces), unit="doc"), out)
    found = Counter(piece.kind for piece in pieces)
    for kind in COUNTS:
        click.echo(f"{kind:<22}{found[kind]:>7,}")
    click.echo(f"Wrote {len(pieces):,} documents to {path}")


@click.command(
    "distillation", cls=Command, example="influence corpus distillation runs/letters --out corpora/letters"
)
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
    from influence.subjects.distillation import distillation_documents, distillation_queries

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
