"""The index: built in shards, resumed, asked; what it finds is scored exactly, what it does not find stays unknown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stores import without_checksums
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

import influence.engine.index.build as build_module
import influence.engine.index.search as search_module
import influence.engine.index.sketching as sketching_module
import influence.engine.run as run_module
import influence.engine.tokenised as tokenised_module
from influence.analysis.run import analyze
from influence.analysis.tables import ANALYSES
from influence.config import IndexConfig, SearchConfig, sketch_numbers
from influence.engine.decompose import decompose
from influence.engine.fit import fit_hessian
from influence.engine.identity import matching_layers
from influence.engine.index.build import build_index
from influence.engine.index.projections import read_projections
from influence.engine.index.search import choose, search_index
from influence.engine.score import score
from influence.errors import ComputeError, InfluenceError, InputError, StoreError
from influence.report.pages import write_report
from influence.store.arrays import map_arrays
from influence.store.factors import Factors
from influence.store.index import ESTIMATES, SketchIndex, finished_shards, open_index
from influence.store.scores import Scores, open_scores
from influence.types import Document

MODEL = tiny_model("llama", num_hidden_layers=1)
NUMBERS = 3 * 16 * 24  # three layers of 16 × 24
CORPUS = MemoryCorpus(random_documents(60, seed=9, longest=20))
QUERIES = random_queries(3)
FULL = {"bits": 8, "bytes": 2048, "kind": "random"}


@dataclass(frozen=True, repr=False)
class Made:
    """A fit and exact scores."""

    factors: Factors
    exact: Scores


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    factors = fit_hessian(MODEL, CORPUS, out=folder / "hessian")
    return Made(factors, score(MODEL, factors, QUERIES, CORPUS, folder / "scores"))


@pytest.fixture(scope="module")
def full(made: Made, tmp_path_factory: pytest.TempPathFactory) -> SketchIndex:
    """An index that keeps everything, eight bits a number."""
    return build_index(
        MODEL, made.factors, CORPUS, tmp_path_factory.mktemp("full") / "index", config=IndexConfig(**FULL)
    )


@pytest.fixture
def partial_scores(made: Made, full: SketchIndex, tmp_path: Path) -> Scores:
    """A third of the corpus, as an index finds it."""
    return search_index(
        full, MODEL, made.factors, QUERIES, tmp_path / "found", config=SearchConfig(best=1 / 3)
    )


def test_too_small_a_part_for_some_queries_is_said(made: Made, full: SketchIndex, tmp_path: Path) -> None:
    one, third = (
        search_index(full, MODEL, made.factors, QUERIES, tmp_path / name, config=SearchConfig(best=best))
        for name, best in (("one", 1e-9), ("third", 1 / 3))
    )
    assert "not even the best one" in one.manifest["provenance"]["summary"]
    assert "the best" in third.manifest["provenance"]["summary"]
    assert "larger" not in third.manifest["provenance"]["summary"]


@pytest.mark.parametrize("kind", ["random", "weighted", "data"])
def test_with_room_for_every_number_the_estimates_are_the_scores(
    made: Made, tmp_path: Path, kind: str
) -> None:
    built = build_index(
        MODEL, made.factors, CORPUS, tmp_path / "index", config=IndexConfig(**{**FULL, "kind": kind})
    )
    assert built.manifest["provenance"]["numbers"] == NUMBERS == built.bytes_per_document
    found = search_index(
        built, MODEL, made.factors, QUERIES, tmp_path / "found", config=SearchConfig(best=1.0)
    )
    estimate = map_arrays(found.folder / ESTIMATES)["estimate"]
    for row in range(len(QUERIES)):
        assert np.corrcoef(estimate[row], made.exact.dot[row])[0, 1] > 0.999
    assert np.abs(estimate - made.exact.dot).max() < 0.05 * np.abs(made.exact.dot).max()


def test_all_singular_pairs_estimate_the_scores_and_fewer_take_fewer_bytes(
    made: Made, tmp_path: Path
) -> None:
    agreement = {}
    for most in (4000, 1000, 300):
        built = build_index(
            MODEL, made.factors, CORPUS, tmp_path / f"i{most}", config=IndexConfig(bits=8, bytes=most)
        )
        rank = built.manifest["provenance"]["rank"]
        assert built.bytes_per_document == rank * (3 * (16 + 24) + 3 * 2) <= most
        found = search_index(
            built, MODEL, made.factors, QUERIES, tmp_path / f"s{most}", config=SearchConfig(best=0.1)
        )
        estimate = map_arrays(found.folder / ESTIMATES)["estimate"]
        agreement[rank] = np.corrcoef(estimate.ravel(), made.exact.dot.ravel())[0, 1]
    assert list(agreement) == [16, 7, 2]
    assert agreement[16] > 0.999
    assert agreement[16] > agreement[7] > agreement[2] > 0.5


@pytest.mark.parametrize(("best", "least"), [(0.03, 0.99), (0.01, 0.9)])
def test_low_rank_sketches_meet_the_queries_in_the_directions_that_these_take(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: float, least: float
) -> None:
    """A part of the numbers of a gradient estimates nearly what all do."""
    built = build_index(
        MODEL, made.factors, CORPUS, tmp_path / "index", config=IndexConfig(bits=8, bytes=4000)
    )
    monkeypatch.setattr(sketching_module, "_LEAST_COMPARED", 1)
    found = search_index(
        built, MODEL, made.factors, QUERIES, tmp_path / "found", config=SearchConfig(best=best)
    )
    estimate = map_arrays(found.folder / ESTIMATES)["estimate"]
    agreement = np.corrcoef(estimate.ravel(), made.exact.dot.ravel())[0, 1]
    assert least < agreement < 0.9995


@pytest.mark.parametrize("bits", [1, 4])
def test_where_no_singular_pair_fits_the_sides_are_cut(made: Made, tmp_path: Path, bits: int) -> None:
    most = 3 * (16 + 24) * bits // 8 // 2 + 14
    built = build_index(
        MODEL, made.factors, CORPUS, tmp_path / "index", config=IndexConfig(bits=bits, bytes=most)
    )
    assert built.manifest["provenance"]["rank"] == 1
    assert built.bytes_per_document <= most
    assert all(s < 24 and a < 24 for s, a in built.manifest["provenance"]["sizes"].values())


def test_everything_rescored_is_the_ordinary_score(made: Made, full: SketchIndex, tmp_path: Path) -> None:
    found = search_index(
        full, MODEL, made.factors, QUERIES, tmp_path / "found", config=SearchConfig(best=1.0)
    )
    np.testing.assert_allclose(found.dot, made.exact.dot, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.gradient_norm, made.exact.gradient_norm, rtol=1e-9)
    np.testing.assert_allclose(found.query_nll, made.exact.query_nll, rtol=1e-9)
    assert found.documents_scored == len(CORPUS.documents)


def test_without_a_hessian_it_finds_by_gradient_dot_product(tmp_path: Path) -> None:
    built = build_index(MODEL, None, CORPUS, tmp_path / "index", config=IndexConfig(**FULL))
    found = search_index(built, MODEL, None, QUERIES, tmp_path / "found", config=SearchConfig(best=0.5))
    exact = score(MODEL, None, QUERIES, CORPUS, tmp_path / "exact")
    estimate = map_arrays(found.folder / ESTIMATES)["estimate"]
    assert np.corrcoef(estimate.ravel(), exact.dot.ravel())[0, 1] > 0.999


def test_what_was_not_scored_is_unknown_and_never_zero(made: Made, partial_scores: Scores) -> None:
    assert partial_scores.scored is not None
    assert partial_scores.documents_scored == 20
    unscored = ~partial_scores.scored
    for reading in (partial_scores.dot, partial_scores.normed, partial_scores.per_nat):
        assert np.isnan(reading[:, unscored]).all()
        assert np.isfinite(reading[:, ~unscored]).all()
    np.testing.assert_allclose(
        partial_scores.dot[:, ~unscored], made.exact.dot[:, ~unscored], rtol=1e-9, atol=1e-9
    )
    for query in QUERIES:  # eight bits of everything find the best
        assert partial_scores.ranking(query.id, 3).tolist() == made.exact.ranking(query.id, 3).tolist()
        assert (
            len(partial_scores.ranking(query.id, 60))
            == len(partial_scores.ranking(query.id, 60, "dot", True))
            == 20
        )
        assert len(partial_scores.top(query.id, k=60)) == 20
    assert partial_scores.manifest["provenance"]["scored"] == 20
    assert partial_scores.manifest["provenance"]["r_of_estimates"] > 0.99
    assert not (partial_scores.folder / "rescored").exists()


def test_every_analysis_and_the_report_work_on_what_was_found(
    made: Made, partial_scores: Scores, tmp_path: Path
) -> None:
    others = search_index(  # another third
        build_index(
            MODEL,
            made.factors,
            CORPUS,
            tmp_path / "coarse",
            config=IndexConfig(bits=4, bytes=16, kind="random"),
        ),
        MODEL,
        made.factors,
        QUERIES,
        tmp_path / "others",
        config=SearchConfig(best=1 / 3),
    )
    folder = partial_scores.folder
    decompose(partial_scores, MODEL, made.factors, k=2)
    for name in ANALYSES.keys() - {"relations", "stages", "answers"}:
        for table in analyze(name, folder, out=folder / "analysis" / name).values():
            assert not np.isinf(table.select_dtypes("number").to_numpy(float)).any() or name == "correlation"
    curves = analyze("sources", folder)["curves"]
    assert curves["k"].max() == 20
    assert curves["documents"].groupby([curves["label"], curves["end"], curves["k"]]).sum().eq(60).all()
    stages = analyze("stages", ("a", folder), ("b", others.folder))
    assert stages["agreement"]["r"].between(-1, 1).all()
    assert analyze("correlation", folder, others.folder)["cross"]["r"].between(-1, 1).all()
    page = write_report(folder, tmp_path / "r.html").read_text()
    assert "20 of 60, found by an index" in page
    assert "40 documents that an index passed over" in page


def test_correlations_are_those_of_what_was_scored(partial_scores: Scores) -> None:
    from influence.analysis.correlation import correlation

    scored = partial_scores.dot[:, partial_scores.scored]
    np.testing.assert_allclose(correlation(partial_scores, "dot").to_numpy(), np.corrcoef(scored), atol=1e-9)


def test_a_nan_among_what_was_scored_is_still_refused(partial_scores: Scores) -> None:
    column = int(np.flatnonzero(partial_scores.scored)[0])
    arrays = map_arrays(partial_scores.folder / "scores.safetensors", "r+")
    arrays["dot"][0, column] = np.nan
    arrays["dot"].flush()  # type: ignore[attr-defined]
    without_checksums(partial_scores.folder)
    with pytest.raises(ComputeError, match="not finite"):
        analyze("concentration", partial_scores.folder)


# -- choosing


def test_documents_are_taken_by_turns() -> None:
    rows = np.array([[9.0, 8, 7, 6, 0, 0], [0, 9, 0, 0, 8, 7]])
    assert choose(iter(rows), 3)[0].tolist() == [
        0,
        1,
        4,
    ]  # 0, 1 (both want it), then the second of the second
    columns, depth = choose(iter(rows), 5)
    assert columns.tolist() == [0, 1, 2, 4, 5]
    assert depth == 3
    assert choose(iter(rows), 6)[1] == 6


# -- sizes, shards, resuming


@pytest.mark.parametrize("kind", ["lowrank", "weighted"])
@pytest.mark.parametrize(("bits", "most"), [(1, 60), (4, 140), (8, 270)])
def test_an_index_stays_within_its_bytes(made: Made, tmp_path: Path, kind: str, bits: int, most: int) -> None:
    built = build_index(
        MODEL, made.factors, CORPUS, tmp_path / "index", config=IndexConfig(kind=kind, bits=bits, bytes=most)
    )
    assert 0.7 * most < built.bytes_per_document <= most
    assert built.manifest["provenance"]["numbers"] <= sketch_numbers(most, bits)
    stored = sum(path.stat().st_size for path in (built.folder / "shards").glob("*.faiss"))
    codec = (built.folder / "codec.faiss").stat().st_size
    shards = finished_shards(built.folder)
    assert stored <= 60 * most + shards * (codec + 64)


def test_64_kilobytes_hold_131072_numbers_of_4_bits_and_more_is_refused() -> None:
    assert sketch_numbers(65536, 4) == 131072
    assert sketch_numbers(65536, 8) == 65536
    assert sketch_numbers(4096, 1) == 8 * 4088
    with pytest.raises(InputError, match="at most 65,536 bytes"):
        sketch_numbers(65537, 4)
    with pytest.raises(InputError, match="no quantiser of 3 bits"):
        sketch_numbers(4096, 3)
    with pytest.raises(InputError, match="hold no sketch"):
        sketch_numbers(4, 8)


def test_shards_change_nothing(
    made: Made, full: SketchIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "_SHARD_NUMBERS", 7 * NUMBERS)
    monkeypatch.setattr("influence.store.index._DECODED", 2 * NUMBERS)
    built = build_index(MODEL, made.factors, CORPUS, tmp_path / "index", config=IndexConfig(**FULL))
    assert finished_shards(full.folder) == 1
    assert finished_shards(built.folder) == 9
    stores = [
        search_index(index, MODEL, made.factors, QUERIES, tmp_path / name, config=SearchConfig(best=0.2))
        for name, index in (("one", full), ("many", built))
    ]
    estimates = [map_arrays(store.folder / ESTIMATES)["estimate"] for store in stores]
    np.testing.assert_allclose(estimates[0], estimates[1], rtol=1e-4, atol=1e-3 * np.abs(estimates[0]).max())


BUILD_STEPS = [
    (tokenised_module, "write_documents"),
    (build_module, "choose_projections"),
    (build_module, "write_projections"),
    (build_module, "train_codec"),
    (build_module, "write_faiss"),
    (build_module, "backward"),
    (build_module, "write_shard"),
    (run_module, "finish"),
]
SEARCH_STEPS = [
    (search_module, "write_query_records"),
    (search_module, "query_gradients"),
    (search_module, "allocate_arrays"),
    (search_module, "allocate_scores"),
    (search_module, "write_documents"),
    (search_module, "choose"),
    (search_module, "map_arrays"),
    (run_module, "finish"),
]


@contextmanager
def dying(places: list[tuple[Any, str]], at: int | None) -> Iterator[list[int]]:
    """Raise KeyboardInterrupt after so many calls of the functions in `places`; gives the number of calls."""
    calls = [0]

    def step(function: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        calls[0] += 1
        if calls[0] == at:
            raise KeyboardInterrupt
        return result

    with pytest.MonkeyPatch.context() as patch:
        for module, name in places:
            patch.setattr(module, name, partial(step, getattr(module, name)))
        patch.setattr(build_module, "_SHARD_NUMBERS", 11 * NUMBERS)
        yield calls


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which holds the time."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_build_killed_anywhere_ends_as_if_nothing_had_happened(made: Made, tmp_path: Path) -> None:
    with dying(BUILD_STEPS, None) as calls:
        whole = build_index(MODEL, made.factors, CORPUS, tmp_path / "whole", config=IndexConfig(**FULL))
    assert finished_shards(whole.folder) == 6
    for at in range(1, calls[0] + 1, 3):
        folder = tmp_path / f"killed-{at}"
        with pytest.raises(KeyboardInterrupt), dying(BUILD_STEPS, at):
            build_index(MODEL, made.factors, CORPUS, folder, config=IndexConfig(**FULL))
        with dying(BUILD_STEPS, None):
            build_index(MODEL, made.factors, CORPUS, folder, config=IndexConfig(**FULL))
        assert contents(folder) == contents(whole.folder)
        shutil.rmtree(folder)


def test_a_search_killed_anywhere_ends_as_if_nothing_had_happened(
    made: Made, full: SketchIndex, tmp_path: Path
) -> None:
    def search(folder: Path, at: int | None) -> int:
        with dying(SEARCH_STEPS, at) as calls:
            search_index(full, MODEL, made.factors, QUERIES, folder, config=SearchConfig(best=0.25))
        return calls[0]

    steps = search(tmp_path / "whole", None)
    for at in range(1, steps + 1):
        folder = tmp_path / f"killed-{at}"
        with pytest.raises(KeyboardInterrupt):
            search(folder, at)
        search(folder, None)
        assert contents(folder) == contents(tmp_path / "whole"), at


def test_a_finished_index_and_a_finished_search_are_opened(
    made: Made, full: SketchIndex, partial_scores: Scores
) -> None:
    before = {path: path.stat().st_mtime_ns for path in full.folder.rglob("*")}
    build_index(MODEL, made.factors, CORPUS, full.folder, config=IndexConfig(**FULL))
    assert {path: path.stat().st_mtime_ns for path in full.folder.rglob("*")} == before
    again = search_index(
        full.folder, MODEL, made.factors, QUERIES, partial_scores.folder, config=SearchConfig(best=1 / 3)
    )
    assert again.manifest == open_scores(partial_scores.folder).manifest
    with pytest.raises(StoreError, match="made with other arguments"):
        search_index(full, MODEL, made.factors, QUERIES, partial_scores.folder, config=SearchConfig(best=0.5))


# -- what is refused


def test_queries_choose_the_projections_of_a_data_sketch(made: Made, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"bits": 4, "bytes": 60, "kind": "data"}
    a = build_index(
        MODEL, made.factors, CORPUS, tmp_path / "a", queries=QUERIES, config=IndexConfig(**settings)
    )
    b = build_index(MODEL, made.factors, CORPUS, tmp_path / "b", config=IndexConfig(**settings))
    layers = matching_layers(made.factors, MODEL)
    shapes = [[sketch.left.shape for sketch in read_projections(i.folder, layers, MODEL)] for i in (a, b)]
    lefts = [read_projections(i.folder, layers, MODEL)[0].left for i in (a, b)]
    assert shapes[0] != shapes[1] or not torch.equal(*lefts)
    with pytest.raises(InputError, match="no effect on a random sketch"):
        build_index(
            MODEL,
            made.factors,
            CORPUS,
            tmp_path / "c",
            queries=QUERIES,
            config=IndexConfig(**{**settings, "kind": "random"}),
        )


def test_another_model_or_hessian_is_refused(made: Made, full: SketchIndex, tmp_path: Path) -> None:
    other = tiny_model("llama", num_hidden_layers=1, seed=1)
    for model, factors, what in (
        (other, made.factors, "another model"),
        (MODEL, None, "another hessian"),
    ):
        with pytest.raises(StoreError, match=what):
            search_index(full, model, factors, QUERIES, tmp_path / "found")
    assert not (tmp_path / "found").exists()
    with pytest.raises(StoreError, match="another dtype"):
        full.check(dtype="bfloat16")
    with pytest.raises(StoreError, match="of another model"):
        build_index(other, made.factors, CORPUS, tmp_path / "index")


def test_a_changed_corpus_is_refused(made: Made, full: SketchIndex) -> None:
    changed = MemoryCorpus([*CORPUS.documents[:-1], Document("new", "abc", "wiki")])
    with pytest.raises(StoreError, match="corpus changed since the index"):
        build_index(MODEL, made.factors, changed, full.folder, config=IndexConfig(**FULL))


@pytest.mark.parametrize(
    "file", ["shards/000000.faiss", "shards/000000.safetensors", "projections.safetensors"]
)
def test_a_damaged_index_is_refused(made: Made, full: SketchIndex, tmp_path: Path, file: str) -> None:
    shutil.copytree(full.folder, tmp_path / "index")
    path = tmp_path / "index" / file
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InfluenceError):
        search_index(tmp_path / "index", MODEL, made.factors, QUERIES, tmp_path / "found")
    path.unlink()
    with pytest.raises(InfluenceError):
        search_index(tmp_path / "index", MODEL, made.factors, QUERIES, tmp_path / "other")


def test_wrong_arguments(made: Made, full: SketchIndex, tmp_path: Path) -> None:
    for settings, what in (
        ({"kind": "best"}, "no sketch 'best'"),
        ({"bits": 2}, "no quantiser of 2 bits"),
        ({"bytes": 1 << 17}, "at most 65,536"),
        ({"damping": 0.0}, "damping must be positive"),
    ):
        with pytest.raises(InputError, match=what):
            build_index(MODEL, made.factors, CORPUS, tmp_path / "index", config=IndexConfig(**settings))  # type: ignore[arg-type]
    for best in (0.0, 1.5):
        with pytest.raises(InputError, match="part of the corpus"):
            search_index(
                full, MODEL, made.factors, QUERIES, tmp_path / "found", config=SearchConfig(best=best)
            )
    with pytest.raises(InputError, match="no queries"):
        search_index(full, MODEL, made.factors, [], tmp_path / "found")
    with pytest.raises(StoreError, match="holds no index"):
        open_index(tmp_path)
