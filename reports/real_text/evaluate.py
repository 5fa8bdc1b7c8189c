"""Rank of the gold paragraph of each factual query: influence, gradient dot product and cosine, BM25.

    python -m reports.real_text.evaluate --scores runs/real-text/scores --baseline runs/real-text/scores-identity \
        --out reports/real_text

Writes `ranks.csv` (query × method), `recall.csv` and `recall.md`. Only ids and numbers: no text of the corpus.
"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from influence.analysis.bm25 import best_rank, bm25_scores, gold_columns, gold_ranks, recall_table
from influence.files import whole_file
from influence.store.scores import Scores, open_scores
from reports.kit.page import markdown_table, with_interval


@click.command()
@click.option(
    "--scores", required=True, type=click.Path(path_type=Path), help="Scores with the fitted Hessian."
)
@click.option(
    "--baseline", required=True, type=click.Path(path_type=Path), help="Scores with --hessian identity."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
def main(scores: Path, baseline: Path, out: Path) -> None:
    """Write ranks.csv, recall.csv and recall.md, and print the last."""
    influence, gradients = open_scores(scores), open_scores(baseline)
    ranks = pd.DataFrame(
        {
            "influence, normed": gold_ranks(influence, "normed"),
            "influence, dot": gold_ranks(influence, "dot"),
            "gradient cosine": gold_ranks(gradients, "normed"),
            "gradient dot product": gold_ranks(gradients, "dot"),
            "BM25, question": bm25_ranks(influence, with_answer=False),
            "BM25, question and answer": bm25_ranks(influence, with_answer=True),
        }
    )
    table = recall_table(ranks)
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / "ranks.csv") as part:
        ranks.to_csv(part, index_label="query")
    with whole_file(out / "recall.csv") as part:
        table.to_csv(part, index=False, float_format="%.6g")
    text = markdown(table, len(influence.documents))
    with whole_file(out / "recall.md") as part:
        part.write_text(text, encoding="utf-8")
    click.echo(text)


def bm25_ranks(scores: Scores, with_answer: bool) -> pd.Series[float]:
    """Ranks of the gold paragraphs by BM25 over the same documents."""
    columns = gold_columns(scores)
    queries = [query for query in scores.queries if query.id in columns]
    texts = [query.prompt + (query.completion if with_answer else "") for query in queries]
    score_QD = bm25_scores((scores.documents.text(c) for c in range(len(scores.documents))), texts)
    pairs = zip(queries, score_QD, strict=True)
    return pd.Series({query.id: best_rank(row, columns[query.id]) for query, row in pairs}, dtype=float)


def markdown(table: pd.DataFrame, documents: int) -> str:
    """A row for each method and a column for each measure, with intervals."""
    measures = list(table["measure"].unique())
    rows = [
        [str(method), *(with_interval(record, "value") for record in records.to_dict("records"))]
        for method, records in table.groupby("method", sort=False)
    ]
    queries = f"{int(table['n'].iloc[0])} factual queries, {documents:,} documents"
    head = f"{queries}; value [95 % bootstrap over queries]\n\n"
    return head + markdown_table(["method", *measures], rows)


if __name__ == "__main__":
    main()
