"""`influence corpus`: make a ready corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from influence.types import Document


@click.group()
def corpus() -> None:
    """Make a ready corpus."""


@corpus.command()
@click.option("--documents", "n_documents", type=int, required=True, help="How many documents to write.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the documents; the facts stay.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for documents.jsonl.")
def miniworld(n_documents: int, seed: int, out: Path) -> None:
    """Write a corpus in which it is known which document states what.

    Fictional facts and three procedures (slopes, two-step arithmetic, linear equations) in eight sources, among
    distractors. The same number and seed give the same bytes. Every record carries its truth: the facts it states,
    the procedures it explains, the steps it writes out. The ready query sets ask about this world.

    \b
    influence corpus miniworld --documents 2000 --seed 0 --out corpora/mine
    """
    from tqdm import tqdm

    from influence.data.miniworld import SOURCES, generate, write_corpus

    counts: Counter[str] = Counter()
    documents = generate(n_documents, seed)
    with tqdm(documents, desc="documents", total=n_documents, unit="doc", dynamic_ncols=True) as bar:
        path = write_corpus(_counted(bar, counts), out)
    click.echo(f"Wrote {n_documents:,} documents ({path.stat().st_size / 1e6:,.1f} MB) to {path}\n")
    click.echo(f"{'source':<18}{'documents':>10}{'share':>9}")
    for source in SOURCES:
        click.echo(f"{source:<18}{counts[source]:>10,}{counts[source] / n_documents:>9.1%}")


def _counted(documents: Iterable[Document], counts: Counter[str]) -> Iterator[Document]:
    for document in documents:
        counts[document.source] += 1
        yield document
