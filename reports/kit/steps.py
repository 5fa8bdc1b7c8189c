"""Named steps that are done or not: run what is missing, say where we are and about how long is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from influence.store.artefact import write_json

#: Seconds of a step as a multiple of those of the base model's training, until the step has been run once. Rough.
FIRST_GUESS = {
    "tuned model": 0.4,
    "completions": 0.2,
    "Hessian": 0.4,
    "influence": 0.3,
    "gradient dot products": 0.3,
    "analyses": 0.1,
    "retraining": 1.5,
}


@dataclass(frozen=True)
class Step:
    """Something to be made.

    Attributes:
        kind: What it is, the same in every seed; its duration is remembered under this name.
        title: What a reader sees.
        done: Whether it is there, whole.
        run: Makes it, going on where a killed run stopped.
    """

    kind: str
    title: str
    done: Callable[[], bool]
    run: Callable[[], object]


class Times:
    """Seconds that steps took, kept in a file: the run that finished a step counts, not those killed before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, dict[str, float]] = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        )

    def record(self, step: Step, where: str, seconds: float) -> None:
        """Keep how long a step took."""
        self.seconds.setdefault(step.kind, {})[f"{where}: {step.title}"] = round(seconds, 2)
        write_json(self._path, self.seconds)

    def typical(self) -> dict[str, float]:
        """Mean seconds of each kind of step that has been run."""
        return {kind: sum(taken.values()) / len(taken) for kind, taken in self.seconds.items()}


def expected_seconds(kinds: Sequence[str], typical: Mapping[str, float]) -> float | None:
    """About how long steps of these kinds take together; None as long as no base model has been trained.

    A retraining takes what base and tuned model took, until one has been run.
    """
    base = typical.get("base model")
    if base is None:
        return None
    known = {"retraining": base + typical.get("tuned model", FIRST_GUESS["tuned model"] * base), **typical}
    return sum(known.get(kind, FIRST_GUESS.get(kind, 0.0) * base) for kind in kinds)


def run_steps(
    steps: Sequence[Step],
    times: Times,
    where: str,
    later: Sequence[str],
    say: Callable[[str], None],
    expect: Callable[[Sequence[str], Mapping[str, float]], float | None] = expected_seconds,
) -> None:
    """Run the steps that are not done, in order.

    Args:
        where: Says which part of the whole this is, such as `seed 1 of 3`.
        later: Kinds of the steps that come after these, for the time left.
        say: Takes one line for each step.
        expect: About how many seconds steps of some kinds take, given the mean of each kind that has been run.
    """
    for number, step in enumerate(steps, 1):
        place = f"{where}, step {number} of {len(steps)}: {step.title}"
        if step.done():
            say(f"{place} (done)")
            continue
        left = [other.kind for other in steps[number - 1 :] if not other.done()]
        say(f"{place}{_left(expect([*left, *later], times.typical()))}")
        started = time.monotonic()
        step.run()
        times.record(step, where.partition(" of ")[0], time.monotonic() - started)


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" (about {seconds / 60:,.0f} min left)" if seconds >= 90 else f" (about {seconds:,.0f} s left)"
