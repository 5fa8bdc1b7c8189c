"""What a run will take, from a rehearsal: the passes themselves, on documents drawn from the corpus."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from influence.blocks import block_sizes
from influence.config import FitConfig, ScoreConfig
from influence.data.tokens import TokenReport, encode_documents
from influence.engine.batching import usual_batch_tokens
from influence.engine.fit import Fit
from influence.engine.matching import matching_layers
from influence.engine.memory import PeakMemory
from influence.engine.passes import Budget
from influence.engine.precondition import precondition_queries, query_gradients
from influence.engine.prepare import Corpus
from influence.engine.score import Scan
from influence.errors import InputError
from influence.models.layers import TrackedLayer, find_layers
from influence.models.load import LanguageModel
from influence.store.documents import FILE, DocumentTable, write_documents
from influence.store.factors import Factors
from influence.types import Document, Query

#: Documents drawn to count tokens by, and batches of them that go through each pass.
_DRAWN = 1000
_BATCHES = 16
#: Queries of the two rehearsals of a score, between and beyond which time and memory are taken as straight lines.
_FEW, _MORE = 4, 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will take. Bytes; seconds on this machine as busy as it is now.

    Attributes:
        documents: Of the corpus that the run uses.
        tokens: Of all of them, estimated from documents drawn.
        passes: Over the documents.
        seconds: By part, in the order they come.
        host: Most memory of the process; None where the system does not say.
        device: Most memory on the GPU; None without one.
        disk: Of the folder at its largest.
    """

    documents: int
    tokens: int
    passes: int
    seconds: dict[str, float]
    host: int | None
    device: int | None
    disk: int

    def text(self) -> str:
        """One line for each."""
        parts = ", ".join(f"{name} {_time(seconds)}" for name, seconds in self.seconds.items())
        memory = {"memory": self.host, "GPU memory": self.device}
        lines = [
            f"documents   {self.documents:,}, about {self.tokens:,} tokens",
            f"passes      {self.passes}",
            f"time        about {_time(sum(self.seconds.values()))}: {parts}",
            *(f"{name:12}about {size / 1e6:,.0f} MB" for name, size in memory.items() if size),
            f"disk        about {self.disk / 1e6:,.0f} MB",
        ]
        return "\n".join(lines)


def plan_fit(
    model: LanguageModel, corpus: Corpus, config: FitConfig, batch_tokens: int | None = None
) -> Plan:
    """What `fit_hessian` will take."""
    layers = find_layers(model.model, config.layers)
    budget = Budget(batch_tokens or usual_batch_tokens(model.device))
    with _rehearsed(model, corpus, config.max_length, config.windows, budget) as drawn:
        fit = Fit(drawn.folder, model, layers, drawn.table, config, budget)
        peak = PeakMemory(model.device)
        fit.covariances()  # the first pass of a process is slower
        for path in drawn.folder.glob("*covariance*"):
            path.unlink()
        covariances = _seconds(fit.covariances)
        eigenbases = _seconds(fit.eigenbases)  # of all layers, as in the run
        eigenvalues = _seconds(fit.corrected_eigenvalues)
        host, device = peak.read()
    share = min(1.0, config.documents / drawn.documents)
    tokens = drawn.tokens * share
    sides = [
        size
        for layer in layers
        for side in layer.shape
        for size in block_sizes(side, config.covariance_blocks)
    ]
    pairs = sum(outputs * inputs for outputs, inputs in (layer.shape for layer in layers))
    return Plan(
        documents=round(drawn.documents * share),
        tokens=round(tokens),
        passes=2,
        seconds={
            "covariances": covariances * tokens / drawn.rehearsed,
            "eigenbases": eigenbases,
            "eigenvalues": eigenvalues * tokens / drawn.rehearsed,
        },
        host=host,
        device=device,
        # covariances and eigenbases of both sides, and eigenvalues with what a resumed run needs of them
        disk=4 * (2 * sum(side**2 for side in sides) + 2 * pairs) + round(drawn.bytes * share),
    )


def plan_score(
    model: LanguageModel,
    factors: Factors | None,
    queries: Sequence[Query],
    corpus: Corpus,
    config: ScoreConfig,
    batch_tokens: int | None = None,
) -> Plan:
    """What `score` will take, exact queries assumed."""
    layers = matching_layers(factors, model)
    budget = Budget(batch_tokens or usual_batch_tokens(model.device))
    with _rehearsed(model, corpus, config.max_length, config.windows, budget) as drawn:
        runs = [
            _Scored.of(model, layers, factors, list(queries[:count]), drawn, config, budget)
            for count in (_FEW, _FEW, _MORE)  # the first is slower, and not counted
        ][1:]
    asked = [min(count, len(queries)) for count in (_FEW, _MORE)]

    def at_all(values: Sequence[float]) -> float:
        """On the straight line through the two rehearsals."""
        slope = (values[1] - values[0]) / (asked[1] - asked[0]) if asked[1] > asked[0] else 0.0
        return values[1] + max(slope, 0.0) * (len(queries) - asked[1])

    hosts, devices = ([getattr(run, name) for run in runs] for name in ("host", "device"))
    return Plan(
        documents=drawn.documents,
        tokens=round(drawn.tokens),
        passes=1,
        seconds={
            "queries": at_all([run.queries for run in runs]),
            "scan": at_all([run.scan for run in runs]) * drawn.tokens / drawn.rehearsed,
        },
        host=None if None in hosts else round(at_all(hosts)),
        device=None if None in devices else round(at_all(devices)),
        disk=round(drawn.bytes) + 2 * 4 * (len(queries) + 1) * drawn.documents,  # in blocks, and joined
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """Seconds and most bytes of a rehearsed score."""

    queries: float
    scan: float
    host: int | None
    device: int | None

    @staticmethod
    def of(
        model: LanguageModel,
        layers: Sequence[TrackedLayer],
        factors: Factors | None,
        queries: Sequence[Query],
        drawn: _Drawn,
        config: ScoreConfig,
        budget: Budget,
    ) -> _Scored:
        """Score the drawn documents against these queries."""
        peak = PeakMemory(model.device)
        started = time.perf_counter()
        gradients = query_gradients(model, layers, queries, config.max_length, budget)
        prepared = precondition_queries(gradients, layers, factors, config.damping, model.dtype)
        queries_seconds = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as name:
            scan = Scan(Path(name), model, layers, drawn.table, prepared.products(), budget)
            scan_seconds = _seconds(scan.run)
        return _Scored(queries_seconds, scan_seconds, *peak.read())


@dataclass(slots=True)
class _Drawn:
    """Documents drawn from a corpus.

    Attributes:
        documents, tokens, bytes: Of the whole corpus as a run would store it; tokens and bytes estimated.
        table: Some of those drawn, for the rehearsal, of `rehearsed` tokens.
    """

    folder: Path
    documents: int
    tokens: float = 0.0
    bytes: float = 0.0
    rehearsed: int = 0
    table: DocumentTable = field(init=False)


@contextmanager
def _rehearsed(
    model: LanguageModel, corpus: Corpus, max_length: int, windows: bool, budget: Budget
) -> Iterator[_Drawn]:
    """Documents drawn from the corpus in a folder that is removed afterwards."""
    documents, rows = _draw(corpus)
    encoded = list(encode_documents(iter(rows), model.tokenizer, max_length, windows, TokenReport()))
    if not encoded:
        raise InputError(f"None of {len(rows)} documents drawn from {corpus.name} has a text.")
    each = documents / len(rows)
    with tempfile.TemporaryDirectory() as name:
        drawn = _Drawn(Path(name), documents, tokens=each * sum(len(tokens) for _, tokens in encoded))
        write_documents(drawn.folder, iter(encoded))
        drawn.bytes = each * (drawn.folder / FILE).stat().st_size
        taken: list[tuple[Document, list[int]]] = []
        while drawn.rehearsed < _BATCHES * budget.batch_tokens and len(taken) < len(encoded):
            taken.append(encoded[len(taken)])
            drawn.rehearsed += len(taken[-1][1])
        write_documents(drawn.folder, iter(taken))
        drawn.table = DocumentTable(drawn.folder)
        yield drawn


def _draw(corpus: Corpus) -> tuple[int, list[Document]]:
    """How many documents there are, and some of them in random order (reservoir sampling)."""
    generator = random.Random(0)
    count = 0
    kept: list[Document] = []
    for document in corpus:
        count += 1
        if len(kept) < _DRAWN:
            kept.append(document)
        elif (place := generator.randrange(count)) < _DRAWN:
            kept[place] = document
    generator.shuffle(kept)
    return count, kept


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
