"""Named steps that are done or not: run what is missing, say where we are and about how long is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from influence.store.artefact import read_manifest, write_json


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


def whole(folder: Path) -> bool:
    """Whether a folder's manifest says that its run is complete."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest["status"] == "complete"


def expected_seconds(
    kinds: Sequence[str], typical: Mapping[str, float], work: Mapping[str, float]
) -> float | None:
    """About how long steps of these kinds take together; None as long as too little is known.

    Args:
        typical: Mean seconds of the kinds that have been run.
        work: A guess of how much work kinds are, which scales those that have been run to those that have not.
    """
    known = sum(work[kind] for kind in typical if kind in work)
    rate = sum(typical[kind] for kind in typical if kind in work) / known if known else None
    guess = {} if rate is None else {kind: rate * amount for kind, amount in work.items()}
    if any(kind not in typical and kind not in guess for kind in kinds):
        return None
    return sum(typical.get(kind, guess.get(kind, 0.0)) for kind in kinds)


def run_steps(
    steps: Sequence[Step],
    times: Times,
    where: str,
    later: Sequence[str],
    say: Callable[[str], None],
    work: Mapping[str, float],
) -> None:
    """Run the steps that are not done, in order.

    Args:
        where: Says which part of the whole this is, such as `seed 1 of 3`.
        later: Kinds of the steps that come after these, for the time left.
        say: Takes one line for each step.
        work: As in `expected_seconds`.
    """
    for number, step in enumerate(steps, 1):
        place = f"{where}, step {number} of {len(steps)}: {step.title}"
        if step.done():
            say(f"{place} (done)")
            continue
        left = [other.kind for other in steps[number - 1 :] if not other.done()]
        say(f"{place}{_left(expected_seconds([*left, *later], times.typical(), work))}")
        started = time.monotonic()
        step.run()
        times.record(step, where.partition(" of ")[0], time.monotonic() - started)


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" (about {seconds / 60:,.0f} min left)" if seconds >= 90 else f" (about {seconds:,.0f} s left)"
