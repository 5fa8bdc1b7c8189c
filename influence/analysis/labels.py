"""Labels that people gave to documents in a report, and how far two people, or a person and keywords, agree."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from influence.errors import InputError

#: What a person can say of a document for a query; `own` stands for the person's own words.
LABELS = ("relevant", "procedure", "answer", "wrong", "own")
#: Labels by query and document.
Labels = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Agreement:
    """How far two sets of labels agree on the documents that both have.

    Attributes:
        n: Documents of queries that both labelled.
        same: Share of them with the same label; NaN where there is none.
        kappa: Cohen's κ, the agreement beyond that of chance over the most that could be beyond it; NaN where it is
            not defined: no document in common, or one label for all.
    """

    n: int
    same: float
    kappa: float


def read_labels(path: Path) -> dict[tuple[str, str], str]:
    """The labels of a JSONL file that a report exported; the last line of a document counts.

    Raises:
        InputError: The file cannot be read, or a line is not a label.
    """
    fix = "Export the labels from a report again."
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read.", have=str(error), fix=fix) from error
    labels = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            query, document, label = (record[name] for name in ("query", "document", "label"))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"Line {number} of {path} is no label.",
                have=line[:200],
                fix='Write {"query": …, "document": …, "label": …}.',
            ) from error
        if label not in LABELS or not isinstance(query, str) or not isinstance(document, str):
            raise InputError(
                f"Line {number} of {path} is no label.", have=line[:200], fix=f"Use {', '.join(LABELS)}."
            )
        labels[query, document] = str(label)
    return labels


def agreement(first: Labels, second: Labels) -> Agreement:
    """Cohen's κ of two sets of labels (Cohen 1960), over the documents that both have."""
    both = [key for key in first if key in second]
    if not both:
        return Agreement(0, math.nan, math.nan)
    n = len(both)
    same = sum(first[key] == second[key] for key in both) / n
    counts = [Counter(labels[key] for key in both) for labels in (first, second)]
    chance = sum(counts[0][label] * counts[1][label] for label in counts[0]) / n**2
    return Agreement(n, same, (same - chance) / (1 - chance) if chance < 1 else math.nan)


def against_keywords(labels: Labels, hits: pd.DataFrame) -> Agreement:
    """Agreement of a person with the keyword judge on whether a document holds the answer, `answer` or not.

    Args:
        hits: Table of `influence analyze answers`.
    """
    by_keywords = hits[hits["method"] == "keywords"]
    found = set(zip(by_keywords["query"], by_keywords["document"], strict=True))
    person = {key: "answer" if label == "answer" else "no answer" for key, label in labels.items()}
    return agreement(person, {key: "answer" if key in found else "no answer" for key in labels})


def agreements(named: Sequence[tuple[str, Labels]], hits: pd.DataFrame | None) -> pd.DataFrame:
    """A row for each pair of people, and for each person with the keyword judge: a, b, n, same, kappa."""
    rows = []
    for place, (name, labels) in enumerate(named):
        for other, others in named[place + 1 :]:
            rows.append((name, other, agreement(labels, others)))
        if hits is not None:
            rows.append((name, "keywords (answer or not)", against_keywords(labels, hits)))
    records = [(a, b, between.n, between.same, between.kappa) for a, b, between in rows]
    return pd.DataFrame(records, columns=["a", "b", "n", "same", "kappa"])
