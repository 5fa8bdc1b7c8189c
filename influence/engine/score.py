"""Score a corpus against all queries in one scan: `score[q, d] = Σ_layers <P_q, G_d>`, and `‖G_d‖₂`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from influence.config import ScoreConfig
from influence.curvature.ekfac import Inverse
from influence.curvature.low_rank import squared_norms
from influence.engine.batching import BLOCK_TOKENS, Budget, Columns, batches, blocks
from influence.engine.compress import compress_queries
from influence.engine.identity import checked_layers, run_identity
from influence.engine.loops import Arrays, run_missing
from influence.engine.parallel.distributed import ALONE, World
from influence.engine.passes import (
    backward,
    describe_documents,
    document_batch,
    idle_pass,
)
from influence.engine.products import DenseProducts, QueryProducts, TokenPair
from influence.engine.query import precondition_queries, query_gradients
from influence.engine.reuse import Reused, reusable
from influence.engine.run import Run
from influence.engine.tokenised import Corpus
from influence.errors import ComputeError, InputError, StoreError
from influence.files import whole_file
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.store.arrays import flush_arrays, map_arrays, write_arrays
from influence.store.documents import DocumentTable
from influence.store.factors import Factors
from influence.store.journal import intact
from influence.store.pieces import KIND as PIECE
from influence.store.pieces import Shard, open_piece
from influence.store.scores import ARRAYS, SELF, Scores, allocate_scores, open_scores, write_query_records
from influence.types import Query, VocabularyTokens

#: On a CPU: batches small enough for its caches, whose documents share one reading of the large `P_q`.
_BATCHES_A_PRODUCT = 2


def score(
    model: LanguageModel,
    factors: Factors | None,
    queries: Sequence[Query],
    corpus: Corpus,
    out: str | Path,
    *,
    query_model: LanguageModel | None = None,
    completions_by: str | None = None,
    other_checkpoint: bool = False,
    shard: Shard | None = None,
    reuse: Scores | None = None,
    config: ScoreConfig = ScoreConfig(),
    batch_tokens: int | None = None,
    world: World = ALONE,
) -> Scores:
    """Influence of every document on every query, resuming a run that was killed.

    Positive: more weight on the document raises log p(completion | prompt). Gradients are of NLLs summed over
    tokens; the query's counts completion tokens only.

    Args:
        model: Gives the documents' gradients; the model the Hessian was fitted on.
        factors: The fitted Hessian. None takes the identity: scores are gradient dot products, the baseline.
        query_model: Gives the queries' gradients instead, such as the instruction-tuned model that wrote the
            completions. Same architecture.
        completions_by: Name of the model that wrote the completions, for the record; None: not known.
        out: Folder of the score store.
        other_checkpoint: The Hessian may be of another checkpoint of the model.
        shard: Score this piece of the corpus only; `influence.engine.parallel.merge.merge` joins the pieces.
        reuse: Scores of an earlier run that differs in the corpus only: documents that it scored are not scored again.
        config: Settings of the scores.
        batch_tokens: Padded tokens of a batch, by default what suits the device; halves by itself when memory runs out.
        world: Processes that share the documents: `influence.processes`.

    Raises:
        InputError: no queries, or one that does not fit.
        StoreError: the factors belong to another model, or `out` to another run.
        ComputeError: a value is not finite, or a single document does not fit into memory.
    """
    run = Run(world, temporary=("blocks", "*.state.safetensors", "*.part"))
    folder = Path(out)
    query_model = query_model or model
    config = replace(config, max_length=query_model.fitting(model.fitting(config.max_length)))
    layers, query_layers = checked_layers(model, query_model, factors, queries, config, other_checkpoint)
    surveyed = run.survey(corpus, model)
    identity = run_identity(model, query_model, layers, factors, queries, config)
    identity["corpus"] = surveyed.fingerprint
    rows = shard.rows(surveyed.documents) if shard else None
    if rows is not None:
        identity["piece"] = {"first": rows.start, "end": rows.stop, "of": surveyed.documents}
    if run.claim(folder, "scores" if rows is None else PIECE, identity):
        if world.first:
            write_query_records(folder, queries)
        table = run.tokenise(corpus, surveyed, model, config, rows=rows)
        budget = run.budget(model, table, batch_tokens)
        facts: dict[str, Any] = {}
        if config.query_error is None:
            gradients = query_gradients(query_model, query_layers, queries, config.max_length, budget)
            products = precondition_queries(
                gradients,
                layers,
                factors,
                config.damping,
                model.dtype,
                folder if world.first else None,
            ).products()
        elif factors is not None:
            products, compression = compress_queries(
                model, query_model, layers, query_layers, queries, factors, config, table, budget
            )
            facts["compression"] = asdict(compression)
        known = reusable(table, reuse, run.manifest["config"]) if reuse else None
        if known:
            facts |= {"reused": len(known.here), "reused_from": str(known.scores.folder)}
        inverses = _inverses(layers, factors, config, products.nll) if config.self_influence else None
        Scan(folder, model, layers, table, products, budget, known, world, inverses).run()
        facts |= {"query_model_name": query_model.name, "completions_by": completions_by}
        facts["hessian_folder"] = str(factors.folder) if factors else None
        run.finish(model, budget, **facts)
    return open_scores(folder) if rows is None else open_piece(folder).scores


def _inverses(
    layers: Sequence[TrackedLayer], factors: Factors | None, config: ScoreConfig, like: Tensor
) -> list[Inverse | None]:
    """`(H + damping)⁻¹` of each layer; None of the identity.

    Raises:
        InputError: a layer is a weight over the vocabulary, whose gradient of one document is not formed.
    """
    wide = [layer.name for layer in layers if layer.vocabulary is not None]
    if wide:
        raise InputError(
            "--self is not computed for weights over the vocabulary.",
            have=", ".join(wide),
            fix="Take a Hessian without the output head and the embedding.",
        )
    if factors is None:
        return [None] * len(layers)
    return [Inverse.of(factors.layer(layer.name), config.damping, like) for layer in layers]


@dataclass(frozen=True)
class Scan:
    """One pass over the documents of a folder for all queries.

    Attributes:
        inverses: Of each layer, where the influence of documents on themselves is computed as well.
    """

    folder: Path
    model: LanguageModel
    layers: Sequence[TrackedLayer]
    table: DocumentTable
    queries: QueryProducts
    budget: Budget
    known: Reused | None = None
    world: World = ALONE
    inverses: Sequence[Inverse | None] | None = None

    def run(self) -> None:
        """Score all blocks that are not stored yet, dealt out among the processes, then join them."""
        (self.folder / "blocks").mkdir(exist_ok=True)
        lengths = self.table.lengths
        new = np.arange(len(lengths))
        if self.known:
            new = np.setdiff1d(new, self.known.here)
        plan = [new[block] for block in blocks(lengths[new], BLOCK_TOKENS)] if len(new) else []
        files = [self._block(number) for number in range(len(plan))]
        workspace = self.queries.workspace(self.model.dtype)
        run_missing(
            plan,
            lengths,
            self.budget,
            self.world,
            whole=lambda number: intact(files[number]),
            part=lambda number: files[number].with_suffix(".state.safetensors"),
            groups=self._groups,
            run=lambda group: self._run_group(group, workspace),
            write=lambda number, rows: self._write_block(files[number], plan[number], rows),
            idle=lambda: idle_pass(self.model, self.layers, self.table),
            title="scoring",
        )
        self.world.barrier(files if self.world.first else ())
        if self.world.first:
            self._join(plan)

    def _block(self, number: int) -> Path:
        return self.folder / "blocks" / f"{number:06d}.safetensors"

    def _write_block(self, file: Path, columns: Columns, rows: Arrays) -> None:
        write_arrays(file, {**rows, "dot": rows["dot"].T, "column": columns})

    def _groups(self, columns: Columns) -> list[list[Columns]]:
        """The batches of a block, in groups that go on to `P_q` together."""
        lengths, tokens = self.table.lengths, self.budget.batch_tokens
        group_tokens = tokens * (_BATCHES_A_PRODUCT if self.model.device.type == "cpu" else 1)
        return [list(batches(group, lengths, tokens)) for group in batches(columns, lengths, group_tokens)]

    def _run_group(self, plan: Sequence[Columns], workspace: Tensor) -> Arrays:
        """`dot [B, Q]` and `‖G_d‖ [B]` of documents that go through the model in batches, and on to `P_q` together."""
        size = sum(map(len, plan))
        dot_BQ = self.queries.nll.new_zeros(size, len(self.queries.nll))
        like = self.queries.nll
        squared_norm_B, self_B = like.new_zeros(2, size)
        here = slice(0)
        waiting: list[list[TokenPair]] = [[] for _ in self.layers]
        waiting_words: list[list[VocabularyTokens]] = [[] for _ in self.layers]

        def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
            waiting[layer].append((a_BTI, s_BTO))
            if len(waiting[layer]) == len(plan):
                self.queries.layers[layer].add(waiting[layer], workspace, dot_BQ, squared_norm_B)
                waiting[layer].clear()
            if self.inverses is not None:
                inverse = self.inverses[layer]
                tokens = s_BTO.to(like.dtype), a_BTI.to(like.dtype)
                self_B[here] += squared_norms(*tokens) if inverse is None else inverse.squared_norms(*tokens)

        def reduce_vocabulary(layer: int, tokens: VocabularyTokens) -> None:
            waiting_words[layer].append(tokens)
            if len(waiting_words[layer]) == len(plan):
                products = self.queries.layers[layer]
                assert isinstance(products, DenseProducts), "compressed queries refuse the vocabulary"
                products.add_vocabulary(waiting_words[layer], workspace, dot_BQ, squared_norm_B)
                waiting_words[layer].clear()

        for part in plan:
            here = slice(here.stop, here.stop + len(part))
            batch = document_batch(self.table, part, self.model.device)
            what = describe_documents(self.table.take("id", part))
            backward(self.model, self.layers, batch, reduce, vocabulary=reduce_vocabulary, what=what)
        finite_B = torch.isfinite(dot_BQ).all(1) & torch.isfinite(squared_norm_B) & torch.isfinite(self_B)
        if not finite_B.all():
            column = np.concatenate(plan)[int((~finite_B).nonzero()[0])]
            raise ComputeError(
                f"The scores of document {self.table.take('id', [column])[0]} are not finite.",
                fix="Raise --damping, or use --dtype float64: the numbers are too large for the precision.",
            )
        rows = {"dot": dot_BQ.cpu().numpy(), "gradient_norm": squared_norm_B.sqrt().cpu().numpy()}
        return rows if self.inverses is None else {**rows, SELF: self_B.cpu().numpy()}

    def _join(self, plan: list[Columns]) -> None:
        """One file of the blocks, columns back in document order."""
        nll_Q = self.queries.nll.cpu().numpy()
        with whole_file(self.folder / ARRAYS) as part:
            joined = allocate_scores(
                part, len(nll_Q), len(self.table), nll_Q.dtype, self.inverses is not None
            )
            of_documents = [name for name in ("gradient_norm", SELF) if name in joined]
            joined["query_nll"][:] = nll_Q
            if self.known:
                here, there = self.known.here, self.known.there
                for row, values in enumerate(self.known.scores.dot):
                    joined["dot"][row, here] = values[there]
                for name in of_documents:
                    joined[name][here] = self.known.scores.array(name)[there]
            for number, columns in enumerate(plan):
                block = map_arrays(self._block(number))
                if len(block["dot"]) != len(nll_Q) or not np.array_equal(block["column"], columns):
                    raise StoreError(
                        f"{self._block(number)} is not a block of this run.",
                        fix="Delete it and run the command again.",
                    )
                joined["dot"][:, columns] = block["dot"]
                for name in of_documents:
                    joined[name][columns] = block[name]
            flush_arrays(joined)
