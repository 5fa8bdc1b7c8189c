"""The five findings of the paper: what it published, what we measure, and whether each claim holds here.

Published values are the only numbers here that are typed by hand. The numbers of the findings are the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from reports.kit.claims import Claim, verdict
from reports.kit.intervals import Statistic, mean_of, pair_means, spread_of
from reports.miniworld.metrics import ANSWERED, SLOPE, TOTAL, SeedMetrics, share_of

RULE = (
    "Each row rests on a contrast that the finding says is positive. Holds here: yes, when the whole 95 % interval "
    "of the contrast is positive; partly, when its mean is positive and its interval is not; no, when its mean is not "
    "positive; not measured, with fewer than two queries."
)


def findings_table(seeds: Sequence[SeedMetrics], top_k: int, source_k: int) -> pd.DataFrame:
    """The claims with our values over seeds.

    Args:
        top_k: Stands for the paper's 500 of 5 million documents.
        source_k: Stands for its 50 of 5 million.

    Returns:
        Columns finding, what, published, here, low, high, seeds, between_seeds, queries, claim, contrast,
        contrast_low, contrast_high, holds.
    """
    findings = (_correlation(), _concentration(top_k), _answers(top_k), _relations(top_k), _sources(source_k))
    records = []
    for number, claims in enumerate(findings, 1):
        for claim in claims:
            value, contrast = claim.value_over(seeds), claim.contrast_over(seeds)
            records.append(
                {
                    "finding": number,
                    "what": claim.subject,
                    "published": claim.published,
                    **value.columns("here"),
                    "seeds": value.seeds,
                    "between_seeds": value.between,
                    "queries": value.queries,
                    "claim": claim.text,
                    **contrast.columns("contrast", "contrast_"),
                    "holds": verdict(contrast) if claim.contrast else "no claim",
                }
            )
    return pd.DataFrame(records)


# -- 1: correlation


def pairs_by_kind(seed: SeedMetrics) -> dict[str, Statistic]:
    """Mean R of the kinds of pairs: same procedure, other procedure, its control, factual."""
    tasks = sorted(set(seed.queries.loc[seed.queries["group"] == "reasoning", "task"]))
    kinds = {
        "same": [(task, task) for task in tasks],
        "other": [(a, b) for place, a in enumerate(tasks) for b in tasks[place + 1 :]],
        "control": [(task, f"control of {task}") for task in tasks],
        "factual": [("factual", "factual")],
    }
    return pair_means(seed.r, seed.labels, kinds)


def _kind(name: str, seed: SeedMetrics) -> Statistic:
    return pairs_by_kind(seed)[name]


def _same_above(other: str, factor: float, seed: SeedMetrics) -> Statistic:
    kinds = pairs_by_kind(seed)
    return kinds["same"].times(factor).minus(kinds[other])


def _correlation() -> list[Claim[SeedMetrics]]:
    lower, two = "lower than within one procedure", "no number; 0.55 for one task in another format"
    half = "less than half of that within one procedure"
    rows: list[tuple[str, str, str, str, str, float]] = [
        ("two queries of one procedure", "≈ 0.9", "same", "higher than of factual pairs", "factual", 1),
        ("queries of two procedures", two, "other", lower, "other", 1),
        ("reasoning query and its control", "0.2", "control", lower, "control", 1),
        ("two factual queries", "0.06 (7B), 0.03 (35B)", "factual", half, "factual", 0.5),
    ]
    return [
        Claim(text, partial(_same_above, other, factor), f"R, {pair}", published, partial(_kind, kind))
        for pair, published, kind, text, other, factor in rows
    ]


# -- 2: concentration


Summary = Callable[[str, str, SeedMetrics], Statistic]


def _mean(group: str, measure: str, seed: SeedMetrics) -> Statistic:
    return mean_of(seed.of(group, measure))


def _spread(group: str, measure: str, seed: SeedMetrics) -> Statistic:
    return spread_of(seed.of(group, measure))


def _difference(summary: Summary, a: str, b: str, measure: str, seed: SeedMetrics) -> Statistic:
    return summary(a, measure, seed).minus(summary(b, measure, seed))


def _ratio(summary: Summary, measure: str, seed: SeedMetrics) -> Statistic:
    return summary("factual", measure, seed).over(summary("reasoning", measure, seed))


def _concentration(top_k: int) -> list[Claim[SeedMetrics]]:
    total, slope = "total positive influence per nat", f"slope of log score on log rank, top {top_k}"
    more = partial(_difference, _mean, "factual", "reasoning", TOTAL)
    wider = partial(_difference, _spread, "factual", "reasoning", TOTAL)
    flatter = partial(_difference, _mean, "reasoning", "factual", SLOPE)
    slopes = "between −0.38 and −0.32"
    spread = f"spread of the {total} over queries, factual / reasoning"
    return [
        Claim("", None, f"{total}, factual", "0.040 (7B), 0.071 (35B)", partial(_mean, "factual", TOTAL)),
        Claim("", None, f"{total}, reasoning", "0.020 (7B), 0.032 (35B)", partial(_mean, "reasoning", TOTAL)),
        Claim(
            "factual queries draw on more",
            more,
            f"{total}, factual / reasoning",
            "2.0 (7B), 2.2 (35B)",
            partial(_ratio, _mean, TOTAL),
        ),
        Claim(
            "factual queries differ more",
            wider,
            spread,
            "above 1; no number",
            partial(_ratio, _spread, TOTAL),
        ),
        Claim("", None, f"{slope}, factual", slopes, partial(_mean, "factual", SLOPE)),
        Claim(
            "flatter than of factual queries",
            flatter,
            f"{slope}, reasoning",
            slopes,
            partial(_mean, "reasoning", SLOPE),
        ),
    ]


# -- 3: answers


def _rate(group: str, seed: SeedMetrics) -> Statistic:
    return mean_of(seed.of(group, ANSWERED, right=True))


def _answers(top_k: int) -> list[Claim[SeedMetrics]]:
    def contrast(seed: SeedMetrics) -> Statistic:
        return _rate("factual", seed).minus(_rate("reasoning", seed))

    return [
        Claim(
            "more often than the steps of reasoning",
            contrast,
            f"answer in one of the top {top_k}, factual answered right",
            "0.55 (7B), 0.30 (35B)",
            partial(_rate, "factual"),
        ),
        Claim(
            "less often than factual answers",
            contrast,
            f"every step in the top {top_k}, reasoning answered right",
            "0.074 (7B), 0 (35B)",
            partial(_rate, "reasoning"),
        ),
    ]


# -- 4: relations


def _relation(seed: SeedMetrics) -> pd.DataFrame:
    table = seed.relations
    return table[(table["method"] == "influence, normed") & (table["what"] == "its procedure")]


def _share(seed: SeedMetrics) -> Statistic:
    return mean_of(_relation(seed)["share"])


def _excess(seed: SeedMetrics) -> Statistic:
    relation = _relation(seed)
    return mean_of(relation["share"] - relation["corpus_share"])


def _relations(top_k: int) -> list[Claim[SeedMetrics]]:
    return [
        Claim(
            "more than the corpus share",
            _excess,
            f"share of the top {top_k} of a reasoning query that shows its procedure",
            "procedural documents are typical; no number",
            _share,
        )
    ]


# -- 5: sources


def _multiplier(group: str, source: str, k: int, seed: SeedMetrics) -> Statistic:
    return mean_of(seed.of(group, share_of(source, k))).over(seed.corpus_shares.get(source, np.nan))


def _above_one(sign: int, group: str, source: str, k: int, seed: SeedMetrics) -> Statistic:
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


def _sources(source_k: int) -> list[Claim[SeedMetrics]]:
    texts = {1: "more than the corpus share", -1: "less than the corpus share", 0: ""}
    claims = []
    for group, source, deeper, published, sign in _PUBLISHED_SOURCES:
        k = 10 * source_k if deeper else source_k
        contrast = partial(_above_one, sign, group, source, k) if sign else None
        subject = f"{source}, share of the top {k} / of the corpus, {group}"
        claims.append(
            Claim(texts[sign], contrast, subject, published, partial(_multiplier, group, source, k))
        )
    return claims
