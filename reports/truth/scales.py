"""Every number of a scale, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from influence.train.settings import SizeName

#: World -> what it is called on the page.
WORLDS = {"heart": "by heart", "few": "after few epochs"}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A size of the study.

    Attributes:
        documents: Of the corpus, each states a fact of the miniworld.
        size: Of the model, a name in `influence.train.pretrain.SIZES`.
        epochs: Passes over the corpus in each world of `WORLDS`.
        queries: Statements of facts, some of whose documents are in the corpus.
        subsets: Random halves.
        seeds_of_halves: Trainings of each half.
        seeds: How often everything is made.
    """

    documents: int
    size: SizeName
    epochs: dict[str, int]
    queries: int
    subsets: int
    seeds_of_halves: int
    seeds: int

    def config(self) -> dict[str, Any]:
        """All that determines the result."""
        return asdict(self)


SCALES = {
    # every step once, for tests: the models know nothing
    "smoke": Scale(
        documents=40,
        size="tiny",
        epochs={"heart": 2},
        queries=4,
        subsets=3,
        seeds_of_halves=2,
        seeds=1,
    ),
    # one core, about half an hour
    "laptop": Scale(
        documents=240,
        size="tiny",
        epochs={"heart": 48, "few": 16},
        queries=24,
        subsets=16,
        seeds_of_halves=2,
        seeds=1,
    ),
}
