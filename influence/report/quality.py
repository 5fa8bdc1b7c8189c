"""Can the scores of a run be believed? What was checked, what came of it, and what was not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from influence.report.facts import fitted_documents, scored_of, truncated
from influence.report.text import count
from influence.store.scores import Scores

State = Literal["pass", "warn", "not run"]

#: Part of the documents that may lose text to the token limit before that is a warning.
MOST_TRUNCATED = 0.1
_STATES: dict[str, State] = {"holds": "pass", "does not hold": "warn", "not checked": "not run"}
#: What `influence analyze sanity` looks at, for a run where it did not.
_SANITY = (
    "a memorised passage finds its near copies",
    "token scores add up to the score",
    "a text raises itself",
)


@dataclass(frozen=True)
class Check:
    """A question to the run, whether the answer is as it should be, and the answer."""

    name: str
    state: State
    text: str


def checks(scores: Scores, sanity: pd.DataFrame | None) -> list[Check]:
    """The checks of a run; what nobody ran says so.

    Args:
        sanity: The table `checks` (check, state, why) of `influence analyze sanity`, if it ran.
    """
    if sanity is None:
        made = [Check(_sentence(name), "not run", "influence analyze sanity") for name in _SANITY]
    else:
        made = [
            Check(
                _sentence(str(row["check"])),
                _STATES.get(str(row["state"]), "not run"),
                _sentence(str(row["why"])),
            )
            for row in sanity.to_dict("records")
        ]
    fitted = fitted_documents(scores)
    on = f"They were fitted on {fitted}; " if fitted else ""
    return [
        *made,
        *_found(scores),
        _lengths(scores),
        _gradients(scores),
        Check("The factors have converged", "not run", f"{on}a fit on fewer documents was not compared."),
        Check(
            "Scores agree with exact influence",
            "not run",
            "Nothing was retrained or solved exactly for this run.",
        ),
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _found(scores: Scores) -> list[Check]:
    """Of a run that an index made: how much of the corpus it left out."""
    if scores.scored is None:
        return []
    text = f"{scored_of(scores)}; the others may rank above some of these, and are not known."
    return [Check("Every document was scored", "warn", text)]


def _lengths(scores: Scores) -> Check:
    cut, limit = truncated(scores)
    total = len(scores.documents)
    name = "Documents were scored whole"
    if cut is None:
        return Check(name, "not run", "How many were cut is not recorded.")
    if not cut:
        return Check(name, "pass", f"All {count(total)}.")
    state: State = "warn" if cut > MOST_TRUNCATED * total else "pass"
    return Check(name, state, f"{count(cut)} of {count(total)} were cut to {limit} tokens.")


def _gradients(scores: Scores) -> Check:
    without = int((np.asarray(scores.gradient_norm) == 0).sum())
    text = (
        f"{count(without)} of {count(len(scores.documents))} have none: their scores are 0."
        if without
        else ""
    )
    return Check("Every document has a gradient", "warn" if without else "pass", text or "All of them.")
