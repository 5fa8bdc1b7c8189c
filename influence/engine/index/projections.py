"""The projections of an index: random rows, or the leading ones of what is expected to contribute to scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from influence.curvature.sketch import (
    LayerSketch,
    Metric,
    best_sizes,
    even_sizes,
    layer_sketch,
    leading_rows,
    random_rows,
)
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.store.factors import load_tensors, save_tensors
from influence.store.index import PROJECTIONS

_SIDES = ("left", "right", "query_left", "query_right")
#: Random mixtures of each query's columns, and of its rows, that stand for it in a second moment.
_PROBES = 32


def choose_projections(
    kind: str, metrics: Sequence[Metric], budget: int, seed: int, gradients: Iterator[list[Tensor]]
) -> list[LayerSketch]:
    """The projections of every layer, `Σ KS KA ≤ budget`; of `lowrank` sketches `Σ (KS + KA) ≤ budget`, if it can be.

    Args:
        kind: One of `influence.config.SKETCHES`.
        budget: Numbers of a sketch.
        gradients: Of `data`: gradients taken as queries, `[N, O, I]` of each layer, a stack at a time.
    """
    if kind == "random":
        generator = torch.Generator().manual_seed(seed)
        sizes = even_sizes([(len(m.root_S), len(m.root_A)) for m in metrics], budget)
        return [
            layer_sketch(
                m, random_rows(s, len(m.root_S), generator), random_rows(a, len(m.root_A), generator)
            )
            for m, (s, a) in zip(metrics, sizes, strict=True)
        ]
    if kind == "lowrank":
        return [layer_sketch(m, *rows) for m, rows in zip(metrics, _white_rows(metrics, budget), strict=True)]
    if kind == "weighted":
        moments = [(m.weight_OI.sum(1).diag(), m.weight_OI.sum(0).diag()) for m in metrics]
    else:
        moments = second_moments(metrics, gradients)
    rows = [(leading_rows(moment_S), leading_rows(moment_A)) for moment_S, moment_A in moments]
    sizes = best_sizes([(values_S, values_A) for (_, values_S), (_, values_A) in rows], budget)
    return [
        layer_sketch(m, rows_S[:s], rows_A[:a])
        for m, ((rows_S, _), (rows_A, _)), (s, a) in zip(metrics, rows, sizes, strict=True)
    ]


def _white_rows(metrics: Sequence[Metric], budget: int) -> list[tuple[Tensor, Tensor]]:
    """All white coordinates of each layer; where one singular pair would not fit, those that are to contribute most."""
    part = min(1.0, budget / sum(sum(m.weight_OI.shape) for m in metrics))
    rows = []
    for m in metrics:
        sides = []
        for weight in (m.weight_OI.sum(1), m.weight_OI.sum(0)):
            kept = weight.argsort(descending=True)[: max(1, int(part * len(weight)))].sort().values
            sides.append(torch.eye(len(weight), dtype=torch.float64)[kept])
        rows.append((sides[0], sides[1]))
    return rows


def second_moments(metrics: Sequence[Metric], stacks: Iterator[list[Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """`Σ Y Yᵀ` and `Σ Yᵀ Y` of each layer over gradients taken as queries, each of norm 1 over all layers; float64."""
    moments = [
        (
            torch.zeros(len(m.root_S), len(m.root_S)).double(),
            torch.zeros(len(m.root_A), len(m.root_A)).double(),
        )
        for m in metrics
    ]
    for stack in stacks:
        white = [m.white_queries(g_NOI) for m, g_NOI in zip(metrics, stack, strict=True)]
        norm_N = torch.stack([y_NOI.square().sum((1, 2)) for y_NOI in white]).sum(0).sqrt().clamp(min=1e-30)
        for (moment_S, moment_A), y_NOI in zip(moments, white, strict=True):
            unit_NOI = y_NOI / norm_N[:, None, None]
            moment_S += (unit_NOI @ unit_NOI.mT).sum(0).double().cpu()
            moment_A += (unit_NOI.mT @ unit_NOI).sum(0).double().cpu()
    return moments


def compared_rows(
    sketches: Sequence[LayerSketch], queries: Sequence[Tensor], budget: int
) -> list[tuple[Tensor, Tensor]]:
    """Orthonormal rows `[ks, KS]` and `[ka, KA]` that keep most of some queries' sketches, `Σ ks ka ≤ budget`.

    Args:
        queries: Preconditioned gradients, `[Q, O, I]` of each layer. They count alike, whatever their norm.
    """
    norm_Q = torch.stack([p_QOI.float().square().sum((1, 2)) for p_QOI in queries]).sum(0).sqrt()
    rows = []
    for number, (sketch, p_QOI) in enumerate(zip(sketches, queries, strict=True)):
        generator = torch.Generator().manual_seed(number)
        sizes = (len(sketch.right), len(sketch.left))
        mix_AN, mix_SN = (torch.randn(size, _PROBES, generator=generator).to(p_QOI) for size in sizes)
        columns_QSN = sketch.query_left @ (p_QOI @ (sketch.query_right.mT @ mix_AN))
        rows_QNA = ((mix_SN.mT @ sketch.query_left) @ p_QOI) @ sketch.query_right.mT
        sides = []
        for mixed_QKN in (columns_QSN, rows_QNA.mT):
            unit_KM = (mixed_QKN.float() / norm_Q.clamp(min=1e-30)[:, None, None]).transpose(0, 1).flatten(1)
            sides.append(leading_rows((unit_KM @ unit_KM.mT).cpu()))
        rows.append((sides[0], sides[1]))
    kept = best_sizes([(values_S, values_A) for (_, values_S), (_, values_A) in rows], budget)
    return [
        (rows_S[:s].to(queries[0]), rows_A[:a].to(queries[0]))
        for ((rows_S, _), (rows_A, _)), (s, a) in zip(rows, kept, strict=True)
    ]


def write_projections(folder: Path, layers: Sequence[TrackedLayer], sketches: Sequence[LayerSketch]) -> None:
    """Store them in float32, whole or not at all."""
    tensors = {
        f"{layer.name}.{side}": getattr(sketch, side).float()
        for layer, sketch in zip(layers, sketches, strict=True)
        for side in _SIDES
    }
    save_tensors(folder / PROJECTIONS, tensors)


def read_projections(folder: Path, layers: Sequence[TrackedLayer], model: LanguageModel) -> list[LayerSketch]:
    """The stored projections, where and in what precision the model computes.

    Raises:
        StoreError: they are missing or damaged.
    """
    tensors = load_tensors(folder / PROJECTIONS)
    return [
        LayerSketch(*(tensors[f"{layer.name}.{side}"].to(model.device, model.dtype) for side in _SIDES))
        for layer in layers
    ]
