"""A study: replicates made of resumable steps, the tables over them, and the files a reader opens."""

from __future__ import annotations

import difflib
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pandas as pd

from influence.errors import InputError
from influence.provenance import provenance
from influence.store.artefact import claim
from reports.kit.page import write_results
from reports.kit.steps import Step, Times, run_steps

Say = Callable[[str], None]
Tables = Mapping[str, pd.DataFrame]


class Scale(Protocol):
    """A frozen record of every number that a size of a study chooses."""

    @property
    def seeds(self) -> int:
        """How often everything is made."""

    def config(self) -> dict[str, Any]:
        """All that determines the result."""


class Replicate(Protocol):
    """What one seed makes, in a folder of its own."""

    @property
    def folder(self) -> Path:
        """Where everything of it lies."""

    @property
    def seed(self) -> int:
        """What seeds it."""

    def steps(self) -> list[Step]:
        """All steps, in order; each is done when its artefact is there, whole."""


ScaleT = TypeVar("ScaleT", bound=Scale)
ReplicateT = TypeVar("ReplicateT", bound=Replicate)


class Study(ABC, Generic[ScaleT, ReplicateT]):
    """A study that can be run at several scales; a run that was killed goes on.

    Attributes:
        name: Name of its package in `reports`.
        kind: What the manifest of its folder calls it.
        scales: The sizes it can be run at, by name.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    scales: ClassVar[Mapping[str, Any]]

    @abstractmethod
    def replicates(self, scale: ScaleT, folder: Path, seeds: int, say: Say) -> list[ReplicateT]:
        """Everything that is made, in order; InputError or StoreError where it cannot be."""

    @abstractmethod
    def tables(self, scale: ScaleT, replicates: Sequence[ReplicateT]) -> dict[str, pd.DataFrame]:
        """All tables over finished replicates, by name."""

    @abstractmethod
    def page(self, scale: ScaleT, made_by: Mapping[str, Any], tables: Tables) -> str:
        """The findings as Markdown."""

    @abstractmethod
    def summary(self, tables: Tables) -> Iterator[str]:
        """Lines that the command prints at its end."""

    def claimed(self, scale: ScaleT) -> dict[str, Any]:
        """What every run in a folder must have in common."""
        return scale.config()

    def where(self, replicate: ReplicateT, seeds: int) -> str:
        """What a line of progress calls a replicate."""
        return f"seed {replicate.seed + 1} of {seeds}"

    def work(self, replicates: Sequence[ReplicateT]) -> Mapping[str, float]:
        """How much work each kind of step is, where that can be guessed before it has been run; only ratios count."""
        return {}

    def finish(self, replicate: ReplicateT) -> None:
        """Remove what a replicate needs no more once its steps are done."""

    def draw(self, scale: ScaleT, folder: Path, replicates: Sequence[ReplicateT], tables: Tables) -> None:
        """Write figures and pages."""

    def facts(self, replicates: Sequence[ReplicateT]) -> dict[str, Any]:
        """What is recorded beside the command, such as the number of parameters."""
        return {}

    def seconds(self, replicates: Sequence[ReplicateT], times: Times) -> float:
        """Seconds that the results took."""
        return sum(sum(taken.values()) for taken in times.seconds.values())

    def run(
        self,
        out: str | Path,
        scale: str | ScaleT = "laptop",
        seeds: int | None = None,
        say: Say = lambda line: None,
    ) -> dict[str, pd.DataFrame]:
        """Make everything that is missing, and write tables, figures and `findings.md`.

        Args:
            out: Folder of everything. The same call after a kill goes on; with more seeds it adds those.
            scale: A name in `scales`, or a scale of your own.
            seeds: How often everything is made, seeded 0, 1, …; the scale's own number by default.
            say: Takes one line for each step: which of how many, and about how long is left.

        Returns:
            The tables, which are also in `out` as CSV and, together, in `results.json`.

        Raises:
            InputError: There is no such scale, or fewer than one seed.
            StoreError: `out` holds other files, or runs with other settings.
        """
        chosen: ScaleT = self.scale_named(scale) if isinstance(scale, str) else scale
        n_seeds = chosen.seeds if seeds is None else seeds
        if n_seeds < 1:
            raise InputError("The number of seeds is at least 1.", have=str(n_seeds))
        folder = Path(out)
        claim(folder, self.kind, self.claimed(chosen))
        times = Times(folder / "times.json")
        replicates = self.replicates(chosen, folder, n_seeds, say)
        work = self.work(replicates)
        for number, replicate in enumerate(replicates, 1):
            replicate.folder.mkdir(parents=True, exist_ok=True)
            later = [step.kind for other in replicates[number:] for step in other.steps() if not step.done()]
            run_steps(replicate.steps(), times, self.where(replicate, n_seeds), later, say, work)
            self.finish(replicate)
        say("tables and figures")
        tables = self.tables(chosen, replicates)
        self.draw(chosen, folder, replicates, tables)
        seconds = self.seconds(replicates, times)
        made_by = provenance(
            seconds,
            command=self.command_line(scale, out, seeds),
            seeds=n_seeds,
            hours=seconds / 3600,
            step_seconds=times.seconds,
            **self.facts(replicates),
        )
        write_results(folder, chosen.config(), made_by, tables, self.page(chosen, made_by, tables))
        return tables

    def scale_named(self, name: str) -> ScaleT:
        """The scale of this name; InputError names the nearest where there is none."""
        if name not in self.scales:
            near = difflib.get_close_matches(name, self.scales, 1)
            fix = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(f"There is no scale {name!r}.", fix=fix + f"Known are {', '.join(self.scales)}.")
        scale: ScaleT = self.scales[name]
        return scale

    def command_line(self, scale: object, out: str | Path, seeds: int | None) -> str:
        """The command that does the same as a call; "from Python" where the scale has no name."""
        if not isinstance(scale, str):
            return "from Python"
        words = ["python", "-m", f"reports.{self.name}", "--scale", scale, "--out", str(out)]
        return shlex.join([*words, *([] if seeds is None else ["--seeds", str(seeds)])])
