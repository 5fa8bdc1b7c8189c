"""What a run may be told, frozen. Only settings that change the result; the rest are arguments of the call."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from influence.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Settings of a Hessian fit.

    Attributes:
        layers: Tracked layers: `mlp`, `all`, or globs.
        max_length: Most tokens of a document.
        windows: Cut longer documents into windows instead of truncating them.
        documents: Fit on at most this many documents, drawn uniformly.
        covariance_tokens: Share of the tokens that the covariances are summed over, drawn at random.
        covariance_blocks: Blocks on the diagonal of each covariance that are kept; 1 keeps it whole.
        empirical: Use the corpus's own labels (empirical Fisher) instead of labels sampled from the model.
        seed: Of the draw of documents, of tokens and of labels.
        backend: Who computes the fit: `influence` or `kronfluence`.
    """

    layers: tuple[str, ...] = ("mlp",)
    max_length: int = 512
    windows: bool = False
    documents: int = 100_000
    covariance_tokens: float = 1.0
    covariance_blocks: int = 1
    empirical: bool = False
    seed: int = 0
    backend: str = "influence"

    def __post_init__(self) -> None:
        _positive("max_length", self.max_length)
        _positive("documents", self.documents)
        _positive("covariance_blocks", self.covariance_blocks)
        if self.backend not in ("influence", "kronfluence"):
            raise InputError(f"There is no backend {self.backend!r}.", fix="Use influence or kronfluence.")
        if not 0 < self.covariance_tokens <= 1:
            raise InputError(
                "covariance_tokens is a share, above 0 and at most 1.", have=str(self.covariance_tokens)
            )
        if self.covariance_tokens < 1 and self.backend != "influence":
            raise InputError(
                "kronfluence sums covariances over all tokens.",
                fix="Leave out --covariance-tokens, or --backend kronfluence.",
            )

        if self.covariance_blocks > 1 and self.backend != "influence":
            raise InputError(
                "kronfluence keeps whole covariances.",
                fix="Leave out --covariance-blocks, or --backend kronfluence.",
            )

    def identity(self) -> dict[str, Any]:
        """What a manifest records. A setting that is younger than some fits is absent where it does as they did."""
        settings = asdict(self)
        for name in ("covariance_tokens", "covariance_blocks"):
            if settings[name] == 1:
                del settings[name]
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """Settings of a scoring run.

    Attributes:
        damping: Relative damping: each layer's is `damping × mean(lam)`.
        max_length: Most tokens of a document, and of a query.
        windows: Cut longer documents into windows instead of truncating them.
        query_error: Keep each query at the least rank that loses at most this share of its squared norm, as documents
            see it, from 0.005 on in eight bits. None: exact.
    """

    damping: float = 0.1
    max_length: int = 512
    windows: bool = False
    query_error: float | None = None

    def __post_init__(self) -> None:
        _positive("max_length", self.max_length)
        _positive("damping", self.damping)
        if self.query_error is not None and not 0 < self.query_error < 1:
            raise InputError("query_error is a share, between 0 and 1.", have=str(self.query_error))


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{name} must be positive.", have=str(value))
