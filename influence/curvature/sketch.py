"""Sketches: short vectors of documents and queries whose dot product estimates influence. Pure tensor maths.

Per layer, with `sqrt(lam + damping) ≈ root_S root_Aᵀ` (exact where `lam + damping` has rank one),

    Z_d = (Q_Sᵀ G_d Q_A) / (root_S root_Aᵀ)        of a document, nearly white
    Y_q = (Q_Sᵀ P_q Q_A) ∘ (root_S root_Aᵀ)        of a query

`<Y_q, Z_d> = <P_q, G_d>` exactly, whatever the roots are: what the rank-one fit misses is made up on the queries' side.
A sketch keeps `R_S Z R_Aᵀ` and `R_S Y R_Aᵀ` of each layer, `[KS, KA]`, by rows `R_S [KS, O]` and `R_A [KA, I]` that are

    random      Haar-random orthonormal, times sqrt(O / KS) and sqrt(I / KA): the dot product is unbiased
    weighted    the eigen-directions of largest expected contribution `(lam / (lam + damping))²`
    data        the leading eigenvectors of the second moments `E[Y Yᵀ]`, `E[Yᵀ Y]` of sampled queries or documents

With square rows all three give `<P_q, G_d>` itself.

`low_rank` keeps of each document its own subspace instead: the leading singular pairs, `Z ≈ Σ_k σ_k u_k v_kᵀ`. A
document of T tokens has rank T at most and few large singular values, whereas all documents together fill the space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.blocks import Eigenvectors
from influence.curvature.ekfac import damped_eigenvalues
from influence.curvature.statistics import gradient_stacks
from influence.types import LayerFactors

#: Sizes tried for each side of a layer when a budget is shared out.
_SIZES = 48
_HALVINGS = 60
#: Directions that the search for singular vectors takes beside those it keeps.
OVERSAMPLED = 8


@dataclass(frozen=True, slots=True)
class Metric:
    """What makes the documents of one layer nearly white.

    Attributes:
        q_S, q_A: Eigenvectors `[O, O]`, `[I, I]` in columns.
        root_S, root_A: Scale of each eigen-direction, `[O]`, `[I]`.
        inverse_OI: `1 / (lam + damping)`.
        weight_OI: Expected contribution of each eigen-coordinate to a score, `(lam / (lam + damping))²`.
    """

    q_S: Eigenvectors
    q_A: Eigenvectors
    root_S: Tensor
    root_A: Tensor
    inverse_OI: Tensor
    weight_OI: Tensor

    def white_queries(self, g_QOI: Tensor) -> Tensor:
        """`Y_q` of gradients that are not preconditioned yet, `[Q, O, I]`."""
        q_S, q_A = self.q_S.to(g_QOI), self.q_A.to(g_QOI)
        scale_OI = (torch.outer(self.root_S, self.root_A) * self.inverse_OI).to(g_QOI)
        return (q_S.mT @ (g_QOI @ q_A)).mul_(scale_OI)


@dataclass(frozen=True, slots=True)
class LayerSketch:
    """Projections of one layer: of documents' gradients by `left [KS, O]` and `right [KA, I]`, of preconditioned
    queries by `query_left` and `query_right` of the same shapes.
    """

    left: Tensor
    right: Tensor
    query_left: Tensor
    query_right: Tensor

    @property
    def size(self) -> int:
        """Numbers that the sketch spends on this layer, `KS × KA`."""
        return self.left.shape[0] * self.right.shape[0]


def layer_metric(factors: LayerFactors | None, shape: tuple[int, int], relative_damping: float) -> Metric:
    """The metric of one layer in float64; without factors the plain one, in which sketches estimate `<G_q, G_d>`."""
    outputs, inputs = shape
    if factors is None:
        eye_S, eye_A = torch.eye(outputs, dtype=torch.float64), torch.eye(inputs, dtype=torch.float64)
        ones_OI = torch.ones(shape, dtype=torch.float64)
        return Metric(eye_S, eye_A, eye_S.diagonal(), eye_A.diagonal(), ones_OI, ones_OI)
    damped_OI = damped_eigenvalues(factors.lam, relative_damping)
    log_OI = 0.5 * damped_OI.log()
    return Metric(
        q_S=factors.gradient_eigenvectors.double(),
        q_A=factors.activation_eigenvectors.double(),
        root_S=(log_OI.mean(1) - log_OI.mean()).exp(),
        root_A=log_OI.mean(0).exp(),
        inverse_OI=damped_OI.reciprocal(),
        weight_OI=(factors.lam.double() / damped_OI).square(),
    )


def layer_sketch(metric: Metric, rows_S: Tensor, rows_A: Tensor) -> LayerSketch:
    """The projections that keep `rows_S [KS, O]` and `rows_A [KA, I]` of the white coordinates."""
    return LayerSketch(
        left=(rows_S / metric.root_S) @ metric.q_S.mT,
        right=(rows_A / metric.root_A) @ metric.q_A.mT,
        query_left=(rows_S * metric.root_S) @ metric.q_S.mT,
        query_right=(rows_A * metric.root_A) @ metric.q_A.mT,
    )


def random_rows(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Haar-random orthonormal rows `[count, size]` times `sqrt(size / count)`, so that `E[RᵀR] = 1`; float64."""
    normal = torch.randn(size, count, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    rows: Tensor = (q * r.diagonal().sign()).mT * (size / count) ** 0.5
    return rows


def leading_rows(moment_NN: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors of a second moment as rows, the largest first, and their eigenvalues (at least 0)."""
    values, vectors = torch.linalg.eigh((moment_NN + moment_NN.mT) / 2)
    return vectors.flip(1).mT.contiguous(), values.flip(0).clamp(min=0)


def even_sizes(shapes: Sequence[tuple[int, int]], budget: int) -> list[tuple[int, int]]:
    """`(KS, KA)` of each layer for random rows: equal shares of the budget, as square as the layer allows."""
    sizes = []
    for number, (outputs, inputs) in enumerate(shapes):
        share = budget // (len(shapes) - number)
        short = max(1, min(int(share**0.5), outputs, inputs))
        long = min(share // short, max(outputs, inputs))
        sizes.append((short, long) if outputs <= inputs else (long, short))
        budget -= short * long
    return sizes


def best_sizes(spectra: Sequence[tuple[Tensor, Tensor]], budget: int) -> list[tuple[int, int]]:
    """`(KS, KA)` of each layer that keep most of what is expected to contribute, with `Σ KS KA ≤ budget`.

    Args:
        spectra: Contribution of each row of `R_S` and of `R_A`, falling, of one layer each; both have its total as sum.
            Kept is taken as the product of what each side keeps.
    """
    options = []
    for values in spectra:
        at_S, at_A = (_grid(len(v)) for v in values)
        kept_S, kept_A = (v.double().cumsum(0)[at - 1] for v, at in zip(values, (at_S, at_A), strict=True))
        total = values[0].double().sum().clamp(min=1e-300)
        options.append((at_S, at_A, torch.outer(kept_S, kept_A) / total, torch.outer(at_S, at_A).double()))

    def sizes(price: float) -> list[tuple[int, int]]:
        chosen = []
        for at_S, at_A, kept, cost in options:
            place = int((kept - price * cost).argmax())
            chosen.append((int(at_S[place // len(at_A)]), int(at_A[place % len(at_A)])))
        return chosen

    dear = max(float(kept.max()) for _, _, kept, _ in options)
    low, high = dear * 1e-15, dear
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        within = sum(s * a for s, a in sizes(middle)) <= budget
        low, high = (low, middle) if within else (middle, high)
    return sizes(high)


def _grid(size: int) -> Tensor:
    """Sizes from 1 to `size`, evenly spaced in their logarithm."""
    sizes: Tensor = torch.logspace(0, math.log10(size), _SIZES).round().long().unique()
    return sizes


def sketch_documents(s_BTO: Tensor, a_BTI: Tensor, sketch: LayerSketch) -> Tensor:
    """`left G rightᵀ` of each document, `[B, KS × KA]`.

    Projects tokens, `T (O KS + I KA + KS KA)` products a document, or gradients, `O I (T + KA) + KS O KA`, whichever
    is cheaper: then `G_d` need not be formed.
    """
    tokens, outputs, inputs = s_BTO.shape[1], s_BTO.shape[2], a_BTI.shape[2]
    kept_S, kept_A = sketch.left.shape[0], sketch.right.shape[0]
    by_tokens = tokens * (outputs * kept_S + inputs * kept_A + kept_S * kept_A)
    by_gradients = outputs * inputs * (tokens + kept_A) + kept_S * outputs * kept_A
    if by_tokens <= by_gradients:
        return torch.bmm((s_BTO @ sketch.left.mT).mT, a_BTI @ sketch.right.mT).flatten(1)
    parts = [sketch.left @ (g_BOI @ sketch.right.mT) for _, g_BOI in gradient_stacks(s_BTO, a_BTI)]
    return torch.cat(parts).flatten(1)


def sketch_queries(p_QOI: Tensor, sketch: LayerSketch) -> Tensor:
    """The same of preconditioned gradients, `[Q, KS × KA]`; its dot product with a document's is the estimate."""
    return (sketch.query_left @ (p_QOI @ sketch.query_right.mT)).flatten(1)


def low_rank(
    s_BTO: Tensor, a_BTI: Tensor, sketch: LayerSketch, start_RO: Tensor, rank: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Leading singular pairs of each document's `Z = left G rightᵀ`, nearly; no `G_d` is formed.

    `v` spans `Zᵀ start`, and `u` is what `Z` makes of it: `Z ≈ (Z v) vᵀ`. So the wide sides are multiplied by R rows a
    document and not by its tokens. Source: the randomised range finder of Halko, Martinsson and Tropp, arXiv 0909.4061.

    Args:
        start_RO: Random start `[R, KS]` times `left`, the same for all documents; `R` at least `rank`. More are more
            exact; as many as `Z` has rank, exact.

    Returns:
        Singular values `[B, rank]`, falling, and unit vectors `u [B, rank, KS]` and `v [B, rank, KA]`; 0 where a
        document has fewer.
    """
    seen_BRT = (s_BTO @ start_RO.mT).mT
    v_BRA, _, _ = _orthonormal((seen_BRT @ a_BTI) @ sketch.right.mT)
    seen_BRT = (v_BRA.to(a_BTI) @ sketch.right) @ a_BTI.mT
    u_BRS, values_BR, turn_BRR = _orthonormal((seen_BRT @ s_BTO) @ sketch.left.mT)
    return values_BR[:, :rank], u_BRS[:, :rank], (turn_BRR @ v_BRA)[:, :rank]


def _orthonormal(x_BRN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal rows `q`, singular values (falling) and `turn`, with `turn x = values q`, by the Gram matrix.

    Directions below the rounding of the Gram matrix are 0.
    """
    x_BRN = x_BRN.to(torch.promote_types(x_BRN.dtype, torch.float32))
    squares_BR, vectors_BRR = torch.linalg.eigh(x_BRN @ x_BRN.mT)
    squares_BR, turn_BRR = squares_BR.flip(-1), vectors_BRR.mT.flip(-2)
    smallest_B1 = squares_BR[:, :1] * max(x_BRN.shape[2], 32) * torch.finfo(squares_BR.dtype).eps
    there_BR = squares_BR > smallest_B1
    values_BR = squares_BR.clamp(min=0).sqrt() * there_BR
    scale_BR = torch.where(there_BR, 1 / values_BR, 0)
    turn_BRR = turn_BRR * there_BR[..., None]
    return (turn_BRR * scale_BR[..., None]) @ x_BRN, values_BR, turn_BRR
