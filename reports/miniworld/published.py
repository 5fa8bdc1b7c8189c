"""What the paper found, row by row: its number, what stands for it here, and the contrast its finding rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from reports.kit.intervals import Statistic, mean_of, pair_means, spread_of
from reports.miniworld.measures import ANSWERED, SLOPE, TOTAL, SeedMeasures, share_of


@dataclass(frozen=True)
class Row:
    """A line of the table of findings.

    Attributes:
        finding: Its number in the paper.
        what: What is measured, and its unit.
        published: The paper's value, as text; the only numbers here that are typed by hand.
        claim: What the contrast says, in words.
        value: Of one seed.
        contrast: Of one seed; None: no claim, only a value.
    """

    finding: int
    what: str
    published: str
    claim: str
    value: Callable[[SeedMeasures], Statistic]
    contrast: Callable[[SeedMeasures], Statistic] | None


def rows(top_k: int, source_k: int) -> list[Row]:
    """Every row, in the order of the paper's findings.

    Args:
        top_k: Stands for the paper's 500 of 5 million documents.
        source_k: Stands for its 50 of 5 million.
    """
    return [
        *_correlation(),
        *_concentration(top_k),
        *_answers(top_k),
        *_relations(top_k),
        *_sources(source_k),
    ]


# -- 1: correlation


def pairs_by_kind(seed: SeedMeasures) -> dict[str, Statistic]:
    """Mean R of the kinds of pairs: same procedure, other procedure, its control, factual."""
    own = sorted(set(seed.queries.loc[seed.queries["group"] == "reasoning", "task"]))
    kinds = {
        "same": [(task, task) for task in own],
        "other": [(a, b) for place, a in enumerate(own) for b in own[place + 1 :]],
        "control": [(task, f"control of {task}") for task in own],
        "factual": [("factual", "factual")],
    }
    return pair_means(seed.r, seed.labels, kinds)


def _kind(name: str, seed: SeedMeasures) -> Statistic:
    return pairs_by_kind(seed)[name]


def _less(a: str, b: str, factor: float, seed: SeedMeasures) -> Statistic:
    kinds = pairs_by_kind(seed)
    return kinds[a].times(factor).minus(kinds[b])


def _correlation() -> list[Row]:
    return [
        Row(
            1,
            "R, two queries of one procedure",
            "≈ 0.9",
            "higher than of factual pairs",
            partial(_kind, "same"),
            partial(_less, "same", "factual", 1),
        ),
        Row(
            1,
            "R, queries of two procedures",
            "no number; 0.55 for one task in another format",
            "lower than within one procedure",
            partial(_kind, "other"),
            partial(_less, "same", "other", 1),
        ),
        Row(
            1,
            "R, reasoning query and its control",
            "0.2",
            "lower than within one procedure",
            partial(_kind, "control"),
            partial(_less, "same", "control", 1),
        ),
        Row(
            1,
            "R, two factual queries",
            "0.06 (7B), 0.03 (35B)",
            "less than half of that within one procedure",
            partial(_kind, "factual"),
            partial(_less, "same", "factual", 0.5),
        ),
    ]


# -- 2: concentration


def _mean(group: str, measure: str, seed: SeedMeasures) -> Statistic:
    return mean_of(seed.of(group, measure))


def _spread(group: str, measure: str, seed: SeedMeasures) -> Statistic:
    return spread_of(seed.of(group, measure))


def _difference(
    statistic: Callable[[str, str, SeedMeasures], Statistic], a: str, b: str, measure: str, seed: SeedMeasures
) -> Statistic:
    return statistic(a, measure, seed).minus(statistic(b, measure, seed))


def _ratio(
    statistic: Callable[[str, str, SeedMeasures], Statistic], measure: str, seed: SeedMeasures
) -> Statistic:
    return statistic("factual", measure, seed).over(statistic("reasoning", measure, seed))


def _concentration(top_k: int) -> list[Row]:
    total = "total positive influence per nat"
    more = partial(_difference, _mean, "factual", "reasoning", TOTAL)
    flatter = partial(_difference, _mean, "reasoning", "factual", SLOPE)
    return [
        Row(2, f"{total}, factual", "0.040 (7B), 0.071 (35B)", "", partial(_mean, "factual", TOTAL), None),
        Row(
            2, f"{total}, reasoning", "0.020 (7B), 0.032 (35B)", "", partial(_mean, "reasoning", TOTAL), None
        ),
        Row(
            2,
            f"{total}, factual / reasoning",
            "2.0 (7B), 2.2 (35B)",
            "factual queries draw on more",
            partial(_ratio, _mean, TOTAL),
            more,
        ),
        Row(
            2,
            f"spread of the {total} over queries, factual / reasoning",
            "above 1; no number",
            "factual queries differ more",
            partial(_ratio, _spread, TOTAL),
            partial(_difference, _spread, "factual", "reasoning", TOTAL),
        ),
        Row(
            2,
            f"slope of log score on log rank, top {top_k}, factual",
            "between −0.38 and −0.32",
            "",
            partial(_mean, "factual", SLOPE),
            None,
        ),
        Row(
            2,
            f"slope of log score on log rank, top {top_k}, reasoning",
            "between −0.38 and −0.32",
            "flatter than of factual queries",
            partial(_mean, "reasoning", SLOPE),
            flatter,
        ),
    ]


# -- 3: answers


def _rate(group: str, seed: SeedMeasures) -> Statistic:
    return mean_of(seed.of(group, ANSWERED, right=True))


def _answers(top_k: int) -> list[Row]:
    def contrast(seed: SeedMeasures) -> Statistic:
        return _rate("factual", seed).minus(_rate("reasoning", seed))

    return [
        Row(
            3,
            f"answer in one of the top {top_k}, factual answered right",
            "0.55 (7B), 0.30 (35B)",
            "more often than the steps of reasoning",
            partial(_rate, "factual"),
            contrast,
        ),
        Row(
            3,
            f"every step in the top {top_k}, reasoning answered right",
            "0.074 (7B), 0 (35B)",
            "less often than factual answers",
            partial(_rate, "reasoning"),
            contrast,
        ),
    ]


# -- 4: relations


def _relation(seed: SeedMeasures) -> pd.DataFrame:
    table = seed.relations
    return table[(table["method"] == "influence, normed") & (table["what"] == "its procedure")]


def _share(seed: SeedMeasures) -> Statistic:
    return mean_of(_relation(seed)["share"])


def _excess(seed: SeedMeasures) -> Statistic:
    own = _relation(seed)
    return mean_of(own["share"] - own["corpus_share"])


def _relations(top_k: int) -> list[Row]:
    return [
        Row(
            4,
            f"share of the top {top_k} of a reasoning query that shows its procedure",
            "procedural documents are typical; no number",
            "more than the corpus share",
            _share,
            _excess,
        )
    ]


# -- 5: sources


def _multiplier(group: str, source: str, k: int, seed: SeedMeasures) -> Statistic:
    return mean_of(seed.of(group, share_of(source, k))).over(seed.corpus_shares.get(source, np.nan))


def _above_one(sign: int, group: str, source: str, k: int, seed: SeedMeasures) -> Statistic:
    return _multiplier(group, source, k, seed).minus(1).times(sign)


#: Group, source, whether at ten times the k, published (7B), and whether the claim is more (1), less (−1) or none (0).
_PUBLISHED_SOURCES = (
    ("factual", "math_and_trivia", False, "25", 1),
    ("factual", "wiki", False, "5.6", 1),
    ("reasoning", "math_and_trivia", False, "50", 1),
    ("reasoning", "stackexchange", False, "24", 1),
    ("reasoning", "arxiv_markdown", False, "1.9", 1),
    ("reasoning", "code", False, "0.9", 0),
    ("reasoning", "code", True, "2.6 (k = 5000)", 1),
    ("reasoning", "wiki", False, "0.1", -1),
)


def _sources(source_k: int) -> list[Row]:
    made = []
    for group, source, deeper, published, sign in _PUBLISHED_SOURCES:
        k = 10 * source_k if deeper else source_k
        claim = {1: "more than the corpus share", -1: "less than the corpus share", 0: ""}[sign]
        made.append(
            Row(
                5,
                f"{source}, share of the top {k} / of the corpus, {group}",
                published,
                claim,
                partial(_multiplier, group, source, k),
                partial(_above_one, sign, group, source, k) if sign else None,
            )
        )
    return made
