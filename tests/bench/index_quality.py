"""How well does an index find what exact scores find? Recall by bytes a document, for every kind of sketch, and BM25.

    python tests/bench/index_quality.py                       # the shipped model on 3,000 documents of the miniworld
    python tests/bench/index_quality.py --model M --hessian H --exact SCORES --documents 3000
    python tests/bench/index_quality.py --model M --hessian H --exact SCORES --times 100        # build cost alone
    python tests/bench/index_quality.py --exact SCORES --found FOUND         # how good a search's own estimates were

One pass sketches every document in all the ways at once; each sketch is encoded and decoded by FAISS as an index would.
Every second query is kept back to choose the projections of "data, queries"; all recalls are of the other queries.
The exact ranking is by normed. Printed: Pearson R of estimates with exact dot, and the part of the exact top 10 / 100
that is among the best 0.5, 1, 5, 20 % of the estimates, ranked at norm 1 (and, last column, not), then BM25 and both
united by turns. Then the time of sketching in multiples of a plain training step on the same documents, in the same
batches. What is estimated is kept in --folder: a pass that was killed goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from influence.analysis.bm25 import Bm25
from influence.config import SKETCH_BITS, FitConfig, sketch_numbers
from influence.curvature.sketch import layer_metric
from influence.data.corpus import read_corpus
from influence.data.queries import read_queries
from influence.data.query_tokens import encode_query
from influence.engine.batching import BATCH_TOKENS, Budget, Columns, batches, blocks, pad
from influence.engine.fit import fit_hessian
from influence.engine.identity import matching_layers
from influence.engine.index.projections import choose_projections
from influence.engine.index.sketching import VALUE_BYTES, QuerySketches, Sketcher, fitting_rank
from influence.engine.passes import backward
from influence.engine.query import precondition_queries, query_gradients
from influence.engine.score import score
from influence.models.load import LanguageModel, load_model
from influence.progress import Progress
from influence.store.arrays import map_arrays, write_arrays
from influence.store.documents import DocumentTable
from influence.store.factors import Factors, open_factors
from influence.store.index import ESTIMATES, Sketches, train_codec
from influence.store.scores import Scores, open_scores
from influence.types import Query

ROOT = Path(__file__).resolve().parents[2]
PERCENTS = (0.5, 1, 5, 20)
TOPS = (10, 100)
HEADS = [f"{top} in {percent:g} %" for top in TOPS for percent in PERCENTS]
SAMPLE = 256
_BLOCK_TOKENS = 1 << 14
LINEAR = ("random", "weighted", "data, documents", "data, queries")
DEFAULT = ";".join(
    [f"lowrank:{size}:{bits}" for size in (4096, 16384, 65536) for bits in (1, 4)]
    + [f"{kind}:{size}" for kind in LINEAR for size in ("4096:1", "16384:1", "65536:1", "65536:4")]
)


@dataclass
class Way:
    """One way of sketching, and what it estimates."""

    kind: str
    bytes: int
    bits: int
    sketcher: Sketcher
    codec: Any = None
    unit_QD: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    norm_D: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.bytes}:{self.bits}"


@dataclass(frozen=True)
class Setting:
    """What is compared on."""

    model: LanguageModel
    factors: Factors
    exact: Scores
    queries: list[Query]
    columns: Columns

    @property
    def table(self) -> DocumentTable:
        return self.exact.documents


def main() -> None:
    """Compare, and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=str(ROOT / "models" / "miniworld" / "base"))
    parser.add_argument("--hessian")
    parser.add_argument("--corpus")
    parser.add_argument("--queries", help="A query set, or a folder of some.")
    parser.add_argument("--exact", help="Exact scores of these queries; otherwise they are made.")
    parser.add_argument("--documents", type=int, help="Compare on so many documents, drawn at random.")
    parser.add_argument("--ways", default=DEFAULT, help="kind:bytes:bits;kind:bytes:bits;…")
    parser.add_argument("--times", type=int, help="Only time the sketching, of so many documents.")
    parser.add_argument("--found", help="A search of the documents of --exact, for some of its queries.")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "index-quality")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.found:
        report_search(open_scores(options.exact), open_scores(options.found))
        return
    setting = prepare(options)
    ways = [make_way(setting, *text.split(":")) for text in options.ways.split(";")]
    if options.times:
        costs(setting, ways, options.times)
        return
    sketch(setting, ways, options.folder)
    report(setting, ways)
    costs(setting, ways)


def prepare(options: argparse.Namespace) -> Setting:
    """Whatever of corpus, queries, Hessian and exact scores is not given is made, once."""
    folder: Path = options.folder
    model = load_model(options.model, dtype="float32", device="cpu")
    if options.exact:
        exact = open_scores(options.exact)
        factors = open_factors(options.hessian)
    else:
        if not options.corpus:
            options.corpus, options.queries = make_miniworld(folder)
        corpus = read_corpus(options.corpus)
        path = Path(options.queries)
        sets = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        queries = [query for one in sets for query in read_queries(one)][:: 1 + len(sets) // 4]
        factors = (
            open_factors(options.hessian)
            if options.hessian
            else fit_hessian(model, corpus, out=folder / "hessian", config=FitConfig(documents=1000))
        )
        exact = score(model, factors, queries, corpus, folder / "scores")
    total = len(exact.documents)
    drawn = np.random.default_rng(0).permutation(total)[: options.documents or total]
    return Setting(model, factors, exact, list(exact.queries), np.sort(drawn))


def make_miniworld(folder: Path) -> tuple[Path, Path]:
    """3,000 documents and the query sets that fit them."""
    from influence.data.miniworld import generate, make_plan, query_sets, write_corpus
    from influence.data.miniworld.settings import Settings
    from influence.data.queries import write_queries

    settings = Settings(asides=False)
    path = write_corpus(generate(3000, 0, settings), folder / "corpus")
    for name, queries in query_sets(make_plan(3000, settings).world, read_corpus(path)).items():
        write_queries(queries, folder / "queries" / f"{name}.jsonl")
    return path, folder / "queries"


def make_way(setting: Setting, kind: str, size: str, bits: str) -> Way:
    """Choose the projections of one way."""
    most, each = int(size), int(bits)
    layers = matching_layers(setting.factors, setting.model)
    metrics = [layer_metric(setting.factors.layer(a.name), a.shape, 0.1) for a in layers]
    low = kind == "lowrank"
    budget = sketch_numbers(most - VALUE_BYTES * len(layers) * low, each)
    gradients = _gradients(setting, layers, kind)
    sketches = choose_projections(kind.partition(",")[0], metrics, budget, 0, gradients)
    sketches = [
        type(s)(*(side.float() for side in (s.left, s.right, s.query_left, s.query_right))) for s in sketches
    ]
    return Way(kind, most, each, Sketcher(sketches, fitting_rank(sketches, most, each) if low else 0))


_KEPT: dict[Any, Any] = {}


def _asked(setting: Setting, way: Way) -> QuerySketches:
    """The sketches of the queries; low-rank ways share theirs."""
    shapes = (way.kind, *((len(sketch.left), len(sketch.right)) for sketch in way.sketcher.sketches))
    if shapes not in _KEPT:
        _KEPT[shapes] = way.sketcher.queries(_preconditioned(setting))
    found: QuerySketches = _KEPT[shapes]
    return found


def _preconditioned(setting: Setting) -> list[Tensor]:
    """Preconditioned gradients of all queries, computed once."""
    if "queries" not in _KEPT:
        layers = matching_layers(setting.factors, setting.model)
        gradients = query_gradients(setting.model, layers, setting.queries, 512, Budget(BATCH_TOKENS))
        prepared = precondition_queries(gradients, layers, setting.factors, 0.1, setting.model.dtype)
        _KEPT["queries"] = prepared.gradients
    found: list[Tensor] = _KEPT["queries"]
    return found


def _gradients(setting: Setting, layers: Any, kind: str) -> Iterator[list[Tensor]]:
    """Gradients by which data-dependent projections are chosen: every second query, or documents drawn."""
    if kind == "data, queries":
        encoded = [encode_query(setting.model.tokenizer, query, 512) for query in setting.queries[::2]]
    else:
        encoded = [(setting.table.tokens(column).tolist(), 1) for column in _sample(setting)]
    for start in range(0, len(encoded), 8):
        stack = encoded[start : start + 8]
        found: dict[int, Tensor] = {}

        def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor, found: dict[int, Tensor] = found) -> None:
            found[layer] = torch.bmm(s_BTO.mT, a_BTI)

        batch = pad([tokens for tokens, _ in stack], setting.model.device, [first for _, first in stack])
        backward(setting.model, layers, batch, reduce, what="a sample")
        yield [found[layer] for layer in range(len(layers))]


def _sample(setting: Setting) -> Columns:
    columns = np.random.default_rng(1).permutation(setting.columns)[:SAMPLE]
    return columns[np.argsort(-setting.table.lengths[columns], kind="stable")]


def _sketches(setting: Setting, ways: Sequence[Way], columns: Columns) -> list[Sketches]:
    """The sketches of one batch in all ways, from one pass through the model."""
    layers = matching_layers(setting.factors, setting.model)
    parts: list[dict[int, tuple[Tensor, Tensor]]] = [{} for _ in ways]

    def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        for way, own in zip(ways, parts, strict=True):
            own[layer] = way.sketcher.reduce(layer, a_BTI, s_BTO)

    batch = pad([setting.table.tokens(column) for column in columns], setting.model.device)
    backward(setting.model, layers, batch, reduce, what="a batch")
    return [
        way.sketcher.joined([own[layer] for layer in range(len(layers))])
        for way, own in zip(ways, parts, strict=True)
    ]


def train(setting: Setting, ways: Sequence[Way]) -> None:
    """Fit all quantisers on a sample."""
    plan = batches(_sample(setting), setting.table.lengths, BATCH_TOKENS)
    sample = [_sketches(setting, ways, rows) for rows in plan]
    for number, way in enumerate(ways):
        way.codec = train_codec(np.concatenate([one[number].code for one in sample]), way.bits)


def sketch(setting: Setting, ways: Sequence[Way], folder: Path) -> None:
    """Estimate the scores of all documents, a file of estimates a block."""
    lengths = setting.table.lengths[setting.columns]
    of = (*(way.name for way in ways), str(setting.exact.folder.resolve()), len(setting.columns))
    folder = folder / f"estimates-{hashlib.blake2b(repr(of).encode(), digest_size=6).hexdigest()}"
    folder.mkdir(parents=True, exist_ok=True)
    plan = blocks(lengths, _BLOCK_TOKENS)
    with Progress("sketching", len(lengths)) as bar:
        for number, block in enumerate(plan):
            if not _estimates(folder, number).exists():
                if ways[0].codec is None:
                    train(setting, ways)
                _write_estimates(_estimates(folder, number), setting, ways, setting.columns[block])
            bar.advance(len(block))
    stored = [map_arrays(_estimates(folder, number)) for number in range(len(plan))]
    order = np.argsort(np.concatenate(plan), kind="stable")
    for way in ways:
        way.unit_QD = np.concatenate([one[f"{way.name} unit"] for one in stored], 1)[:, order]
        way.norm_D = np.concatenate([one[f"{way.name} norm"] for one in stored])[order]


def _estimates(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.safetensors"


def _write_estimates(path: Path, setting: Setting, ways: Sequence[Way], columns: Columns) -> None:
    """Sketch some documents, store and read the sketches as an index would, and estimate all queries' scores."""
    plan = batches(columns, setting.table.lengths, BATCH_TOKENS)
    parts = [_sketches(setting, ways, rows) for rows in plan]
    arrays = {}
    for way, own in zip(ways, zip(*parts, strict=True), strict=True):
        joined = Sketches(*(np.concatenate(sides) for sides in zip(*own, strict=True)))
        decoded = joined._replace(code=way.codec.sa_decode(way.codec.sa_encode(joined.code)))
        arrays[f"{way.name} unit"] = way.sketcher.products(_asked(setting, way), decoded)
        arrays[f"{way.name} norm"] = joined.norm
    write_arrays(path, arrays)


# -- what is printed


def recall(
    exact_QD: npt.NDArray[Any], candidates_QD: npt.NDArray[np.int64], top: int, percent: float
) -> float:
    """Mean over queries of the part of the exact top that is among the first candidates."""
    count = max(1, round(exact_QD.shape[1] * percent / 100))
    found = [
        np.isin(np.argsort(-exact_D, kind="stable")[:top], candidates[:count]).mean()
        for exact_D, candidates in zip(exact_QD, candidates_QD, strict=True)
    ]
    return float(np.mean(found))


def recalls(exact_QD: npt.NDArray[Any], candidates_QD: npt.NDArray[np.int64]) -> str:
    """The cells below `HEADS`."""
    found = (recall(exact_QD, candidates_QD, top, percent) for top in TOPS for percent in PERCENTS)
    return " | ".join(f"{part:.3f}" for part in found)


def report_search(exact: Scores, found: Scores) -> None:
    """How good the estimates of a search were, and how much of what it should have found it scored."""
    rows = [[query.id for query in exact.queries].index(query.id) for query in found.queries]
    dot_QD = np.asarray(exact.dot)[rows]
    normed_QD = dot_QD / np.asarray(exact.gradient_norm)
    estimates = map_arrays(found.folder / ESTIMATES)
    estimate_QD, norm_D = np.asarray(estimates["estimate"]), np.asarray(estimates["norm"])
    r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(estimate_QD, dot_QD, strict=True)])
    ranked = np.argsort(-estimate_QD / norm_D, axis=1, kind="stable")
    scored = np.isfinite(np.asarray(found.gradient_norm))
    held = [scored[np.argsort(-normed_QD, axis=1)[:, :top]].mean() for top in TOPS]
    print(f"{dot_QD.shape[1]:,} documents, {len(rows)} queries; exact ranking by normed\n")
    print(
        f"| R | {' | '.join(HEADS)} |\n|{'---|' * (1 + len(HEADS))}\n| {r:.3f} | {recalls(normed_QD, ranked)} |"
    )
    print(f"\nscored: {scored.sum():,} documents, with ", end="")
    print(" and ".join(f"{part:.3f} of the top {top}" for part, top in zip(held, TOPS, strict=True)))


def by_turns(a_QD: npt.NDArray[np.int64], b_QD: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Two rankings united: the first of each, then the second of each, each document once."""
    merged = np.stack([a_QD, b_QD], 2).reshape(len(a_QD), -1)
    return np.stack([row[np.sort(np.unique(row, return_index=True)[1])] for row in merged])


def report(setting: Setting, ways: Sequence[Way]) -> None:
    """The table of R and recalls."""
    asked = np.arange(1, len(setting.queries), 2)
    dot = np.asarray(setting.exact.dot)[np.ix_(asked, setting.columns)]
    exact = dot / np.asarray(setting.exact.gradient_norm)[setting.columns]
    texts = (setting.table.text(int(column)) for column in setting.columns)
    words = Bm25(texts, [query.prompt + query.completion for query in setting.queries])
    lexical = np.stack([np.argsort(-words.row(int(row)), kind="stable") for row in asked])
    print(f"\n{len(setting.columns):,} documents, {len(asked)} queries; exact ranking by normed\n")
    print(
        "| sketch | bytes | bits | numbers | R | "
        + " | ".join(HEADS)
        + " | 100 in 5 %, not at norm 1 | 100 in 5 %, with BM25 |"
    )
    print("|" + "---|" * (7 + len(HEADS)))
    for way in ways:
        unit = way.unit_QD[asked]
        ranked = np.argsort(-unit, axis=1, kind="stable")
        plain = np.argsort(-unit * way.norm_D, axis=1, kind="stable")
        r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(unit * way.norm_D, dot, strict=True)])
        shown = f"{way.kind}, rank {way.sketcher.rank}" if way.sketcher.rank else way.kind
        beside = SKETCH_BITS[way.bits] + VALUE_BYTES * way.sketcher.rank * len(way.sketcher.sketches)
        size = (way.sketcher.numbers * way.bits + 7) // 8 + beside
        print(
            f"| {shown} | {size:,} | {way.bits} | {way.sketcher.numbers:,} | {r:.3f} | {recalls(exact, ranked)} "
            f"| {recall(exact, plain, 100, 5):.3f} | {recall(exact, by_turns(ranked, lexical), 100, 5):.3f} |"
        )
    print(f"| BM25 |  |  |  |  | {recalls(exact, lexical)} |  |  |")
    best = np.argsort(-exact, axis=1, kind="stable")
    print(f"| exact (the most there is to find) |  |  |  | 1 | {recalls(exact, best)} |  |  |")


def costs(setting: Setting, ways: Sequence[Way], documents: int = 48) -> None:
    """CPU seconds of each way in multiples of forward and full backward, by turns, median of three."""
    if ways[0].codec is None:
        train(setting, ways)
    columns = np.random.default_rng(2).permutation(setting.columns)[:documents]
    lengths = setting.table.lengths
    columns = columns[np.argsort(-lengths[columns], kind="stable")]
    plan = list(batches(columns, lengths, BATCH_TOKENS))
    seconds: list[list[float]] = [[] for _ in range(1 + len(ways))]
    for _ in range(3):
        for number, way in enumerate([None, *ways]):
            start = time.process_time()
            for rows in plan:
                if way is None:
                    plain_step(setting, rows)
                else:
                    stored = _sketches(setting, [way], rows)[0]
                    way.codec.sa_encode(stored.code)
            seconds[number].append(time.process_time() - start)
    unit = float(np.median(seconds[0]))
    each = 1000 * unit / documents
    print(f"\nplain step: {each:.1f} ms a document of {lengths[columns].mean():.0f} tokens, one thread\n")
    print("| sketch | bytes | bits | plain steps a document (least–most) |\n|---|---|---|---|")
    for way, own in zip(ways, seconds[1:], strict=True):
        shown = " – ".join(f"{value / unit:.2f}" for value in (min(own), max(own)))
        print(f"| {way.kind} | {way.bytes:,} | {way.bits} | {np.median(own) / unit:.2f} ({shown}) |")


def plain_step(setting: Setting, rows: Columns) -> None:
    """Forward and full backward of a batch, without an optimizer."""
    model = setting.model.model
    batch = pad([setting.table.tokens(column) for column in rows], setting.model.device)
    logits = model(input_ids=batch.input_ids, use_cache=False).logits[:, :-1]
    labels = batch.input_ids[:, 1:].masked_fill(~batch.mask_BT[:, 1:], -100)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").backward()
    model.zero_grad()


if __name__ == "__main__":
    main()
