"""Ask an index: sketch the queries, retrieve, score the best documents exactly, leave the others marked unscored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from influence.config import SearchConfig
from influence.curvature.sketch import LayerSketch
from influence.data.queries import queries_digest
from influence.data.tokens import tokenise
from influence.engine.batching import Budget
from influence.engine.identity import matching_layers
from influence.engine.index.projections import read_projections
from influence.engine.index.sketching import Sketcher, compared_dtype
from influence.engine.query import PreconditionedQueries, precondition_queries, query_gradients
from influence.engine.run import Run
from influence.engine.score import Scan
from influence.errors import InputError
from influence.files import whole_file
from influence.models.decode import greedy
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.progress import Progress
from influence.store.arrays import allocate_arrays, flush_arrays, map_arrays
from influence.store.documents import FILE, DocumentTable, write_documents
from influence.store.factors import Factors
from influence.store.index import ESTIMATES, SketchIndex, open_index
from influence.store.journal import intact
from influence.store.scores import ARRAYS, Scores, allocate_scores, open_scores, write_query_records
from influence.types import Document, Query

_RESCORED = "rescored"
_MOST_NEW_TOKENS = 64
_LEAST_PART = 1 / 8


def search_index(
    index: SketchIndex | str | Path,
    model: LanguageModel,
    factors: Factors | None,
    queries: Sequence[Query],
    out: str | Path,
    *,
    query_model: LanguageModel | None = None,
    completions_by: str | None = None,
    config: SearchConfig = SearchConfig(),
    batch_tokens: int | None = None,
) -> Scores:
    """Exact influence of the documents that an index finds for some queries; a search that was killed resumes.

    The store is an ordinary one of all documents. `dot` and `gradient_norm` of documents that were not scored are NaN;
    what the index estimates of every document stands in `estimates.safetensors`. Documents are taken by turns, each
    query's best, then each one's second, until the part `best` of the corpus is reached. All queries are scored on
    each of them.

    Args:
        model: The model the index was built with.
        factors: The Hessian it was built with; None where it was built with the identity.
        query_model: Gives the queries' gradients instead, such as the tuned model that wrote the completions.
        completions_by: Name of the model that wrote the completions, for the record; None: not known.
        out: Folder of the score store.
        config: Settings of the search.
        batch_tokens: Padded tokens of a batch, by default what suits the device; halves by itself when memory runs out.

    Raises:
        InputError: no queries, or one that does not fit.
        StoreError: the index is of another model or Hessian, or damaged; `out` belongs to another run.
        ComputeError: a value is not finite, or a single document does not fit into memory.
    """
    run = Run(temporary=(_RESCORED,))
    folder = Path(out)
    query_model = query_model or model
    index = index if isinstance(index, SketchIndex) else open_index(index)
    if not queries:
        raise InputError("There are no queries to search for.")
    index.check(
        model=model.fingerprint,
        tokenizer=model.tokenizer_fingerprint,
        dtype=model.precision,
        hessian=factors.identity if factors else "identity",
    )
    if run.claim(folder, "scores", _identity(index, query_model, queries, config)):
        _same_documents(index.folder / FILE, folder / FILE)
        write_query_records(folder, queries)
        budget = run.budget(model, index.documents, batch_tokens)
        search = _Search(folder, index, model, query_model, factors, queries, config, budget)
        estimates = search.estimates()
        columns, depth = choose(
            _ranked(estimates, config.by), max(1, round(config.best * len(index.documents)))
        )
        scored = search.rescored(columns)
        _write_partial(folder, scored, columns, len(index.documents))
        run.finish(
            model,
            budget,
            query_model_name=query_model.name,
            completions_by=completions_by,
            corpus_name=index.manifest["provenance"]["corpus_name"],
            hessian_folder=str(factors.folder) if factors else None,
            index_folder=str(index.folder),
            scored=len(columns),
            documents=len(index.documents),
            depth=depth,
            r_of_estimates=_agreement(np.asarray(estimates["estimate"][:, columns]), scored["dot"]),
            summary=f"{len(columns):,} of {len(index.documents):,} documents scored: " + _depth(depth),
            tokens=index.manifest["provenance"]["tokens"],
        )
    return open_scores(folder)


def _identity(
    index: SketchIndex, query_model: LanguageModel, queries: Sequence[Query], config: SearchConfig
) -> dict[str, Any]:
    """What determines the scores of a search."""
    inherited = (
        *("layers", "model", "tokenizer", "dtype", "corpus", "hessian"),
        *("damping", "max_length", "windows"),
    )
    return {
        **{name: index.config[name] for name in inherited},
        "query_model": query_model.fingerprint,
        "query_tokenizer": query_model.tokenizer_fingerprint,
        "queries": queries_digest(queries),
        "index": {
            **{name: index.config[name] for name in ("kind", "bytes", "bits", "seed")},
            **asdict(config),
        },
    }


@dataclass(frozen=True)
class _Search:
    """The work of a search in its folder; the arguments are those of `search_index`."""

    folder: Path
    index: SketchIndex
    model: LanguageModel
    query_model: LanguageModel
    factors: Factors | None
    queries: Sequence[Query]
    config: SearchConfig
    budget: Budget

    @cached_property
    def _layers(self) -> list[TrackedLayer]:
        return matching_layers(self.factors, self.model)

    @cached_property
    def _preconditioned(self) -> PreconditionedQueries:
        layers = matching_layers(self.factors, self.query_model)
        settings = self.index.config
        gradients = query_gradients(
            self.query_model, layers, self.queries, settings["max_length"], self.budget
        )
        return precondition_queries(
            gradients, self._layers, self.factors, settings["damping"], self.model.dtype
        )

    def estimates(self) -> dict[str, npt.NDArray[Any]]:
        """`estimate [Q, D]`, nats, and the norm of each document's sketch `norm [D]`; stored, then mapped."""
        queries = self._preconditioned
        if not intact(self.folder / ESTIMATES):
            sketches = read_projections(self.index.folder, self._layers, self.model)
            _write_estimates(self.folder, self.index, queries, sketches, compared_part(self.config.best))
        return map_arrays(self.folder / ESTIMATES)

    def rescored(self, columns: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        """The exact scores of the chosen documents, by the ordinary scan."""
        part = _rescored(self.folder / _RESCORED, self.index.documents, columns)
        products = self._preconditioned.products()
        Scan(part.folder, self.model, self._layers, part, products, self.budget).run()
        return map_arrays(part.folder / ARRAYS)


def _depth(depth: int) -> str:
    if depth:
        return f"the best {depth:,} of every query by the index's estimates, and more"
    return "of some queries not even the best one by the index's estimates; a larger --best scores more"


def compared_part(best: float) -> float:
    """Of the numbers of a gradient, those in which low-rank sketches are compared: fewer where a search is to be cheap.

    All for the best 5 % and more, an eighth for 1.5 % and less, in between on a line.
    """
    return min(1.0, max(_LEAST_PART, 25 * best - 0.25))


def asked_query(model: LanguageModel, prompt: str, completion: str | None = None) -> Query:
    """A query of one's own; without a completion the model's most likely one, up to 64 tokens.

    Raises:
        InputError: the model says nothing.
        ModelError: the prompt leaves no room for a completion in the model's context.
    """
    if completion is None:
        (tokens,) = tokenise(model.tokenizer, [prompt], ends=False)
        ids = tokens.whole
        context = getattr(model.model.config, "max_position_embeddings", _MOST_NEW_TOKENS + len(ids))
        (completion,) = greedy(model, [ids], max(1, min(_MOST_NEW_TOKENS, context - len(ids))))
        if not completion.strip():
            raise InputError(f"{model.name} says nothing to this prompt.", fix="Give it a --completion.")
    return Query("asked", "asked", "other", prompt, completion)


def _same_documents(source: Path, target: Path) -> None:
    """The index's documents beside the scores: one file under two names where the disk allows it, else a copy."""
    if target.exists():
        return
    try:
        target.hardlink_to(source)
    except OSError:
        with whole_file(target) as part:
            shutil.copyfile(source, part)


def _write_estimates(
    folder: Path,
    index: SketchIndex,
    queries: PreconditionedQueries,
    sketches: Sequence[LayerSketch],
    compared: float,
) -> None:
    """`estimate [Q, D]`, nats, and the norm of each document's sketch `norm [D]`."""
    sketcher = Sketcher(sketches, index.manifest["provenance"]["rank"])
    sketched = sketcher.queries(queries.gradients, compared, compared_dtype(queries.nll.device))
    shape = (len(queries.nll), len(index.documents))
    with (
        whole_file(folder / ESTIMATES) as part,
        Progress("searching", len(index.documents)) as bar,
    ):
        allocate_arrays(part, {"estimate": (shape, "F32"), "norm": (shape[1:], "F32")})
        arrays = map_arrays(part, "r+")
        for columns, stored in index.parts():
            arrays["estimate"][:, columns] = sketcher.products(sketched, stored) * stored.norm
            arrays["norm"][columns] = stored.norm
            bar.advance(len(columns))
        flush_arrays(arrays)


def _ranked(estimates: dict[str, npt.NDArray[Any]], by: str) -> Iterator[npt.NDArray[np.floating]]:
    """The estimates of each query in the reading to retrieve by, `[D]`."""
    norm_D = np.asarray(estimates["norm"])
    for row_D in estimates["estimate"]:
        yield (
            np.divide(row_D, norm_D, out=np.zeros_like(row_D), where=norm_D > 0) if by == "normed" else row_D
        )


def choose(rows: Iterator[npt.NDArray[np.floating]], count: int) -> tuple[npt.NDArray[np.int64], int]:
    """`count` documents, by turns: each query's best, then each one's second, and so on.

    Returns:
        Their columns, rising, and how many of the best of every query are among them.
    """
    best_QN = []
    for row_D in rows:
        count = min(count, len(row_D))
        best = np.argpartition(-row_D, count - 1)[:count]
        best_QN.append(best[np.lexsort((best, -row_D[best]))])
    turns = np.stack(best_QN, 1)
    flat = turns.ravel()
    first = np.sort(np.unique(flat, return_index=True)[1])[:count]
    columns = np.sort(flat[first])
    whole = np.asarray(np.isin(turns, columns).all(axis=1))
    return columns, int(whole.cumprod().sum())


def _rescored(folder: Path, table: DocumentTable, columns: npt.NDArray[np.int64]) -> DocumentTable:
    """A table of the chosen documents alone, for the ordinary scoring pass."""
    folder.mkdir(exist_ok=True)
    if not intact(folder / FILE):
        ids, sources = table.take("id", columns), table.take("source", columns)
        documents = (
            (
                Document(str(name), table.text(column), str(source), loss_mask=_mask(table, column)),
                table.tokens(column).tolist(),
            )
            for name, source, column in zip(ids, sources, columns.tolist(), strict=True)
        )
        write_documents(folder, documents)
    return DocumentTable(folder)


def _mask(table: DocumentTable, column: int) -> tuple[bool, ...] | None:
    mask = table.loss_mask(column)
    return None if mask is None else tuple(mask.tolist())


def _write_partial(
    folder: Path, scored: dict[str, npt.NDArray[Any]], columns: npt.NDArray[np.int64], documents: int
) -> None:
    """The arrays of a score store of all documents, NaN where none was computed."""
    with whole_file(folder / ARRAYS) as part:
        arrays = allocate_scores(part, len(scored["query_nll"]), documents, scored["dot"].dtype)
        arrays["query_nll"][:] = scored["query_nll"]
        for name in ("dot", "gradient_norm"):
            arrays[name][:] = np.nan
            arrays[name][..., columns] = scored[name]
        flush_arrays(arrays)


def _agreement(estimate_QN: npt.NDArray[np.floating], dot_QN: npt.NDArray[np.floating]) -> float | None:
    """Mean over queries of Pearson's R between estimates and exact scores, over what was scored."""
    rows = [
        np.corrcoef(a, b)[0, 1]
        for a, b in zip(estimate_QN, np.asarray(dot_QN), strict=True)
        if a.std() > 0 and b.std() > 0
    ]
    return round(float(np.mean(rows)), 4) if rows else None
