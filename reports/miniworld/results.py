"""The page of the findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.kit.page import markdown_table, page_head, short_number, with_interval
from reports.miniworld.findings import RULE
from reports.miniworld.scales import Scale

PAPER = (
    "*Procedural Knowledge in Pretraining Drives Reasoning in Large Language Models* "
    "(Ruis et al., arXiv 2411.12580)"
)
UNCERTAINTY = (
    "Values are means over seeds with a 95 % interval that draws seeds and, within each, queries anew (2,000 times). "
    "With one seed only queries vary; with few seeds the spread between them is rough."
)


def findings_page(scale: Scale, made_by: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """The findings as Markdown."""
    parts = [
        *page_head(
            "Procedural knowledge, where the truth is known",
            f"The findings of {PAPER} in a world of {scale.documents:,} documents a seed,",
            made_by,
            f"{made_by['hours']:.2f} hours in all, of which: {_times(made_by['step_seconds'])}",
            [UNCERTAINTY],
        ),
        "## What the tuned models can do\n",
        _accuracy(tables["accuracy"]),
        "## The findings\n",
        _reading(scale),
        _findings(tables["findings"]),
        "## What the paper could not measure\n",
        "Gold documents of a factual query are those that state its fact. Recall@k is the share of them among the "
        "first k, of as many as could be there (at most k); reciprocal rank is that of the best. True statements are "
        "completions that the model was given, whatever it would say itself.\n",
        _recall(tables["recall"]),
        f"Top {scale.top_k} documents of the reasoning queries, by what they show: share, and how many times their "
        "share of the corpus.\n",
        _relations(tables["relations"]),
        "## Removal\n",
        _removal_text(scale),
        _removal(tables["removal"]),
        _order(tables["removal_order"]),
    ]
    return "\n".join(parts)


def _reading(scale: Scale) -> str:
    """How the table of findings is to be read."""
    return (
        f"{RULE}\n\n"
        f"Here the top {scale.top_k} of {scale.documents:,} documents stand for the paper's 500 of 5 million, and the "
        f"top {scale.source_k} for its 50. R, answers, relations and sources read the scores as normed, sizes and "
        "slopes as per nat. Answers are found by their keywords alone; what a document shows is known, so no judge "
        "labels it. Sizes per nat depend on the corpus: compare ratios. A source can be at most 1 / (its share of the "
        "corpus) times as frequent.\n"
    )


def _accuracy(table: pd.DataFrame) -> str:
    """A column a seed."""
    seeds = sorted(table["seed"].unique())
    rows = []
    keys = list(dict.fromkeys(zip(table["task"], table["stated"].fillna(-1).astype(int), strict=True)))
    for task, stated in keys:
        own = table[(table["task"] == task) & (table["stated"].fillna(-1).astype(int) == stated)]
        cells = [_cell(own[own["seed"] == seed]) for seed in seeds]
        rows.append([task if stated < 0 else f"{task}, stated in {stated}", *cells])
    note = "A reasoning task qualifies in the paper when 80 % of its problems are solved; one that does not says so.\n"
    return note + "\n" + markdown_table(["task", *(f"seed {seed}" for seed in seeds)], rows)


def _cell(own: pd.DataFrame) -> str:
    if own.empty:
        return "–"
    record = own.iloc[0]
    text = f"{record['right']} of {record['asked']} ({record['accuracy']:.0%})"
    return text + (", does not qualify" if str(record["qualifies"]) == "False" else "")


def _findings(table: pd.DataFrame) -> str:
    rows = [
        [
            str(record["finding"]),
            record["what"],
            record["published"],
            with_interval(record, "here"),
            record["claim"] or "–",
            with_interval(record, "contrast", "contrast_"),
            record["holds"],
        ]
        for record in table.to_dict("records")
    ]
    head = ["", "what", "published", "here", "the finding says", "contrast", "holds here"]
    return markdown_table(head, rows)


def _recall(table: pd.DataFrame) -> str:
    """Every measure by whose completion it is; recall@10 by how often the fact is stated."""
    parts = []
    for name in ("answered right", "answered wrong", "true statements"):
        own = table[table["queries_are"] == name]
        if len(own):
            parts.append(f"Facts, {name}, {own['queries'].max()} queries:\n\n" + _methods(own, "measure"))
    counted = table[(table["measure"] == "recall@10") & table["queries_are"].str.startswith("stated")]
    for name in ("answered right", "true statements"):
        own = counted[counted["queries_are"].str.endswith(name)]
        if len(own):
            numbers = own.groupby("queries_are", sort=False)["queries"].max().to_dict()
            known = ", ".join(f"{count} {str(what).partition(',')[0]}" for what, count in numbers.items())
            parts.append(
                f"Recall@10 by how often the fact is stated, {name} ({known}):\n\n"
                + _methods(own, "queries_are")
            )
    return "\n".join(parts) if parts else "There was no factual query with gold documents.\n"


def _methods(table: pd.DataFrame, column: str) -> str:
    """A row a method, a column for each value of `column`."""
    heads = [str(head) for head in table[column].unique()]
    rows = []
    for method in table["method"].unique():
        cells = table[table["method"] == method].set_index(column).to_dict("index")
        rows.append(
            [str(method), *(with_interval(cells[head], "value") if head in cells else "–" for head in heads)]
        )
    return markdown_table(["method", *(head.partition(",")[0] for head in heads)], rows)


def _relations(table: pd.DataFrame) -> str:
    shown = list(table["what"].unique())
    rows = []
    for method in table["method"].unique():
        cells = table[table["method"] == method].set_index("what").to_dict("index")
        rows.append(
            [
                str(method),
                *(
                    f"{with_interval(cells[w], 'value')}, {short_number(cells[w]['multiplier'])}×"
                    for w in shown
                ),
            ]
        )
    corpus = table.groupby("what", sort=False)["corpus_share"].first()
    rows.append(["whole corpus", *(short_number(float(corpus[w])) for w in shown)])
    return markdown_table(["method", *shown], rows)


def _removal_text(scale: Scale) -> str:
    return (
        "For a group of queries (factual, and the best reasoning task: those answered right, or all where fewer than "
        "two are; told: true statements of facts, whatever the model would say) "
        f"{scale.removal_k} documents are left out: the first by the sum over its queries of their "
        "standardised scores (influence: normed; gradient dot product: dot), at random, or by the truth (gold: what "
        "states the facts, or shows the procedure). Base and tuned model are trained again with the same seed and "
        "recipe, and asked again. One model is trained without the documents of all groups together, of random ones as "
        "many, and asked every group: the documents of another group are missing too. Loss: nats a completion, "
        "summed over its tokens; changes are against the undisturbed model of the same seed. A completion "
        "that a model chose itself is likelier to it than to any other model, so every retraining raises its loss, and "
        "a retrained model differs by chance too: compare with random removal. True statements were not chosen.\n"
    )


def _removal(table: pd.DataFrame) -> str:
    rows = [
        [
            f"{record['group']} ({record['completions']})",
            record["method"],
            f"{record['dropped']:.0f} of {record['dropped_in_all']:.0f}",
            short_number(record["nll"]),
            with_interval(record, "nll_change", "nll_"),
            short_number(record["accuracy"]),
            with_interval(record, "accuracy_change", "accuracy_"),
        ]
        for record in table.to_dict("records")
    ]
    return markdown_table(
        ["queries", "left out by", "documents", "loss", "change", "accuracy", "change"], rows
    )


def _order(table: pd.DataFrame) -> str:
    rows = [
        [
            record["group"],
            f"{record['more']} − {record['less']}",
            with_interval(record, "value"),
            record["holds"],
        ]
        for record in table.to_dict("records")
    ]
    head = "Differences between ways to choose (the paper's order: influence > gradient dot product > random):\n\n"
    return head + markdown_table(["queries", "difference", "nats a completion", "holds here"], rows)


def _times(seconds: Mapping[str, Mapping[str, float]]) -> str:
    total = {kind: sum(taken.values()) / 60 for kind, taken in seconds.items()}
    longest = sorted((kind for kind in total if total[kind] > 0.02), key=lambda kind: -total[kind])
    return ", ".join(f"{kind} {total[kind]:.1f} min" for kind in longest)
