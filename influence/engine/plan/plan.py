"""What a run will take, from a rehearsal: the passes themselves, on documents drawn from the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from influence.blocks import block_sizes
from influence.config import FitConfig, ScoreConfig
from influence.engine.batching import Budget, PeakMemory, most_memory, return_freed_memory, usual_batch_tokens
from influence.engine.fit_parts import Fit, require_something_to_share
from influence.engine.identity import checked_layers, run_identity
from influence.engine.plan.rehearsal import drawn_documents, seconds
from influence.engine.plan.rehearsed_queries import QueryRehearsal
from influence.engine.reuse import Scored, require_same_but_corpus
from influence.engine.tokenised import Corpus, drawn_rows
from influence.errors import InputError
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.selection import find_layers
from influence.store.factors import Factors
from influence.store.pieces import Shard
from influence.store.scores import QUERIES, Scores, write_query_records
from influence.types import Query


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will take. Bytes; seconds on this machine as busy as it is now, from the moment the model is loaded.

    Attributes:
        documents: That the run stores.
        scored: Of these, what an earlier run scored.
        tokens: Of all others, estimated from documents drawn.
        passes: Over them.
        seconds: By part, in the order they come.
        host: Most memory of the process, what loading the model took included; None where the system does not say.
        device: Most memory on the GPU; None without one.
        disk: Of the folder at its largest.
    """

    documents: int
    scored: int
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
        already = f" ({self.scored:,} scored already)" if self.scored else ""
        lines = [
            f"documents   {self.documents:,}{already}, about {self.tokens:,} tokens",
            f"passes      {self.passes}",
            f"time        about {_time(sum(self.seconds.values()))}: {parts}",
            *(f"{name:12}about {size / 1e6:,.0f} MB" for name, size in memory.items() if size),
            f"disk        about {self.disk / 1e6:,.0f} MB",
        ]
        return "\n".join(lines)


def plan_fit(
    model: LanguageModel,
    corpus: Corpus,
    *,
    config: FitConfig = FitConfig(),
    batch_tokens: int | None = None,
) -> Plan:
    """What `fit_hessian` will take.

    Raises:
        InputError: the backend is another program.
    """
    if config.backend != "influence":
        raise InputError("A dry run rehearses this program's own fit only.", have=f"backend {config.backend}")
    loading = most_memory()
    layers = find_layers(model.model, config.layers, config.exclude_layers)
    require_something_to_share(config, layers)
    config = replace(config, max_length=model.fitting(config.max_length))
    budget = Budget(batch_tokens or usual_batch_tokens(model.device))
    with drawn_documents(
        model,
        corpus,
        config.max_length,
        config.windows,
        budget.batch_tokens,
        lambda size: drawn_rows(size, config.documents, config.seed),
    ) as drawn:
        more = Fit(drawn.folder, model, layers, drawn.more.table, config, budget)
        few = replace(more, table=drawn.few.table)
        peak = PeakMemory(model.device)
        _timed(few, "covariances")  # the first pass of a process is slower
        covariances = _timed(few, "covariances"), _timed(more, "covariances", keep=True)
        eigenbases = seconds(more.eigenbases)  # of all layers, as in the run
        eigenvalues = _timed(few, "corrected_eigenvalues"), _timed(more, "corrected_eigenvalues")
        host, device = peak.read()
        return Plan(
            documents=drawn.documents,
            scored=0,
            tokens=round(drawn.tokens),
            passes=2,
            seconds={
                "reading": drawn.reading,
                "covariances": drawn.at_all_tokens(*covariances),
                "eigenbases": eigenbases,
                "eigenvalues": drawn.at_all_tokens(*eigenvalues),
            },
            host=_most([loading, host]),
            device=device,
            disk=round(drawn.bytes) + more.dtype.itemsize * _numbers_stored(layers, config),
        )


def _timed(fit: Fit, stage: str, keep: bool = False) -> float:
    """Seconds of a stage of a fit, whose result then goes."""
    return_freed_memory()
    before = set(fit.folder.iterdir())
    taken = seconds(getattr(fit, stage))
    for path in () if keep else set(fit.folder.iterdir()) - before:
        path.unlink()
    return taken


def _numbers_stored(layers: Sequence[TrackedLayer], config: FitConfig) -> int:
    """Numbers in the folder of a fit when it is largest."""
    bases = {layer.basis(config.expert_covariances == "shared"): layer for layer in layers}
    widths = [
        width
        for layer in bases.values()
        for side in layer.covariances.values()
        for width in block_sizes(side, config.covariance_blocks)
    ]
    covariances, eigenvalues = sum(width**2 for width in widths), sum(widths)
    lam = sum(outputs * inputs for outputs, inputs in (layer.shape for layer in layers))
    joining = 3 * covariances + 2 * eigenvalues  # the eigenbases of all layers, and before that of each
    ending = 2 * covariances + eigenvalues + 2 * lam
    return max(joining, ending)


def plan_score(
    model: LanguageModel,
    factors: Factors | None,
    queries: Sequence[Query],
    corpus: Corpus,
    *,
    query_model: LanguageModel | None = None,
    other_checkpoint: bool = False,
    shard: Shard | None = None,
    reuse: Scores | None = None,
    config: ScoreConfig = ScoreConfig(),
    batch_tokens: int | None = None,
) -> Plan:
    """What `score` will take, with the same arguments; what it refuses is refused."""
    loading = most_memory()
    query_model = query_model or model
    config = replace(config, max_length=query_model.fitting(model.fitting(config.max_length)))
    layers, query_layers = checked_layers(model, query_model, factors, queries, config, other_checkpoint)
    if reuse:
        identity = run_identity(model, query_model, layers, factors, queries, config)
        piece = {"piece": f"{shard.number}/{shard.count}"} if shard else {}
        require_same_but_corpus(reuse, identity | piece)
    budget, cuda = Budget(batch_tokens or usual_batch_tokens(model.device)), model.device.type == "cuda"
    with drawn_documents(
        model,
        corpus,
        config.max_length,
        config.windows,
        budget.batch_tokens,
        lambda size: shard.rows(size) if shard else None,
        Scored(reuse, model.tokenizer, config.max_length, config.windows) if reuse else None,
    ) as drawn:
        rehearsal = QueryRehearsal(model, query_model, layers, query_layers, queries, factors, config, budget)
        preparing, scanning, peaks = rehearsal.run(drawn)
        write_query_records(drawn.folder, queries)
        value = torch.promote_types(model.dtype, torch.float32).itemsize
        rows = value * (len(queries) + 1)
        blocks = (rows + 8) * (drawn.documents - drawn.scored)
        joined = rows * drawn.documents + value * len(queries)
        return Plan(
            documents=drawn.documents,
            scored=drawn.scored,
            tokens=round(drawn.tokens),
            passes=1,
            seconds={"reading": drawn.reading, "queries": preparing, "scan": scanning},
            host=_most(
                [loading, *(peak.host and peak.host + (0 if cuda else peak.growth) for peak in peaks)]
            ),
            device=_most([peak.device and peak.device + peak.growth for peak in peaks]),
            disk=round(drawn.bytes) + blocks + joined + (drawn.folder / QUERIES).stat().st_size,
        )


def _most(sizes: Sequence[int | None]) -> int | None:
    return max((size for size in sizes if size is not None), default=None)


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
