"""Build an index: one pass that sketches every document in the preconditioned metric, stored shard by shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from influence.config import IndexConfig, sketch_numbers
from influence.curvature.sketch import layer_metric
from influence.curvature.statistics import document_gradients
from influence.data.queries import queries_digest
from influence.data.query_tokens import encode_query
from influence.engine.batching import BLOCK_TOKENS, Budget, Columns, batches, blocks, pad
from influence.engine.identity import matching_layers, require_same_model
from influence.engine.index.projections import choose_projections, read_projections, write_projections
from influence.engine.index.sketching import VALUE_BYTES, Sketcher, fitting_rank
from influence.engine.loops import run_missing
from influence.engine.parallel.distributed import ALONE, World
from influence.engine.passes import backward, document_batch, idle_pass
from influence.engine.run import Run
from influence.engine.tokenised import Corpus
from influence.errors import InputError, StoreError
from influence.models.capture import require_no_vocabulary
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.progress import Progress
from influence.store.artefact import read_manifest
from influence.store.documents import DocumentTable
from influence.store.factors import Factors
from influence.store.index import (
    CODEC,
    PROJECTIONS,
    SHARDS,
    Sketches,
    SketchIndex,
    open_index,
    read_faiss,
    train_codec,
    unfinished_shard,
    whole_shard,
    write_faiss,
    write_shard,
)
from influence.store.journal import intact
from influence.types import Query

#: Documents drawn to fit the quantiser, and for the second moments of a data-dependent sketch.
SAMPLE = 256
#: Gradients of the sample held at a time.
_STACK = 8
#: Numbers of the sketches of one shard: 256 MB.
_SHARD_NUMBERS = 1 << 26


def build_index(
    model: LanguageModel,
    factors: Factors | None,
    corpus: Corpus,
    out: str | Path,
    *,
    queries: Sequence[Query] | None = None,
    config: IndexConfig = IndexConfig(),
    batch_tokens: int | None = None,
    world: World = ALONE,
) -> SketchIndex:
    """Sketch every document of a corpus, resuming a build that was killed.

    Args:
        model: Gives the documents' gradients; the model the Hessian was fitted on.
        factors: The fitted Hessian. None takes the identity: the index finds by gradient dot product.
        out: Folder of the index.
        queries: With kind `data`: queries like those to be asked, whose second moment chooses the projections. By
            default documents of the corpus stand in for them.
        config: Settings of the index.
        batch_tokens: Padded tokens of a batch, by default what suits the device; halves by itself when memory runs out.
        world: Processes that share the documents: `influence.processes`.

    Raises:
        InputError: settings that no index has, or more bytes than one may take.
        StoreError: the factors belong to another model, the corpus changed, or `out` belongs to another run.
        ComputeError: a value is not finite, or a single document does not fit into memory.
    """
    run = Run(world, temporary=("*.part", f"{SHARDS}/*.state.safetensors"))
    config = replace(config, max_length=model.fitting(config.max_length))
    folder = Path(out)
    if queries is not None and config.kind != "data":
        raise InputError(f"Queries have no effect on a {config.kind} sketch.", fix="Use kind data.")
    if factors is not None:
        require_same_model(factors, model)
    layers = matching_layers(factors, model)
    require_no_vocabulary(layers, "An index")
    surveyed = run.survey(corpus, model)
    identity = {
        **asdict(config),
        "layers": [layer.name for layer in layers],
        "model": model.fingerprint,
        "tokenizer": model.tokenizer_fingerprint,
        "dtype": model.precision,
        "corpus": surveyed.fingerprint,
        "queries": queries_digest(queries) if queries is not None else None,
        "hessian": factors.identity if factors else "identity",
    }
    _check_corpus(folder, surveyed.fingerprint)
    if run.claim(folder, "index", identity):
        table = run.tokenise(corpus, surveyed, model, config)
        budget = run.budget(model, table, batch_tokens)
        build = _Build(folder, model, layers, table, config, budget, world)
        sketcher = build.sketcher(factors, queries)
        build.run(sketcher)
        code_bytes = int(read_faiss(folder / CODEC).sa_code_size())
        run.finish(
            model,
            budget,
            hessian_folder=str(factors.folder) if factors else None,
            numbers=sketcher.numbers,
            rank=sketcher.rank,
            sizes={
                a.name: [len(b.left), len(b.right)] for a, b in zip(layers, sketcher.sketches, strict=True)
            },
            bytes_per_document=code_bytes + VALUE_BYTES * sketcher.rank * len(layers),
        )
    return open_index(folder)


def _check_corpus(folder: Path, fingerprint: str) -> None:
    manifest = read_manifest(folder)
    if manifest is None or manifest["kind"] != "index" or manifest["config"].get("corpus") == fingerprint:
        return
    raise StoreError(
        f"The corpus changed since the index in {folder} was begun.",
        have="other ids, sources or texts",
        fix="Build an index of it in another --out, or delete the folder.",
    )


@dataclass(frozen=True)
class _Build:
    """The pass over the documents of a folder."""

    folder: Path
    model: LanguageModel
    layers: Sequence[TrackedLayer]
    table: DocumentTable
    config: IndexConfig
    budget: Budget
    world: World

    def sketcher(self, factors: Factors | None, queries: Sequence[Query] | None) -> Sketcher:
        """The projections of the index, chosen now or read from before a kill, and the rank that fits its bytes."""
        config, low_rank = self.config, self.config.kind == "lowrank"
        most = sketch_numbers(config.bytes - VALUE_BYTES * len(self.layers) * low_rank, config.bits)
        if self.is_to_make(self.folder / PROJECTIONS):
            metrics = [
                layer_metric(factors.layer(layer.name) if factors else None, layer.shape, config.damping)
                for layer in self.layers
            ]
            gradients = _gradients(self, queries)
            sketches = choose_projections(config.kind, metrics, most, config.seed, gradients)
            if self.world.first:
                write_projections(self.folder, self.layers, sketches)
        self.world.barrier([self.folder / PROJECTIONS])
        sketches = read_projections(self.folder, self.layers, self.model)
        rank = fitting_rank(sketches, config.bytes, config.bits) if low_rank else 0
        return Sketcher(sketches, rank, config.seed)

    def is_to_make(self, file: Path) -> bool:
        """Whether this process takes part in making a file that is not there yet; the first writes it."""
        missing = self.world.broadcast(self.world.first and not intact(file))
        return missing and (self.world.first or self.world.fsdp)

    def drawn(self) -> Columns:
        """The sample of documents, in corpus order."""
        generator = np.random.default_rng(self.config.seed)
        return np.sort(generator.choice(len(self.table), min(SAMPLE, len(self.table)), replace=False))

    def run(self, sketcher: Sketcher) -> None:
        """Fit the quantiser, then sketch all shards that are not stored yet."""
        if self.is_to_make(self.folder / CODEC):
            drawn = self.drawn()
            longest_first = drawn[np.argsort(-self.table.lengths[drawn], kind="stable")]
            drawn_batches = batches(longest_first, self.table.lengths, self.budget.batch_tokens)
            sketches = self.sketch(drawn_batches, sketcher)
            if self.world.first:
                write_faiss(self.folder / CODEC, train_codec(sketches.code, self.config.bits))
        self.world.barrier([self.folder / CODEC])
        codec = read_faiss(self.folder / CODEC)
        (self.folder / SHARDS).mkdir(exist_ok=True)
        lengths = self.table.lengths
        rows = max(1, _SHARD_NUMBERS // codec.d)
        whole_blocks = blocks(lengths, BLOCK_TOKENS)
        plan = [block[at : at + rows] for block in whole_blocks for at in range(0, len(block), rows)]
        run_missing(
            plan,
            lengths,
            self.budget,
            self.world,
            whole=lambda number: whole_shard(self.folder, number),
            part=lambda number: unfinished_shard(self.folder, number),
            groups=lambda columns: [[batch] for batch in batches(columns, lengths, self.budget.batch_tokens)],
            run=lambda group: self.sketch(group, sketcher)._asdict(),
            write=lambda number, arrays: write_shard(
                self.folder, number, codec, plan[number], Sketches(**arrays)
            ),
            idle=lambda: idle_pass(self.model, self.layers, self.table),
            title="sketching",
        )
        self.world.barrier()

    def sketch(self, plan: Iterable[Columns], sketcher: Sketcher) -> Sketches:
        """Sketches of the documents of some batches."""
        parts = [sketcher.documents(self.model, self.layers, self.table, rows) for rows in plan]
        return Sketches(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _gradients(build: _Build, queries: Sequence[Query] | None) -> Iterator[list[Tensor]]:
    """Gradients of the queries, or of the sample of documents, a few at a time: `[N, O, I]` of each layer."""
    device = build.model.device
    if queries is not None:
        encoded = [encode_query(build.model.tokenizer, query, build.config.max_length) for query in queries]
        stacks = [encoded[start : start + _STACK] for start in range(0, len(encoded), _STACK)]
        count = len(encoded)
        stacked = (pad([ids for ids, _ in stack], device, [first for _, first in stack]) for stack in stacks)
    else:
        drawn = build.drawn()
        count = len(drawn)
        parts = (drawn[start : start + _STACK] for start in range(0, len(drawn), _STACK))
        stacked = (document_batch(build.table, part, device) for part in parts)
    gradients: dict[int, Tensor] = {}

    def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        gradients[layer] = document_gradients(s_BTO, a_BTI).float()

    with Progress("second moments", count, unit="gradient") as bar:
        for batch in stacked:
            backward(build.model, build.layers, batch, reduce, what="the gradients that choose projections")
            yield [gradients[layer] for layer in range(len(build.layers))]
            bar.advance(len(batch.input_ids))
