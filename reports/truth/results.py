"""The tables of the study, what was aimed at, and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from influence.validation.lds import CEILING, best_possible
from influence.validation.methods import BM25, BM25_COMPLETION, CHANCE, COSINE, PRESENCE
from influence.validation.retraining import read_retrainings
from influence.validation.tables import lds_rows
from reports.kit.page import markdown_table, page_head, short_number, with_interval
from reports.truth.replicate import OWN, PEER, PLAIN, SETTINGS, SUM, TruthReplicate
from reports.truth.scales import WORLDS, Scale

#: Methods of others that look at one checkpoint.
PEERS = (PEER, PLAIN, COSINE, BM25, BM25_COMPLETION)
#: Share of the best possible LDS that our best setting is to reach.
SHARE = 0.85

_HOW = (
    "LDS: over random halves of the corpus, Spearman's correlation of the true log p(completion | prompt) after "
    "training on the half with the sum of the half's scores; a mean over queries and over the seeds of the trainings. "
    "Intervals (95 %) draw queries and halves anew within a world; they do not draw worlds or models anew. *Two seeds "
    "with each other* is how well one seed's outcome ranks that of another on the same halves; the best possible LDS "
    "against one seed is about the root of it. *Taken out* regresses out the number of gold documents in the half and "
    "sums the scores of the others. *Over mlp*: the difference to the default, with the interval of the difference."
)


def lds_of_worlds(replicates: Sequence[TruthReplicate]) -> pd.DataFrame:
    """The LDS of every method: world, seed, and the columns of `influence.validation.validate.lds_rows`."""
    parts = []
    for replicate in replicates:
        scores = replicate.scores
        made = lds_rows(scores, read_retrainings(scores), replicate.methods(), OWN)
        assert made is not None, "all halves are trained"
        parts.append(made[0].assign(world=WORLDS[replicate.world], seed=replicate.seed))
    table = pd.concat(parts, ignore_index=True)
    return table[["world", "seed", *[name for name in table if name not in ("world", "seed")]]]


def ours() -> list[str]:
    """Our settings, by what the tables call them."""
    return [f"{name}{after}" for name in SETTINGS for after in ("", f", {SUM}")]


def aims_table(lds: pd.DataFrame) -> pd.DataFrame:
    """What was aimed at in each world and seed, and what was reached; missed aims first.

    Returns:
        world, seed, aim, reached (yes or no, by the values), value, goal.
    """
    rows = []
    counted = lds[lds["gold"] == "counted"]
    for (world, seed), table in counted.groupby(["world", "seed"], sort=False):
        value: dict[str, float] = dict(zip(table["method"], table["lds"], strict=True))
        best, peer = (max(names, key=value.__getitem__) for names in (ours(), PEERS))
        goal = SHARE * best_possible(value[CEILING])
        above = f"our best ({best}) at or above every method of one checkpoint ({peer})"
        rows += [
            (world, seed, above, value[best], value[peer]),
            (world, seed, f"our best ({best}) at {SHARE:.0%} of the best possible", value[best], goal),
            (
                world,
                seed,
                f"the default ({OWN}) at or above BM25 of the completion",
                value[OWN],
                value[BM25_COMPLETION],
            ),
        ]
    found = pd.DataFrame(rows, columns=["world", "seed", "aim", "value", "goal"])
    found.insert(
        3,
        "reached",
        ["yes" if value >= goal else "no" for value, goal in found[["value", "goal"]].to_numpy()],
    )
    return found.sort_values("reached", kind="stable").reset_index(drop=True)


def findings_page(scale: Scale, made_by: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """The findings as Markdown; what is missed stands first."""
    subject = (
        f"{scale.documents} documents of one sentence or two, {scale.queries} queries, {scale.subsets} halves with "
        f"{scale.seeds_of_halves} seeds each, a model of size {scale.size};"
    )
    size = (
        f"This is smaller than what the question deserves: {len(scale.epochs)} worlds of short made-up texts, "
        f"{made_by['seeds']} model each, halves only. Other peers (bergson, SOURCE, TRAK), 10 % and 3 % removals, and "
        "real text were not run here."
    )
    parts = [
        *page_head(
            "Which scores predict retraining", subject, made_by, f"{made_by['hours']:.2f} hours", [size, _HOW]
        ),
        "## What was aimed at, what is missed first\n",
        _aims(tables["aims"]),
    ]
    for gold in ("counted", "taken out"):
        parts += [f"## LDS on halves, gold documents {gold}\n", _lds(tables["lds"], gold)]
    return "\n".join(parts)


def _aims(table: pd.DataFrame) -> str:
    rows = [
        [
            f"{row['world']}, seed {row['seed']}",
            row["aim"],
            row["reached"],
            short_number(row["value"]),
            short_number(row["goal"]),
        ]
        for row in table.to_dict("records")
    ]
    return markdown_table(["world", "aim", "reached", "value", "goal"], rows)


def _lds(table: pd.DataFrame, gold: str) -> str:
    chosen = table[table["gold"] == gold]
    worlds = list(dict.fromkeys(zip(chosen["world"], chosen["seed"], strict=True)))
    rows = []
    for method in [*ours(), *PEERS, PRESENCE, CHANCE, CEILING]:
        of_method = chosen[chosen["method"] == method]
        if len(of_method):
            records = of_method.to_dict("records")
            cells = [(with_interval(row, "lds"), with_interval(row, "over", "over_")) for row in records]
            rows.append([method, *(cell for pair in cells for cell in pair)])
    head = [(f"{world}, seed {seed}", f"over {OWN}") for world, seed in worlds]
    return markdown_table(["method", *(cell for pair in head for cell in pair)], rows)
