"""The queries of a score in a rehearsal: some are prepared, and as many as there are meet the documents."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from influence.config import ScoreConfig
from influence.curvature.low_rank import joined
from influence.data.query_tokens import encode_query
from influence.engine.batching import Budget, PeakMemory, return_freed_memory
from influence.engine.compress import GROUP_BYTES, compress_queries
from influence.engine.plan import rehearsal
from influence.engine.plan.rehearsal import Drawn, seconds
from influence.engine.products import DenseProducts, LayerProducts, LowRankProducts, QueryProducts
from influence.engine.query import QueryGradients, precondition_queries, query_gradients
from influence.engine.score import Scan
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.store.documents import DocumentTable
from influence.store.factors import Factors
from influence.types import Query

#: Queries prepared in the two rehearsals, beyond which time is taken as a straight line.
_FEW, _MORE = 4, 16
#: Bytes that dense queries may take in a rehearsal; one query may take more.
_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Peak:
    """Most memory in a part of the rehearsal, bytes, and what it takes more with all queries."""

    host: int | None
    device: int | None
    growth: int


@dataclass(frozen=True)
class QueryRehearsal:
    """What `score` does with its queries; the arguments are those of `score`."""

    model: LanguageModel
    asked: LanguageModel
    layers: Sequence[TrackedLayer]
    query_layers: Sequence[TrackedLayer]
    queries: Sequence[Query]
    factors: Factors | None
    config: ScoreConfig
    budget: Budget

    def run(self, drawn: Drawn) -> tuple[float, float, list[Peak]]:
        """Seconds of preparing all queries and of scanning all documents, and the memory of each part."""
        count = self._prepared_at_once
        few = max(1, count // (_MORE // _FEW))
        self._prepare(few, drawn.more.table)  # the first is slower
        fewer, _, _ = self._prepare(few, drawn.more.table)
        more, products, peaks = self._prepare(count, drawn.more.table)
        preparing = _line((few, fewer), (count, more), len(self.queries))
        met = self._expanded(products, self._met_at_once(products))
        growth = _bytes(products) * len(self.queries) // count - _bytes(met)
        del products
        return_freed_memory()
        peak = PeakMemory(self.model.device)
        scanning = self._scan_seconds(met, drawn)
        return preparing, scanning, [*peaks, Peak(*peak.read(), growth)]

    @property
    def _prepared_at_once(self) -> int:
        most = min(_MORE, len(self.queries))
        if self.config.query_error is not None:
            return most
        return max(1, min(most, _BYTES // self._dense_bytes))

    @property
    def _dense_bytes(self) -> int:
        """Of one dense query."""
        return self.model.dtype.itemsize * sum(layer.shape[0] * layer.shape[1] for layer in self.layers)

    def _prepare(self, count: int, table: DocumentTable) -> tuple[float, QueryProducts, list[Peak]]:
        """Gradients of some queries, short and long, preconditioned or compressed."""
        lengths = [
            len(encode_query(self.asked.tokenizer, query, self.config.max_length)[0])
            for query in self.queries
        ]
        order = np.argsort(lengths, kind="stable")
        places = ((np.arange(count) + 0.5) * len(order) / count).astype(int)
        some = [self.queries[i] for i in order[places]]
        more_tokens = sum(lengths) - sum(lengths[i] for i in order[places])
        more_queries = len(lengths) - count
        if self.config.query_error is not None and self.factors is not None:
            peak, started = PeakMemory(self.model.device), rehearsal.clock()
            products, _ = compress_queries(
                self.model,
                self.asked,
                self.layers,
                self.query_layers,
                some,
                self.factors,
                self.config,
                table,
                self.budget,
            )
            taken = rehearsal.clock() - started
            waiting = min(more_tokens * self._token_bytes(0), GROUP_BYTES)  # of one group of queries
            return taken, products, [Peak(*peak.read(), waiting + more_queries * _bytes(products) // count)]
        peak, started = PeakMemory(self.model.device), rehearsal.clock()
        gradients = query_gradients(self.asked, self.query_layers, some, self.config.max_length, self.budget)
        first = Peak(*peak.read(), more_tokens * self._token_bytes(0))
        peak = PeakMemory(self.model.device)
        growth = self._preconditioning_growth(gradients, more_queries, more_tokens)
        products = precondition_queries(
            gradients, self.layers, self.factors, self.config.damping, self.model.dtype
        ).products()
        return rehearsal.clock() - started, products, [first, Peak(*peak.read(), growth)]

    def _token_bytes(self, first: int) -> int:
        """That a query's token takes in the layers from `first` on."""
        return self.asked.dtype.itemsize * sum(sum(layer.shape) for layer in self.layers[first:])

    def _preconditioning_growth(self, gradients: QueryGradients, queries: int, tokens: int) -> int:
        """Bytes that so many more queries take at the layer where they take most."""
        kept, exact = self.model.dtype.itemsize, gradients.nll.element_size()
        before, most = 0, 0
        for index, layer in enumerate(self.layers):
            size = layer.shape[0] * layer.shape[1]
            now = size * (exact + (kept if kept != exact else 0))
            most = max(most, queries * (before + now) + tokens * self._token_bytes(index))
            before += kept * size
        return most

    def _met_at_once(self, products: QueryProducts) -> int:
        if self.config.query_error is not None:
            return len(self.queries)
        shapes = {layer.shape for layer in self.layers}
        each = self.model.dtype.itemsize * sum(outputs * inputs for outputs, inputs in shapes)
        return min(len(self.queries), max(len(products.nll), _BYTES // each))

    def _expanded(self, products: QueryProducts, count: int) -> QueryProducts:
        """The products of so many queries, those that are there again and again; dense ones for each shape once."""
        rows = np.arange(count) % len(products.nll)
        dense: dict[torch.Size, LayerProducts] = {}
        layers: list[LayerProducts] = []
        for layer in products.layers:
            if isinstance(layer, DenseProducts):
                shape = layer.p_QOI.shape[1:]
                if shape not in dense:
                    dense[shape] = DenseProducts(layer.p_QOI[rows])
                layers.append(dense[shape])
            elif isinstance(layer, LowRankProducts):
                each = layer.queries.apart()
                layers.append(LowRankProducts(joined([each[row] for row in rows])))
        return QueryProducts(layers, products.nll[rows])

    def _scan_seconds(self, met: QueryProducts, drawn: Drawn) -> float:
        def scan(products: QueryProducts, table: DocumentTable) -> float:
            with tempfile.TemporaryDirectory() as name:
                return seconds(Scan(Path(name), self.model, self.layers, table, products, self.budget).run)

        scan(met, drawn.few.table)
        count = len(met.nll)
        few, more = scan(met, drawn.few.table), scan(met, drawn.more.table)
        whole = drawn.at_all_tokens(few, more)
        if count == len(self.queries) or not drawn.more.tokens:
            return whole
        half = scan(self._expanded(met, count // 2), drawn.more.table)
        beyond = _line((count // 2, half), (count, more), len(self.queries)) - more
        return whole + beyond * drawn.tokens / drawn.more.tokens


def _bytes(products: QueryProducts) -> int:
    """Of all tensors, each counted once."""
    dense = {
        layer.p_QOI.data_ptr(): layer.p_QOI for layer in products.layers if isinstance(layer, DenseProducts)
    }
    low_rank = [layer.queries for layer in products.layers if isinstance(layer, LowRankProducts)]
    return sum(tensor.nbytes for tensor in dense.values()) + sum(queries.nbytes for queries in low_rank)


def _line(few: tuple[int, float], more: tuple[int, float], at: int) -> float:
    """The value at `at` on the line through two points, which does not fall."""
    steps = more[0] - few[0]
    if steps == 0:
        return more[1] * at / more[0]
    return more[1] + max(0.0, more[1] - few[1]) * (at - more[0]) / steps
