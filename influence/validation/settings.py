"""Settings of a validation, which the command reads without torch."""

from __future__ import annotations

from dataclasses import dataclass

from influence.config import settings
from influence.errors import InputError


@settings
@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationConfig:
    """Settings of a validation by training again.

    Attributes:
        subsets: Random subsets of the corpus that a model is trained on; eight put methods in order.
        left_out: Share of the documents that each subset leaves out.
        seeds: Trainings of each subset, with different seeds; two show how well a perfect method could do.
        remove: Also train without the top so many documents of each method, all queries together. 0: not.
    """

    subsets: int = 8
    left_out: float = 0.5
    seeds: int = 2
    remove: int = 0

    def __post_init__(self) -> None:
        if self.subsets < 3:
            raise InputError("A rank correlation needs three subsets or more.", have=str(self.subsets))
        if self.seeds < 1 or self.remove < 0:
            raise InputError(
                "seeds is at least 1, and remove at least 0.", have=f"{self.seeds} and {self.remove}"
            )
        if not 0 < self.left_out < 1:
            raise InputError("left_out is a share, between 0 and 1.", have=str(self.left_out))


@settings
@dataclass(frozen=True, kw_only=True, slots=True)
class CheckConfig:
    """Settings of the checks without retraining.

    Attributes:
        queries: Queries that are checked, spread over the run.
        documents: Documents drawn, over which scores are compared and the exact matrix is made.
        learnt: Of these, how many are learnt one by one.
        residual: Relative residual to which conjugate gradients go.
        steps: Most steps of conjugate gradients for a query.
    """

    queries: int = 4
    documents: int = 64
    learnt: int = 16
    residual: float = 0.01
    steps: int = 200

    def __post_init__(self) -> None:
        for name in ("queries", "documents", "learnt", "steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1.", have=str(getattr(self, name)))
        if not 0 < self.residual < 1:
            raise InputError("residual is a share, between 0 and 1.", have=str(self.residual))
