"""`retrained.json`: what a model that was trained on a part of a corpus makes of the queries of a run.

Also the names of the checks against other computations, which a report says were not run where they were not.
"""

from __future__ import annotations

from influence.store.formats.records import Record

#: Inside a score store: a folder a retraining, each with a manifest of this kind.
RETRAININGS = "validation"
KIND = "retraining"
FILE = "retrained.json"

#: Names of the tables beside the scores, `RUN/analysis/NAME`, that have a table `checks`.
VALIDATION, EXACT = "validation", "check"
#: What is checked -> the table that says so.
CONVERGED = "the factors have converged"
SOLVED = "scores agree with an exact solve"
LEARNED = "learning one document moves the queries as scored"
RETRAINED = "retraining goes as the scores predict"
CHECKS = {CONVERGED: EXACT, SOLVED: EXACT, LEARNED: EXACT, RETRAINED: VALIDATION}


class Retrained(Record):
    """A training on the documents that are not left out.

    Attributes:
        group: `random`, or the method whose top documents were left out.
        number: Of the random subset, from 0; 0 for a removal.
        share: Of the documents that random subsets leave out; 0 for a removal.
        seed: What the training was seeded with.
        left_out: Columns of the documents that it did not see.
        log_p: log p(completion | prompt) of each query in the order of the run, nats, summed over tokens.
        seconds: The training and the asking took.
    """

    group: str
    number: int
    share: float
    seed: int
    left_out: list[int]
    log_p: list[float]
    seconds: float
