"""Every analysis as a set of named tables, and those as Parquet files: what a figure is drawn from.

`ANALYSES` is the list behind `influence analyze`. Each function returns `{table name: DataFrame}`; the modules it
calls say what the columns are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from influence.analysis.agreement import cross_correlation, cross_summary, score_ratios
from influence.analysis.answers import answer_rates, corpus_hits, found_answers, judge_hits, keyword_hits
from influence.analysis.bm25 import BM25_COLUMNS as BM25_COLUMNS
from influence.analysis.bm25 import beside_bm25, recall_table
from influence.analysis.checkpoints import (
    agreement_by_group,
    checkpoint_agreement,
    checkpoint_concentration,
    checkpoint_facts,
    checkpoint_held,
    checkpoint_slopes,
    checkpoint_sources,
    checkpoint_tops,
    checkpoint_within,
    selves,
    selves_by_pair,
)
from influence.analysis.concentration import (
    concentration,
    document_reuse,
    pareto_tail,
    power_law,
    reuse_counts,
)
from influence.analysis.copies import copy_ranks, near_copies, self_influence
from influence.analysis.correlation import block_table, correlation, largest_pairs, permutation_test
from influence.analysis.document_groups import group_influence
from influence.analysis.documents import rank_column, top_documents
from influence.analysis.grouping import Grouping, summarise, welch_tests
from influence.analysis.judges import Judge, JudgeReplies
from influence.analysis.kinds import (
    checkpoint_contrasts,
    checkpoint_kinds,
    contrast_trends,
    contrasts_by_group,
)
from influence.analysis.relations import label_relations, relation_counts
from influence.analysis.sanity import token_marks, verdicts, word_order
from influence.analysis.sources import source_curves
from influence.store.checkpoints import Checkpoints
from influence.store.scores import Scores
from influence.store.token_scores import open_token_scores
from influence.types import Reading

Tables = dict[str, pd.DataFrame]

#: name -> (what it answers, reading by default)
ANALYSES: Mapping[str, tuple[str, Reading]] = {
    "correlation": (
        "Do queries of one kind draw on the same documents? (two runs: do two models?)",
        "normed",
    ),
    "concentration": ("How much influence do the top documents hold, and how fast does it fall?", "per_nat"),
    "answers": ("Does the answer stand in the top documents? In the corpus?", "normed"),
    "relations": ("How do the top documents relate to the query? (needs a judge model)", "normed"),
    "sources": ("Which sources do the top documents come from, against the whole corpus?", "normed"),
    "reuse": ("Which documents stand in the top of many queries?", "normed"),
    "bm25": ("Are the top documents those that share words with the query? (BM25)", "normed"),
    "stages": ("What changes between checkpoints? (two or more runs)", "normed"),
    "sanity": ("Do scores behave as influence must? (copies, word order, token sums)", "normed"),
}


def correlation_tables(scores: Scores, by: Reading, group_by: Grouping) -> Tables:
    """r (a, b, and R of all scores, of positive and of negative parts), blocks, permutation, largest."""
    whole = correlation(scores, by)
    names = np.array([query.id for query in scores.queries], object)
    first, second = np.triu_indices(len(names))
    r = pd.DataFrame({"a": names[first], "b": names[second], "r": whole.to_numpy()[first, second]})
    r["r_positive"] = correlation(scores, by, "positive").to_numpy()[first, second]
    r["r_negative"] = correlation(scores, by, "negative").to_numpy()[first, second]
    return {
        "r": r,
        "blocks": block_table(whole, scores.queries, group_by),
        "permutation": permutation_test(whole, scores.queries, group_by),
        "largest": largest_pairs(whole, scores.queries),
    }


def cross_tables(a: Scores, b: Scores, by: Reading) -> Tables:
    """cross (equal prompts of two runs), cross_by_task, ratios (of their scores)."""
    cross = cross_correlation(a, b, by)
    pairs = list(zip(cross["query_a"], cross["query_b"], strict=True))
    return {
        "cross": cross,
        "cross_by_task": cross_summary(cross),
        "ratios": score_ratios(a, b, pairs, by),
    }


def concentration_tables(scores: Scores, by: Reading, group_by: Grouping, k: int) -> Tables:
    """curves and shares with their means by group, power_law and pareto with theirs, slope_tests."""
    curves, slopes, tails = concentration(scores, by), power_law(scores, k, by), pareto_tail(scores, k, by)
    at = ["side", "unit", "at"]
    return {
        "curves": curves,
        "curves_by_group": summarise(curves, scores.queries, "cumulative", at, group_by),
        "shares_by_group": summarise(curves, scores.queries, "share", at, group_by),
        "power_law": slopes,
        "power_law_by_group": summarise(slopes, scores.queries, "slope", ["side"], group_by),
        "slope_tests": welch_tests(slopes[slopes["side"] == "positive"], scores.queries, "slope", group_by),
        "pareto": tails,
        "pareto_by_group": summarise(tails, scores.queries, "alpha", ["side"], group_by),
    }


def answer_tables(
    scores: Scores,
    by: Reading,
    group_by: Grouping,
    k: int,
    *,
    judge: Judge | None = None,
    kept: JudgeReplies | None = None,
    prompt: Path | None = None,
    scan: bool = True,
) -> Tables:
    """hits, found (by query), rates (by group); with a judge also judged; with a scan also corpus."""
    top = top_documents(scores, k)
    hits = keyword_hits(scores, k, top)
    tables: Tables = {}
    if judge is not None:
        assert kept is not None, "a judge comes with a place for its replies"
        more, tables["judged"] = judge_hits(scores, judge, kept, k, top=top, prompt=prompt)
        hits = pd.concat([hits, more], ignore_index=True)
    found = found_answers(hits, scores.queries, k, by)
    tables |= {"hits": hits, "found": found, "rates": answer_rates(found, scores.queries, group_by)}
    if scan:
        corpus = corpus_hits(scores)
        within = hits[(hits["method"] == "keywords") & (hits[rank_column(by)] <= k)]
        inside = within.groupby(["query", "part"]).size().to_dict()
        corpus["in_top"] = [inside.get(pair, 0) for pair in zip(corpus["query"], corpus["part"], strict=True)]
        tables["corpus"] = corpus
    return tables


def relation_tables(
    scores: Scores,
    by: Reading,
    group_by: Grouping,
    k: int,
    judge: Judge,
    kept: JudgeReplies,
    prompt: Path | None = None,
) -> Tables:
    """relations (a row a query and document), counts (by group and label)."""
    table = label_relations(scores, judge, kept, k, by, prompt=prompt)
    return {"relations": table, "counts": relation_counts(table, scores.queries, group_by)}


def source_tables(
    scores: Scores, by: Reading, group_by: Grouping, fields: Sequence[str] | None = None
) -> Tables:
    """curves; with fields of the documents' metadata also groups."""
    tables: Tables = {"curves": source_curves(scores, by, None, group_by)}
    if fields:
        tables["groups"] = group_influence(scores, fields, by, group_by)
    return tables


def reuse_tables(scores: Scores, by: Reading, group_by: Grouping, k: int) -> Tables:
    """documents, counts."""
    documents = document_reuse(scores, k, by, group_by)
    return {"documents": documents, "counts": reuse_counts(documents)}


def bm25_tables(scores: Scores, group_by: Grouping, k: int) -> Tables:
    """documents, overlap (by query) and overlap_by_group; where queries name gold documents also gold and recall."""
    documents, overlaps, gold = beside_bm25(scores, k)
    tables: Tables = {
        "documents": documents,
        "overlap": overlaps,
        "overlap_by_group": summarise(
            overlaps, scores.queries, "overlap", ["reading", "k", "chance"], group_by
        ),
    }
    if len(gold):
        tables |= {"gold": gold, "recall": recall_table(gold.set_index("query"))}
    return tables


def checkpoint_tables(checkpoints: Checkpoints, by: Reading, group_by: Grouping, k: int) -> Tables:
    """Return the tables of a series of checkpoints.

    facts, agreement (by query) and agreement_by_group, within (R among the queries of a label), concentration, held
    (share of the first documents), slopes, sources, ratios (last to first), tops (ranks of the first documents at each
    checkpoint), kinds (of the first documents and of positive influence). For a task's corpus also contrasts (by
    query), contrasts_by_group and trends (of these along the checkpoints); for a distillation selves, selves_by_pair.
    """
    agreement = checkpoint_agreement(checkpoints, by, sorted({10, 50, 100, k}))
    first = checkpoints[0][1]
    contrasts, agreements = checkpoint_contrasts(checkpoints, by), selves(checkpoints, by)
    compared = {
        "contrasts": contrasts,
        "contrasts_by_group": contrasts_by_group(contrasts, checkpoints, group_by),
        "trends": contrast_trends(contrasts, checkpoints, group_by),
    }
    return {
        "facts": checkpoint_facts(checkpoints, group_by),
        "agreement": agreement,
        "agreement_by_group": agreement_by_group(agreement, checkpoints, group_by),
        "within": checkpoint_within(checkpoints, by, group_by),
        "concentration": checkpoint_concentration(checkpoints, group_by=group_by),
        "held": checkpoint_held(checkpoints, group_by=group_by),
        "slopes": checkpoint_slopes(checkpoints, k, group_by),
        "sources": checkpoint_sources(checkpoints, by, None, group_by),
        "ratios": score_ratios(
            first, checkpoints[-1][1], [(query.id, query.id) for query in first.queries], by
        ),
        "tops": checkpoint_tops(checkpoints, by),
        "kinds": checkpoint_kinds(checkpoints, by, group_by=group_by),
        **(compared if len(contrasts) else {}),
        **({"selves": agreements, "selves_by_pair": selves_by_pair(agreements)} if len(agreements) else {}),
    }


def sanity_tables(scores: Scores, k: int, scan: bool = True) -> Tables:
    """checks (a verdict each), copies, word_order; with a scan copy_ranks and self; with token scores tokens."""
    tables: Tables = {"copies": near_copies(scores, k), "word_order": word_order(scores)}
    tokens = open_token_scores(scores)
    if tokens is not None:
        tables["tokens"] = token_marks(scores, tokens)
    if scan:
        tables |= {"copy_ranks": copy_ranks(scores), "self": self_influence(scores)}
    return {"checks": verdicts(scores, tables, k), **tables}
