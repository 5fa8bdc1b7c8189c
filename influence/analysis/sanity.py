"""Do scores behave as influence must, as far as a finished run can tell? And marks of those not to be trusted.

Grosse et al. (arXiv 2308.03296) drop sequences whose influence sits in a few tokens, an artefact of the estimate, find
near copies of memorised passages first, and see little influence left where a fact is told in the other order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from influence.analysis.documents import columns_of, finite_row, matching_metadata, ranks, with_labels
from influence.errors import InputError
from influence.store.scores import Scores
from influence.store.token_scores import TokenScores

#: ‖a‖₂ / ‖a‖₁ of token scores above which a document is marked.
SPIKE = 2 / 3
#: Metadata of a document that tells the fact of another in the other order: the id of that other document.
FLIP = "flip_of"
#: Part of its score that a fact may keep in the other order.
FLIPPED = 0.5
HOLDS, FAILS, UNCHECKED = "holds", "does not hold", "not checked"
#: Relative error of a sum of token scores that rounding explains.
_ROUNDING = {"float32": 1e-3, "float64": 1e-5}  # values are stored in float32


def spike_ratio(token_scores: npt.ArrayLike) -> float:
    """‖a‖₂ / ‖a‖₁ of a document's token scores: 1 if one token holds all, 1/√T if T share alike; NaN for zeros."""
    size = np.abs(np.asarray(token_scores, np.float64).ravel())
    if not size.size or size.max() == 0:
        return float("nan")
    size = size / size.max()
    return float(np.sqrt(size @ size) / size.sum())


def sum_error(parts: npt.ArrayLike, whole: float) -> float:
    """|Σ parts − whole| relative to Σ |parts|: how well a decomposition by token or layer adds up. 0 for all zeros."""
    values = np.asarray(parts, np.float64).ravel()
    size = float(np.abs(values).sum())
    error = abs(float(values.sum()) - float(whole))
    return error / size if size else (0.0 if error == 0 else float("inf"))


def token_marks(scores: Scores, tokens: TokenScores, threshold: float = SPIKE) -> pd.DataFrame:
    """Do the token scores of a document add up to its score, and do they sit in a few tokens?

    Args:
        tokens: Those that `influence tokens` stored with the run.

    Returns:
        A row a query and document: query, column, document, source, tokens, dot, sum (both nats), error (of the sum,
        relative to Σ |token scores|), ratio (‖·‖₂ / ‖·‖₁), spurious (ratio above `threshold`; a document of one token
        always is).
    """
    rows = []
    for row, column in zip(tokens.arrays["query"].tolist(), tokens.arrays["column"].tolist(), strict=True):
        value_T = tokens.values(row, column).astype(np.float64)
        dot, ratio = float(scores.dot[row, column]), spike_ratio(value_T)
        error = sum_error(value_T, dot)
        rows.append(
            (
                scores.queries[row].id,
                column,
                len(value_T),
                dot,
                value_T.sum(),
                error,
                ratio,
                ratio > threshold,
            )
        )
    columns = ["query", "column", "tokens", "dot", "sum", "error", "ratio", "spurious"]
    return with_labels(pd.DataFrame(rows, columns=columns), scores)


def word_order(scores: Scores) -> pd.DataFrame:
    """Facts against the same facts told in the other order.

    Both are documents of the corpus. The flipped one has the metadata `flip_of`, the id of the other; the queries it is
    about are those that name the other as `gold`.

    Returns:
        A row a query and pair: query, column, document, source (of the fact), flipped (id of its twin), dot,
        dot_flipped (nats), ratio (dot_flipped / dot; NaN where dot is not positive), rank_normed, rank_normed_flipped.

    Raises:
        InputError: `flip_of` is not the id of a document of the corpus.
    """
    twins: dict[str, list[tuple[int, str]]] = {}
    for column, name, metadata in matching_metadata(scores, FLIP):
        twins.setdefault(str(metadata[FLIP]), []).append((column, name))
    columns_by_id = columns_of(scores, set(twins))
    absent = twins.keys() - columns_by_id.keys()
    if absent:
        raise InputError(
            f"{FLIP} of document {twins[min(absent)][0][1]!r} names {min(absent)!r}, which is not in the corpus."
        )
    rows = []
    for query in scores.queries:
        pairs = [
            (column, *twin)
            for fact in query.gold
            for twin in twins.get(fact, ())
            for column in columns_by_id[fact]
        ]
        if not pairs:
            continue
        dot_D, normed_D = (finite_row(scores, query.id, by) for by in ("dot", "normed"))
        rank_of = ranks(normed_D, np.array([columns[:2] for columns in pairs]).ravel()).reshape(-1, 2)
        for (fact, twin, name), (rank, rank_flipped) in zip(pairs, rank_of.tolist(), strict=True):
            dot, flipped = float(dot_D[fact]), float(dot_D[twin])
            ratio = flipped / dot if dot > 0 else np.nan
            rows.append((query.id, fact, name, dot, flipped, ratio, rank, rank_flipped))
    columns = [
        "query",
        "column",
        "flipped",
        "dot",
        "dot_flipped",
        "ratio",
        "rank_normed",
        "rank_normed_flipped",
    ]
    return with_labels(pd.DataFrame(rows, columns=columns), scores)


def verdicts(scores: Scores, made: Mapping[str, pd.DataFrame], k: int) -> pd.DataFrame:
    """What the tables of this analysis say, in a line a check; what is not among them was not looked at.

    Args:
        made: Tables by name: copy_ranks, word_order, tokens, self.
        k: Rank within which the near copy of a passage must be.

    Returns:
        Columns check, state ("holds" | "does not hold" | "not checked"), why.
    """
    tokens = made.get("tokens")
    rows = [
        ("a memorised passage finds its near copies", *_copies(made.get("copy_ranks"), k)),
        ("a fact in the other order has no influence", *_order(made["word_order"])),
        ("token scores add up to the score", *_sums(scores, tokens)),
        ("influence does not sit in a few tokens", *_spikes(tokens)),
        ("a text raises itself", *_selves(made.get("self"))),
    ]
    return pd.DataFrame(rows, columns=["check", "state", "why"])


def _copies(table: pd.DataFrame | None, k: int) -> tuple[str, str]:
    if table is None:
        return UNCHECKED, "the texts were not looked through (--no-scan)"
    if table.empty:
        return UNCHECKED, "every completion is too short to be known again"
    held = table[table["copies"] > 0]
    if held.empty:
        return UNCHECKED, f"no document holds a near copy of any of {len(table):,} completions"
    near = int((held["best_rank_normed"] <= k).sum())
    why = (
        f"of {len(held):,} completions with near copies in the corpus, the best is first by normed for "
        f"{int(held['found'].sum()):,}, within the first {k} for {near:,}"
    )
    return HOLDS if near == len(held) else FAILS, why


def _order(table: pd.DataFrame) -> tuple[str, str]:
    if table.empty:
        return UNCHECKED, f"no document has {FLIP!r} in its metadata that a query's gold documents name"
    known = table["ratio"].dropna()
    if known.empty:
        return UNCHECKED, f"none of {len(table):,} facts has a positive score"
    part = float(known.median())
    why = f"{part:.2f} of the score is left in the other order (median of {len(known):,} facts)"
    return HOLDS if abs(part) <= FLIPPED else FAILS, why


def _sums(scores: Scores, tokens: pd.DataFrame | None) -> tuple[str, str]:
    if tokens is None or tokens.empty:
        return UNCHECKED, "there are no token scores: run influence tokens"
    worst = float(tokens["error"].max())
    allowed = _ROUNDING.get(str(scores.manifest["config"].get("dtype", "float32")), 0.05)
    why = f"{len(tokens):,} documents, off by at most {worst:.1e} of the sum of absolute token scores"
    return HOLDS if worst <= allowed else FAILS, why


def _spikes(tokens: pd.DataFrame | None) -> tuple[str, str]:
    if tokens is None or tokens.empty:
        return UNCHECKED, "there are no token scores: run influence tokens"
    spurious = int(tokens["spurious"].sum())
    why = f"{spurious:,} of {len(tokens):,} documents are marked spurious (‖·‖₂ / ‖·‖₁ above {SPIKE:.2f})"
    return FAILS if spurious else HOLDS, why


def _selves(table: pd.DataFrame | None) -> tuple[str, str]:
    if table is None:
        return UNCHECKED, "the texts were not looked through (--no-scan)"
    if table.empty:
        return UNCHECKED, "no document is the text of a query"
    table = table.dropna(subset="dot")
    if table.empty:
        return UNCHECKED, "no document that is the text of a query was scored"
    raised = int((table["dot"] > 0).sum())
    why = f"{raised:,} of {len(table):,} documents that are the text of a query have a positive score for it"
    return HOLDS if raised == len(table) else FAILS, why
