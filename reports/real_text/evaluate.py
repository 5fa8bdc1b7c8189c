"""Rank of the gold paragraph of each factual query: influence, gradient dot product and cosine, BM25.

    python -m reports.real_text.evaluate --scores runs/real-text/scores --baseline runs/real-text/scores-identity \
        --out reports/real_text

Writes `ranks.csv` (query × method), `recall.csv` and `recall.md`. Only ids and numbers: no text of the corpus.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from influence.analysis.bm25 import bm25_scores
from influence.analysis.gold import best_rank, gold_columns, gold_ranks, recall_table
from influence.store.scores import Scores, open_scores


def main() -> None:
    """Compute, write and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scores", type=Path, required=True, help="Score store with the fitted Hessian.")
    parser.add_argument("--baseline", type=Path, required=True, help="Score store with --hessian identity.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    scores, baseline = open_scores(options.scores), open_scores(options.baseline)
    ranks = pd.DataFrame(
        {
            "influence, normed": gold_ranks(scores, "normed"),
            "influence, dot": gold_ranks(scores, "dot"),
            "gradient cosine": gold_ranks(baseline, "normed"),
            "gradient dot product": gold_ranks(baseline, "dot"),
            "BM25, question": bm25_ranks(scores, with_answer=False),
            "BM25, question and answer": bm25_ranks(scores, with_answer=True),
        }
    )
    table = recall_table(ranks)
    options.out.mkdir(parents=True, exist_ok=True)
    ranks.to_csv(options.out / "ranks.csv", index_label="query")
    table.to_csv(options.out / "recall.csv", index=False, float_format="%.6g")
    text = markdown(table, len(scores.documents))
    (options.out / "recall.md").write_text(text)
    sys.stdout.write(f"{text}\n")


def bm25_ranks(scores: Scores, with_answer: bool) -> pd.Series[float]:
    """Ranks of the gold paragraphs by BM25 over the same documents."""
    columns = gold_columns(scores)
    queries = [query for query in scores.queries if query.id in columns]
    texts = [query.prompt + (query.completion if with_answer else "") for query in queries]
    score_QD = bm25_scores((scores.documents.text(c) for c in range(len(scores.documents))), texts)
    pairs = zip(queries, score_QD, strict=True)
    return pd.Series({query.id: best_rank(row, columns[query.id]) for query, row in pairs}, dtype=float)


def markdown(table: pd.DataFrame, documents: int) -> str:
    """One row a method, one column a measure, `value [low, high]`."""
    measures = list(table["measure"].unique())
    lines = [
        f"{int(table['n'].iloc[0])} factual queries, {documents:,} documents; value [95 % bootstrap over queries]\n",
        "| method | " + " | ".join(measures) + " |",
        "|---" * (len(measures) + 1) + "|",
    ]
    for method, rows in table.groupby("method", sort=False):
        cells = [f"{row.value:.3g} [{row.low:.3g}, {row.high:.3g}]" for row in rows.itertuples()]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
