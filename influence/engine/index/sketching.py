"""Sketches of documents and queries by chosen projections, and the products that estimate influence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from influence.config import SKETCH_BITS
from influence.curvature.sketch import OVERSAMPLED, LayerSketch, low_rank, sketch_documents, sketch_queries
from influence.engine.batching import Columns
from influence.engine.index.projections import compared_rows
from influence.engine.passes import backward, describe_documents, document_batch
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.store.documents import DocumentTable
from influence.store.index import Sketches

#: Bytes of a singular value in the index.
VALUE_BYTES = 2
#: Numbers of white gradients that are rebuilt at a time.
_REBUILT = 1 << 23
#: Low-rank sketches are compared in at least so many numbers of a gradient.
_LEAST_COMPARED = 1 << 18


def compared_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where products in it are fast, else float32: stored sketches have few bits anyway."""
    if device.type == "cuda":
        return torch.bfloat16
    has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not say
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") else torch.float32


def fitting_rank(sketches: Sequence[LayerSketch], bytes_per_document: int, bits: int) -> int:
    """Most singular pairs of every layer that fit into so many bytes, at least 1."""
    pair_bits = sum(len(sketch.left) + len(sketch.right) for sketch in sketches) * bits
    pair_bits += 8 * VALUE_BYTES * len(sketches)
    most = max(min(len(sketch.left), len(sketch.right)) for sketch in sketches)
    return max(1, min(most, 8 * (bytes_per_document - SKETCH_BITS[bits]) // pair_bits))


class QuerySketches(NamedTuple):
    """Some queries, as they meet documents.

    Attributes:
        code: Of low-rank sketches `[Q, ks × ka]` of each layer; of others one `[Q, Σ KS × KA]`.
        rows: Of low-rank sketches: the directions in which each layer is compared, `[ks, KS]` and `[ka, KA]`; empty
            where all are.
    """

    code: list[Tensor]
    rows: list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Sketcher:
    """How the documents and queries of one index are sketched.

    Attributes:
        sketches: Projections of every layer.
        rank: Singular pairs of each layer to keep; 0 keeps the projected gradient itself.
        seed: Of where the search for singular vectors starts.
    """

    sketches: Sequence[LayerSketch]
    rank: int = 0
    seed: int = 0

    @property
    def numbers(self) -> int:
        """Numbers of a document's code."""
        if not self.rank:
            return sum(sketch.size for sketch in self.sketches)
        return self.rank * sum(len(sketch.left) + len(sketch.right) for sketch in self.sketches)

    def documents(
        self,
        model: LanguageModel,
        layers: Sequence[TrackedLayer],
        table: DocumentTable,
        columns: Columns,
    ) -> Sketches:
        """Sketches of one batch of documents.

        Raises:
            ComputeError: an activation or gradient is not finite.
        """
        parts: dict[int, tuple[Tensor, Tensor]] = {}

        def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
            parts[layer] = self.reduce(layer, a_BTI, s_BTO)

        batch = document_batch(table, columns, model.device)
        backward(model, layers, batch, reduce, what=describe_documents(table.take("id", columns)))
        return self.joined([parts[layer] for layer in range(len(layers))])

    def reduce(self, layer: int, a_BTI: Tensor, s_BTO: Tensor) -> tuple[Tensor, Tensor]:
        """What one layer adds to the sketches of a batch: numbers `[B, K]` and singular values `[B, rank]`."""
        sketch = self.sketches[layer]
        if not self.rank:
            code_BK = sketch_documents(s_BTO, a_BTI, sketch).float()
            return code_BK, code_BK.new_zeros(len(code_BK), 0)
        values_BR, u_BRS, v_BRA = low_rank(s_BTO, a_BTI, sketch, self._starts[layer], self.rank)
        sides = (u_BRS * len(sketch.left) ** 0.5, v_BRA * len(sketch.right) ** 0.5)
        return torch.cat([side.flatten(1) for side in sides], 1).float(), values_BR.float()

    @cached_property
    def _starts(self) -> list[Tensor]:
        """Where the search for singular vectors starts, through `left` of each layer: `[rank + OVERSAMPLED, O]`."""
        starts = []
        for layer, sketch in enumerate(self.sketches):
            generator = torch.Generator().manual_seed(self.seed + layer)
            start_RS = torch.randn(self.rank + OVERSAMPLED, len(sketch.left), generator=generator)
            starts.append(start_RS.to(sketch.left) @ sketch.left)
        return starts

    def joined(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Sketches:
        """The sketches of a batch from what its layers add, at norm 1 and with their norm."""
        code_NK, values_NR = (torch.cat(sides, 1).cpu() for sides in zip(*parts, strict=True))
        sized = values_NR if self.rank else code_NK
        norm_N1 = torch.linalg.vector_norm(sized, dim=1, keepdim=True)
        unit = sized / norm_N1.clamp(min=torch.finfo(torch.float32).tiny)
        return Sketches(
            code=np.asarray(code_NK if self.rank else unit),
            norm=np.asarray(norm_N1[:, 0]),
            spectrum=np.asarray((unit if self.rank else values_NR).half()),
        )

    def queries(
        self, gradients: Sequence[Tensor], part: float = 1.0, dtype: torch.dtype = torch.float32
    ) -> QuerySketches:
        """Sketches of preconditioned gradients.

        Args:
            part: Of the numbers of a gradient in which low-rank sketches are compared: the directions that these
                queries take most of. Comparing in all of them costs what exact products cost.
            dtype: In which they are compared.
        """
        sketches = [
            LayerSketch(
                *(
                    side.to(p_QOI)
                    for side in (sketch.left, sketch.right, sketch.query_left, sketch.query_right)
                )
            )
            for sketch, p_QOI in zip(self.sketches, gradients, strict=True)
        ]
        rows: list[tuple[Tensor, Tensor]] = []
        size = sum(sketch.size for sketch in sketches)
        compared = max(_LEAST_COMPARED, int(part * size))
        if self.rank and compared < size:
            rows = compared_rows(sketches, gradients, compared)
            sketches = [
                replace(
                    sketch, query_left=rows_S @ sketch.query_left, query_right=rows_A @ sketch.query_right
                )
                for sketch, (rows_S, rows_A) in zip(sketches, rows, strict=True)
            ]
        code = [
            sketch_queries(p_QOI, sketch).to(dtype) for p_QOI, sketch in zip(gradients, sketches, strict=True)
        ]
        code = code if self.rank else [torch.cat(code, 1)]
        return QuerySketches(code, [(rows_S.to(dtype), rows_A.to(dtype)) for rows_S, rows_A in rows])

    def products(self, queries: QuerySketches, stored: Sketches) -> npt.NDArray[np.float32]:
        """Dot products of query sketches with stored ones of norm 1, `[Q, N]`."""
        code_NK = torch.from_numpy(stored.code).to(queries.code[0])
        if not self.rank:
            return np.asarray((queries.code[0] @ code_NK.mT).float().cpu())
        values_NLR = torch.from_numpy(stored.spectrum.astype(np.float32)).to(code_NK)
        values_NLR = values_NLR.unflatten(1, (len(self.sketches), self.rank))
        product_QN = code_NK.new_zeros(len(queries.code[0]), len(code_NK), dtype=torch.float32)
        start = 0
        for number, (sketch, query_QK) in enumerate(zip(self.sketches, queries.code, strict=True)):
            kept_S, kept_A = len(sketch.left), len(sketch.right)
            middle, stop = start + self.rank * kept_S, start + self.rank * (kept_S + kept_A)
            values_NR1 = values_NLR[:, number, :, None] / (kept_S * kept_A) ** 0.5
            u_NRS = code_NK[:, start:middle].unflatten(1, (self.rank, kept_S)) * values_NR1
            v_NK = code_NK[:, middle:stop].contiguous()  # bfloat16 products of a view take ten times as long
            v_NRA = v_NK.unflatten(1, (self.rank, kept_A))
            if queries.rows:
                rows_S, rows_A = queries.rows[number]
                u_NRS, v_NRA = u_NRS @ rows_S.mT, v_NRA @ rows_A.mT
            size = max(1, _REBUILT // query_QK.shape[1])
            for at in range(0, len(code_NK), size):
                part = slice(at, at + size)
                product_QN[:, part] += query_QK @ torch.bmm(u_NRS[part].mT, v_NRA[part]).flatten(1).mT
            start = stop
        return np.asarray(product_QN.cpu())
