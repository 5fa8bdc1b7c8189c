"""How large a reproduction is: every number that a scale chooses, in one frozen record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from influence.data.miniworld import Settings
from influence.errors import InputError
from influence.train.settings import SizeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One size of the reproduction.

    Attributes:
        documents: Documents of each seed's corpus.
        world: What else is chosen about the world: facts, shares, forms, ranges of numbers.
        size: Model, a name in `influence.train.pretrain.SIZES`.
        epochs: Passes over the corpus.
        tuning_problems: Worked problems of each procedure to fine-tune on.
        tuning_questions: Questions with answers to fine-tune on; None: every fact for tuning once.
        tuning_epochs: Passes over the tuning pairs.
        tuning_lr: Peak learning rate of the fine-tuning.
        problems: Unseen problems of each procedure to ask.
        questions_per_count: Most facts to ask for of those stated equally often (0, 1, 2, 5, 20).
        max_new_tokens: Most tokens of a completion.
        factual: Factual queries to score, half answered right and half wrong, as far as there are.
        per_task: Queries to score of each of the two best reasoning tasks.
        hessian_documents: Documents that the Hessian is fitted on, drawn uniformly.
        top_k: Documents of a query that count as its top, where the paper takes 500 of 5 million.
        source_k: Documents of a query whose sources are counted, where the paper takes 50.
        removal_k: Documents to leave out for a group of queries.
        removal_groups: Groups of queries, of `reports.miniworld.removal.GROUPS`.
        removal_methods: What ranks them, names in `reports.miniworld.removal.METHODS`.
        seeds: Worlds and models, each from its own seed.
    """

    documents: int
    world: Settings = field(default_factory=Settings)
    size: SizeName
    epochs: int
    tuning_problems: int
    tuning_questions: int | None = None
    tuning_epochs: int
    tuning_lr: float
    problems: int = 100
    questions_per_count: int = 60
    max_new_tokens: int = 200
    factual: int = 40
    per_task: int = 20
    hessian_documents: int
    top_k: int
    source_k: int
    removal_k: int
    removal_groups: tuple[str, ...] = ("factual", "reasoning")
    removal_methods: tuple[str, ...] = ("influence", "gradient dot product", "BM25", "random", "gold")
    seeds: int

    def __post_init__(self) -> None:
        most = max(self.top_k, 10 * self.source_k, self.removal_k)
        if most > self.documents:
            raise InputError(
                "top_k, 10 × source_k and removal_k must be at most the number of documents.",
                have=f"{most} of {self.documents}",
            )

    def config(self) -> dict[str, Any]:
        """All that determines the result, and how many seeds it has by default."""
        return asdict(self)


SCALES = {
    # every step once, for tests: the models learn nothing
    "smoke": Scale(
        documents=150,
        size="tiny",
        epochs=2,
        tuning_problems=40,
        tuning_epochs=10,
        tuning_lr=3e-3,
        problems=12,
        max_new_tokens=24,
        factual=10,
        per_task=4,
        hessian_documents=60,
        top_k=20,
        source_k=10,
        removal_k=20,
        removal_groups=("told", "reasoning"),
        removal_methods=("influence", "random"),
        seeds=1,
    ),
    # two cores, within three hours
    "laptop": Scale(
        documents=3000,
        world=Settings(asides=False),
        size="mini",
        epochs=24,
        tuning_problems=4000,
        tuning_questions=500,
        tuning_epochs=1,
        tuning_lr=4e-4,
        max_new_tokens=120,
        hessian_documents=3000,
        top_k=50,
        source_k=50,
        removal_k=100,
        seeds=2,
    ),
    # one large GPU, within 20 minutes
    "gpu": Scale(
        documents=20_000,
        size="small",
        epochs=10,
        tuning_problems=5000,
        tuning_questions=5000,
        tuning_epochs=1,
        tuning_lr=3e-4,
        hessian_documents=20_000,
        top_k=100,
        source_k=50,
        removal_k=200,
        seeds=3,
    ),
}
