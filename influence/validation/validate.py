"""Validation of a run by training again: what is to be done, what it takes, and the tables of what came out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from influence.analysis.documents import first_columns, standardised_sum
from influence.data.corpus import Corpus
from influence.errors import InputError
from influence.store.formats.tables import write_tables
from influence.store.formats.validation import RETRAINED, VALIDATION
from influence.store.scores import Scores
from influence.validation.lds import (
    chance,
)
from influence.validation.methods import (
    PRESENCE,
    methods_of,
    rows,
)
from influence.validation.retraining import (
    RANDOM,
    Job,
    Training,
    is_done,
    random_jobs,
    read_retrainings,
    require_same_corpus,
    retrain,
)
from influence.validation.settings import ValidationConfig
from influence.validation.tables import lds_rows, removal_rows, verdict

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """All trainings of a validation, and what they take.

    Attributes:
        jobs: In the order in which they are run.
        seconds: Of the trainings that are left; None: how long one takes is not known yet.
        model_bytes: Of a model while it is asked, one at a time.
        queries: Of the run.
    """

    jobs: tuple[Job, ...]
    left: int
    seconds: float | None
    model_bytes: int | None
    queries: int
    config: ValidationConfig

    def text(self) -> str:
        """What it takes and what it can tell, a sentence a line."""
        noise = chance(self.config.subsets, self.queries)
        time = (
            "not known before the first is done" if self.seconds is None else f"about {_time(self.seconds)}"
        )
        disk = "" if self.model_bytes is None else f" of about {self.model_bytes / 1e6:,.0f} MB"
        return "\n".join(
            [
                f"Trainings: {len(self.jobs)}, of which {len(self.jobs) - self.left} are done; time left: {time}.",
                f"Disk: one model{disk} at a time, and one part of the corpus; both go once the queries were asked.",
                f"Power: scores that say nothing reach an LDS of 0 ± {noise:.3f} ({self.config.subsets} subsets, "
                f"{self.queries} queries, if queries are independent); {2 * noise:.2f} and more is told from that.",
            ]
        )


def plan_validation(scores: Scores, training: Training, config: ValidationConfig) -> Plan:
    """Lay out the trainings: every subset with every seed, then the removals."""
    jobs = [*random_jobs(len(scores.documents), config), *_removals(scores, config)]
    left = [job for job in jobs if not is_done(scores, job)]
    taken = [one.seconds for one in read_retrainings(scores)]
    each = float(np.mean(taken)) if taken else training.seconds
    seconds = None if each is None else each * sum(1.0 if taken else float(job.kept.mean()) for job in left)
    model = Path(str(scores.manifest["provenance"].get("model_name", "")))
    weights = list(model.glob("*.safetensors")) if model.is_dir() else []
    size = sum(path.stat().st_size for path in weights) if weights else None
    return Plan(tuple(jobs), len(left), seconds, size, len(scores.queries), config)


def command_of(words: Sequence[str], job: Job) -> str:
    """The command that runs one training of a validation that was typed so."""
    return shlex.join([*words, "--only", job.name])


def _removals(scores: Scores, config: ValidationConfig) -> list[Job]:
    if not config.remove:
        return []
    if config.remove >= len(scores.documents):
        raise InputError(
            "Not all documents can be removed.",
            have=f"{config.remove} of {len(scores.documents)}",
            fix="Remove fewer.",
        )
    jobs = []
    for method, row_of in methods_of(scores).items():
        if method != PRESENCE:
            ranked_D = standardised_sum(rows(row_of, len(scores.queries)))
            kept_D = np.ones(len(scores.documents), bool)
            kept_D[first_columns(ranked_D, config.remove)] = False
            jobs += [Job(method, 0, 0.0, seed, kept_D) for seed in range(config.seeds)]
    return jobs


def validate(
    scores: Scores,
    corpus: Corpus,
    training: Training,
    config: ValidationConfig = ValidationConfig(),
    *,
    only: str | None = None,
    say: Say = lambda line: None,
) -> dict[str, pd.DataFrame] | None:
    """Run the trainings that are missing and collect what all of them say; the same call after a kill goes on.

    Args:
        only: Run the training of this name and collect nothing, so that a scheduler can run each by itself.

    Returns:
        The tables of `collect`; None with `only`.

    Raises:
        InputError: the corpus is not the one that was scored, or there is no training of that name.
        StoreError: a folder is of another validation, or damaged.
        ComputeError: a training failed.
    """
    require_same_corpus(scores, corpus)
    plan = plan_validation(scores, training, config)
    jobs = [job for job in plan.jobs if only in (None, job.name)]
    if not jobs:
        raise InputError(
            f"There is no training {only!r}.",
            have=", ".join(job.name for job in plan.jobs[:4]) + ", …",
            fix="--dry-run lists all.",
        )
    for number, job in enumerate(jobs, 1):
        if is_done(scores, job):
            continue
        left = plan_validation(scores, training, config).seconds
        soon = "" if left is None or only else f", about {_time(left)} left"
        say(f"training {number} of {len(jobs)}: {job.name}{soon}")
        retrain(scores, corpus, training, job)
    return None if only else collect(scores)


def collect(scores: Scores) -> dict[str, pd.DataFrame]:
    """Tables of everything that was trained again for a run so far, stored beside it for its report.

    Returns:
        - `lds`: a row a share left out, method, and with gold documents `counted` or `taken out`: lds, low, high (95 %,
          queries and subsets drawn anew), over, over_low, over_high (the same of the difference to
          BM25), subsets, queries, seeds
        - `by_query`: query, lds for each of these
        - `removal`: a row a method whose top documents were left out: k, seeds, change (mean over queries of
          log p(completion | prompt) against the removal of random ones, nats; the more negative the better it found
          what mattered), low, high (95 %, queries drawn anew)
        - `checks`: check, state, why: the line of the report

    Raises:
        InputError: fewer than three subsets are finished.
    """
    found = read_retrainings(scores)
    shares = sorted({one.share for one in found if one.group == RANDOM}, reverse=True)
    methods = methods_of(scores)
    tables = [lds_rows(scores, [one for one in found if one.share == share], methods) for share in shares]
    tables = [table for table in tables if table is not None]
    if not tables:
        raise InputError(
            "Fewer than three subsets are finished.",
            have=f"{len(found)} trainings",
            fix="Run influence validate until three subsets or more are done with the same seeds.",
        )
    lds, by_query = (
        pd.concat([pair[place] for pair in tables if pair], ignore_index=True) for place in (0, 1)
    )
    own = next(iter(methods))
    made = {"lds": lds, "by_query": by_query, "removal": removal_rows(found)}
    made["checks"] = pd.DataFrame([(RETRAINED, *verdict(lds, own))], columns=["check", "state", "why"])
    write_tables(made, scores.folder / "analysis" / VALIDATION, [scores], analysis=VALIDATION)
    return made


def _time(seconds: float) -> str:
    return (
        f"{seconds:,.0f} s"
        if seconds < 90
        else f"{seconds / 60:,.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:,.1f} h"
    )
