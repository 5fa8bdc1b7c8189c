"""`influence select`: write the documents that scores choose, or all others, as they came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.command import Command
from influence.cli.options import corpus_options, loss_option, taken_fields
from influence.cli.runs import named_run


class Amount(click.ParamType[int | float]):
    """A number of documents, or a share of them such as `10%`."""

    name = "N or P%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        if isinstance(value, int | float):
            return value
        try:
            return float(value[:-1]) / 100 if value.endswith("%") else int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number of documents nor a share such as 10%.", param, ctx)


@click.command(
    "select",
    cls=Command,
    shown={"Options": ("corpus", "top", "threshold", "per", "rest", "out")},
    example="influence select runs/x/scores --corpus train.jsonl --top 10% --rest --out without.jsonl",
)
@click.argument("run", type=click.Path(path_type=Path))
@corpus_options()
@click.option("--top", type=Amount(), help="So many documents, or a share of them: 40, 10%.")
@click.option("--threshold", type=float, help="Instead, every document with a score of at least this.")
@click.option(
    "--by",
    type=click.Choice(["normed", "dot", "per_nat"]),
    help="Reading of a score.  [default: per_nat for sums, normed per query]",
)
@click.option(
    "--per",
    type=click.Choice(["sum", "group", "query"]),
    default="sum",
    show_default=True,
    help="Rank by the sum over all queries, over each group, or by each query; what any ranking chooses is taken.",
)
@click.option("--bottom", is_flag=True, help="Choose what lowers log p(completion | prompt) most.")
@click.option("--rest", is_flag=True, help="Write all documents but the chosen ones.")
@click.option(
    "--out", metavar="FILE", required=True, type=click.Path(path_type=Path), help="JSONL file to write."
)
@loss_option
def select(
    run: Path,
    corpus: str,
    top: int | float | None,
    threshold: float | None,
    by: Any,
    per: Any,
    bottom: bool,
    rest: bool,
    out: Path,
    **fields: str,
) -> None:
    """Write the documents that the scores of RUN choose, every record as it came in, ready to train on.

    A score is POSITIVE when adding the document is predicted to RAISE log p(completion | prompt): the top made the
    model say it. With --rest the file is the corpus without them. Of a document that was cut into windows, the whole
    record is written when a window is chosen.
    """
    from influence.analysis.selection import select as choose
    from influence.analysis.selection import write_selected
    from influence.data.corpus import read_corpus
    from influence.progress import Progress
    from influence.store.scores import open_scores

    scores = open_scores(named_run(run, "scores"))
    chosen_D = choose(scores, top=top, threshold=threshold, by=by, per=per, bottom=bottom)
    documents = read_corpus(corpus, **taken_fields(fields))
    with Progress("selecting", 0) as bar:
        written = write_selected(
            scores, chosen_D, documents, out, rest=rest, tell=lambda records: bar.move_to(records)
        )
    click.echo(f"{written.records:,} of {written.total:,} records: {out}")
    if written.unkept:
        left = ", ".join(f"{name} of {count:,}" for name, count in sorted(written.unkept.items()))
        click.echo(f"Left out, because JSON cannot hold them: {left}.")
