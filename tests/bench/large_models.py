"""What a 7B and a 35B model with 5 million documents take, by arithmetic: `python tests/bench/large_models.py`.

Operations, bytes and traffic follow from the shapes and from how the engine works. Time is operations over the rate of
a GPU times an assumed share of it; no GPU was measured. Eigendecompositions are those of one CPU thread a GPU, measured
here. Bold: more memory than a GPU has.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from influence.curvature.statistics import eigenbasis

#: An NVIDIA H100 SXM, by its data sheet, and the share of its rates that is assumed: products in bfloat16 and float32.
BF16, FP32, MEMORY = 989e12, 67e12, 80e9
BF16_SHARE, FP32_SHARE = 0.4, 0.7
#: The corpus and queries of Ruis et al., arXiv 2411.12580; documents a fit draws by default.
DOCUMENTS, TOKENS, QUERIES, FITTED = 5_000_000, 500, 100, 100_000
#: Tokens of a batch: of more, a 7B would keep more activations than fit beside the sums.
BATCH_TOKENS = 1 << 11
#: Mean rank of compressed queries (`--query-error 0.01`), measured by wide_queries.py with a made spectrum.
RANK = 77
_MEASURED_ROWS = 2_048


@dataclass(frozen=True)
class Model:
    """A decoder with gated MLPs, which are tracked."""

    name: str
    parameters: float
    layers: int
    width: int
    mlp: int
    covariance_blocks: int

    @property
    def squares(self) -> float:
        """Numbers of the covariances, which are those of the eigenvectors."""
        return 3 * self.layers * (self.width**2 + self.mlp**2) / self.covariance_blocks

    @property
    def gradient(self) -> float:
        """Numbers of one gradient, which are those of the corrected eigenvalues."""
        return 3 * self.layers * self.width * self.mlp

    @property
    def query(self) -> float:
        """Numbers of one compressed query."""
        return 3 * self.layers * RANK * (self.width + self.mlp)


MODELS = (
    Model("7B", 6.7e9, 32, 4_096, 11_008, 1),
    Model("7B", 6.7e9, 32, 4_096, 11_008, 2),
    Model("35B", 35e9, 40, 8_192, 22_528, 4),
)


def main() -> None:
    """Print the table, in which `a / b` is for 8 and for 64 GPUs, and operations as multiples of a plain step's."""
    thread = _thread_seconds()
    print("| model, blocks | stage | hours | memory of a GPU, GB | written, GB | received by a GPU, TB |")
    print("|---|---|---|---|---|---|")
    for model in MODELS:
        for few, many in zip(_stages(model, 8, thread), _stages(model, 64, thread), strict=True):
            both = [a if a == b else f"{a} / {b}" for a, b in zip(few, many, strict=True)]
            print(f"| {model.name}, {model.covariance_blocks} | " + " | ".join(both) + " |")
    for model in MODELS:
        plain = 6 * model.parameters
        forward_backward = 4 * model.parameters  # the backward forms no gradient of a weight
        fit = 2 * forward_backward + _covariances(model) + _rotations(model)
        scan = forward_backward + _products(model)
        print(
            f"{model.name}, {model.covariance_blocks}: fit {fit / plain:.2f}, scan {scan / plain:.2f} plain steps"
        )


def _covariances(model: Model) -> float:
    """Operations for a token: half of 2 a number, as the upper triangle alone is summed."""
    return model.squares


def _rotations(model: Model) -> float:
    return 2 * model.squares + 2 * model.gradient


def _products(model: Model) -> float:
    """With all queries, for a token, by matrices or by tokens."""
    by_matrices = model.gradient * (1 + QUERIES / TOKENS + QUERIES * RANK / BATCH_TOKENS)
    return 2 * min(by_matrices, QUERIES * model.query)


def _thread_seconds() -> float:
    """Of one eigendecomposition of so many rows, on this CPU."""
    torch.set_num_threads(1)
    x = torch.randn(_MEASURED_ROWS, _MEASURED_ROWS)
    started = time.process_time()
    eigenbasis(x @ x.mT, _MEASURED_ROWS)
    return time.process_time() - started


def _stages(model: Model, gpus: int, thread: float) -> list[list[str]]:
    sharded = 2 * model.parameters > MEMORY / 2
    weights = 2 * model.parameters / (gpus if sharded else 1)
    # of all layers, about: inputs of norms, attention and MLPs, and what is between gate, up and down, in bfloat16
    activations = 2 * BATCH_TOKENS * model.layers * (8 * model.width + 3 * model.mlp)
    # forward, and a backward that forms no gradient of a weight: 4 of the 6 operations for each parameter and token
    passes = 4 * model.parameters / (BF16 * BF16_SHARE)
    fitted, scanned = FITTED * TOKENS / gpus, DOCUMENTS * TOKENS / gpus
    blocks = model.covariance_blocks
    covariances = _covariances(model) / (FP32 * FP32_SHARE)
    rotated = _rotations(model) / (FP32 * FP32_SHARE)
    scores = _products(model) / (BF16 * BF16_SHARE)
    rows = (
        3 * model.layers * blocks * sum((n / blocks / _MEASURED_ROWS) ** 3 for n in (model.width, model.mlp))
    )
    reductions = max(1.0, fitted * (passes + covariances) / 60)

    def gathered(tokens: float) -> float:
        return 2 * 2 * model.parameters * tokens / BATCH_TOKENS if sharded else 0.0

    def row(stage: str, seconds: float, memory: float, written: float, received: float) -> list[str]:
        over = "**" if memory > MEMORY else ""
        return [
            stage,
            _short(seconds / 3600),
            f"{over}{memory / 1e9:.0f}{over}",
            f"{written / 1e9:.0f}",
            _short(received / 1e12),
        ]

    queries = 2 * QUERIES * model.query
    return [
        row(
            "covariances",
            fitted * (passes + covariances),
            weights + activations + 4 * model.squares,
            4 * model.squares,
            (gathered(fitted) + 4 * model.squares * reductions),
        ),
        row("eigendecompositions", rows * thread / gpus, 0, 4 * model.squares, 0),
        row(
            "corrected eigenvalues",
            fitted * (passes + rotated),
            weights + activations + 4 * (model.squares + model.gradient),
            4 * model.gradient,
            gathered(fitted) + 4 * model.gradient * max(1.0, fitted * (passes + rotated) / 60),
        ),
        row(
            "scan",
            scanned * (passes + scores),
            weights + activations + queries,
            4 * DOCUMENTS * (QUERIES + TOKENS),
            gathered(scanned),
        ),
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


if __name__ == "__main__":
    main()
