"""Source curves, document re-use and stages on matrices whose every number can be read off."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import make_document, make_query, write_scores

from influence.analysis.agreement import overlap, rank_biased_overlap
from influence.analysis.checkpoints import (
    agreement_by_group,
    check_comparable,
    checkpoint_agreement,
    checkpoint_concentration,
    checkpoint_facts,
    checkpoint_slopes,
    checkpoint_sources,
    checkpoint_within,
)
from influence.analysis.concentration import document_reuse, reuse_counts
from influence.analysis.correlation import block_table, correlation
from influence.analysis.sources import log_grid, source_counts, source_curves
from influence.errors import InputError

QUERIES = [
    make_query(0),
    make_query(1),
    make_query(2, id="plain", task="slopes-control", group="control", correct=None),
]
DOCUMENTS = [make_document(n, source="math" if n < 2 else "web") for n in range(10)]


def test_log_grid() -> None:
    assert log_grid(60) == [1, 2, 5, 10, 20, 50, 60]
    assert log_grid(1) == [1]
    assert log_grid(0) == []


def test_curves_by_hand(tmp_path: Path) -> None:
    down = np.arange(10, 0, -1.0)
    scores = write_scores(tmp_path / "s", [down, down[::-1], down - 20], queries=QUERIES, documents=DOCUMENTS)
    names, ks, counts = source_counts(scores, ks=(1, 2, 50))
    assert (names, ks) == (["web", "math"], [1, 2, 10])
    assert counts[0, 0].tolist() == [[0, 1], [0, 2], [8, 2]]
    assert counts[0, 1].tolist() == [[1, 0], [2, 0], [8, 2]]
    curves = source_curves(scores, ks=(2, 10)).set_index(["label", "end", "k", "source"])
    math = curves.loc[("slopes", "top", 2, "math")]
    assert math["corpus_share"] == pytest.approx(0.2)
    assert math["share"] == pytest.approx(0.5)  # of two queries, one has both
    assert math["multiplier"] == pytest.approx(2.5)
    assert (math["low"], math["high"]) == (0, pytest.approx(5))
    assert (math["n"], math["documents"]) == (2, 2)
    assert curves.loc[("slopes-control", "top", 2, "math"), "multiplier"] == pytest.approx(5)
    assert curves.loc[("slopes-control", "bottom", 2, "math"), "multiplier"] == 0
    assert np.allclose(curves.xs(10, level="k")[["multiplier", "low", "high"]], 1)
    with pytest.raises(InputError):
        source_curves(scores, ks=(0,))


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_shares_add_up_and_ends_mirror(seed: int) -> None:
    rng = np.random.default_rng(seed)
    documents = [make_document(n, source=str(rng.integers(3))) for n in range(30)]
    dot = rng.normal(size=(3, 30))
    with tempfile.TemporaryDirectory() as folder:
        scores = write_scores(Path(folder) / "a", dot, queries=QUERIES, documents=documents)
        other = write_scores(Path(folder) / "b", -dot, queries=QUERIES, documents=documents)
        curves, mirrored = source_curves(scores, resamples=50), source_curves(other, resamples=50)
    assert np.allclose(curves.groupby(["label", "end", "k"])["share"].sum(), 1)
    assert (curves["low"] <= curves["multiplier"] + 1e-9).all()
    top = curves[curves["end"] == "top"].drop(columns="end").reset_index(drop=True)
    bottom = mirrored[mirrored["end"] == "bottom"].drop(columns="end").reset_index(drop=True)
    assert top.equals(bottom)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(-2, 2), st.sampled_from("abc")), min_size=1, max_size=40),
    st.sets(st.integers(1, 45), min_size=1),
)
def test_counts_are_those_of_the_rankings_also_with_ties(made, ks) -> None:
    documents = [make_document(n, source=source) for n, (_, source) in enumerate(made)]
    with tempfile.TemporaryDirectory() as folder:
        scores = write_scores(Path(folder) / "a", [[float(value) for value, _ in made]], documents=documents)
        names, used, counts = source_counts(scores, ks=sorted(ks))
        for end, bottom in enumerate((False, True)):
            for place, k in enumerate(used):
                listed = scores.documents.sources[scores.ranking("slopes-00", k, bottom=bottom)].tolist()
                assert counts[0, end, place].tolist() == [listed.count(name) for name in names]


def test_reuse(tmp_path: Path) -> None:
    dot = np.zeros((3, 10))
    dot[0, [3, 4]] = dot[1, [4, 3]] = dot[2, [3, 9]] = [2, 1]
    scores = write_scores(tmp_path / "s", dot, queries=QUERIES, documents=DOCUMENTS)
    table = document_reuse(scores, k=2)
    assert table[
        ["document", "queries", "labels", "best_rank", "in slopes", "in slopes-control"]
    ].values.tolist() == [
        ["doc-3", 3, 2, 1, 2, 1],
        ["doc-4", 2, 1, 1, 2, 0],
        ["doc-9", 1, 1, 2, 0, 1],
    ]
    assert reuse_counts(table).values.tolist() == [[1, 1], [2, 1], [3, 1]]
    with pytest.raises(InputError):
        document_reuse(scores, 0)


# -- stages


def test_rank_biased_overlap_closed_forms() -> None:
    a = np.arange(10)
    assert rank_biased_overlap(a, a) == pytest.approx(1)
    assert rank_biased_overlap(a, a + 10) == 0
    p = 0.5  # the first two swapped: agreement 0 at depth 1, 1 after
    swapped = np.array([1, 0, *range(2, 10)])
    assert rank_biased_overlap(a, swapped, p) == pytest.approx(1 - (1 - p))
    half = np.array([0, 11])  # 1 at depth 1, 1/2 at depth 2
    assert rank_biased_overlap(a[:2], half, p) == pytest.approx(0.5 * p**2 + (1 - p) / p * (p + 0.5 * p**2))
    assert np.isnan(rank_biased_overlap(a[:0], a))


@settings(max_examples=50)
@given(st.permutations(range(12)), st.permutations(range(12)), st.floats(0.1, 0.99))
def test_rank_biased_overlap_is_symmetric_and_bounded(a, b, p) -> None:
    x, y = np.array(a), np.array(b)
    value = rank_biased_overlap(x[:8], y[:8], p)
    assert value == pytest.approx(rank_biased_overlap(y[:8], x[:8], p))
    assert -1e-12 <= value <= 1 + 1e-12
    shared = [len(set(a[:d]) & set(b[:d])) / d for d in range(1, 9)]
    known = shared[-1] * p**8 + (1 - p) / p * sum(s * p**d for d, s in enumerate(shared, 1))
    assert value == pytest.approx(known)


def test_overlap() -> None:
    assert overlap(np.array([1, 2, 3]), np.array([3, 4, 1]), 3) == pytest.approx(2 / 3)
    assert overlap(np.array([1, 2, 3]), np.array([1, 9, 8]), 1) == 1


@pytest.fixture
def stages(tmp_path: Path):
    rng = np.random.default_rng(0)
    first = rng.normal(size=(3, 10))
    sharper = [make_query(0), make_query(1, correct=False), QUERIES[2]]
    stores = [
        ("0", write_scores(tmp_path / "0", first, queries=QUERIES, documents=DOCUMENTS)),
        ("1k", write_scores(tmp_path / "1", 3 * first, queries=QUERIES, documents=DOCUMENTS)),
        (
            "2k",
            write_scores(tmp_path / "2", -first, queries=sharper, documents=DOCUMENTS, query_nll=[1, 3.0, 5]),
        ),
    ]
    return stores


def test_agreement_between_stages(stages) -> None:
    table = checkpoint_agreement(stages, ks=(2, 5)).set_index(["query", "a", "b"])
    assert len(table) == 9
    same, flipped = table.loc[("slopes-00", "0", "1k")], table.loc[("slopes-00", "1k", "2k")]
    assert same[["versus", "overlap@2", "overlap@5"]].tolist() == ["both", 1, 1]
    assert same[["r", "rbo"]].tolist() == pytest.approx([1, 1])
    assert flipped["versus"] == "previous"
    assert table.loc[("slopes-00", "0", "2k"), "versus"] == "first"
    assert flipped["r"] == pytest.approx(-1)
    assert flipped["overlap@5"] == 0
    grouped = agreement_by_group(table.reset_index(), stages).set_index(["label", "a", "b", "measure"])
    assert grouped.loc[("slopes", "0", "1k", "r"), "mean"] == pytest.approx(1)
    assert grouped.loc[("slopes", "0", "1k", "r"), "n"] == 2


def test_facts_concentration_and_sources_by_stage(stages) -> None:
    facts = checkpoint_facts(stages).set_index(["stage", "label"])
    assert facts.loc[("0", "slopes"), "accuracy"] == 1
    assert facts.loc[("2k", "slopes"), ["marked", "accuracy", "nats"]].tolist() == [2, 0.5, 2]
    assert np.isnan(facts.loc[("0", "slopes-control"), "accuracy"])
    held = checkpoint_concentration(stages).set_index(["stage", "label", "side", "unit", "at"])["mean"]
    whole = ("slopes", "positive", "percent", 100)
    assert held[("1k", *whole)] == pytest.approx(3 * held[("0", *whole)])
    sources = checkpoint_sources(stages, ks=(2,)).set_index(["stage", "label", "end", "k", "source"])[
        "multiplier"
    ]
    assert sources[("2k", "slopes", "bottom", 2, "math")] == sources[("0", "slopes", "top", 2, "math")]
    slopes = checkpoint_slopes(stages).set_index(["stage", "label", "side"])["mean"]
    assert slopes[("1k", "slopes", "positive")] == pytest.approx(slopes[("0", "slopes", "positive")])


def test_r_within_a_label_at_each_stage(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    queries = [make_query(n, id=f"q{n}", task="ab"[n % 2] if n < 8 else "alone") for n in range(9)]
    stages = []
    for name in ("early", "late"):
        dot, norm = rng.normal(size=(9, 300)), rng.uniform(0.5, 2, 300)
        if name == "late":
            dot[::2] += 3 * rng.normal(size=300)  # a and alone come to draw on the same documents
        stages.append((name, write_scores(tmp_path / name, dot, queries=queries, gradient_norm=norm)))
    table = checkpoint_within(stages).set_index(["stage", "label"])
    r_QQ = correlation(stages[1][1], "normed").to_numpy()[:8:2, :8:2]
    late = table.loc[("late", "a")]
    assert late["pairs"] == 6
    assert late["mean"] == pytest.approx(r_QQ[np.triu_indices(4, 1)].mean())
    assert 0.5 < late["low"] <= late["mean"] <= late["high"] <= 1
    assert abs(table.loc[("early", "a"), "mean"]) < 0.15 > abs(table.loc[("late", "b"), "mean"])
    assert table.loc[("late", "alone"), "pairs"] == 0
    assert table.loc[("late", "alone"), ["mean", "low", "high"]].isna().all()
    blocks = block_table(correlation(stages[1][1], "normed"), queries)
    blocks = blocks[blocks["a"] == blocks["b"]].set_index("a")[["pairs", "mean", "low", "high"]]
    assert blocks.equals(table.loc["late"].rename_axis("a"))


def test_stages_that_cannot_be_compared(stages, tmp_path: Path) -> None:
    (name, first), *_ = stages
    ones, renamed = np.ones((3, 10)), [*QUERIES[:2], make_query(2, id="plain", task="other", group="control")]
    one_query = write_scores(tmp_path / "q", ones[:1], documents=DOCUMENTS)
    other_task = write_scores(tmp_path / "t", ones, queries=renamed, documents=DOCUMENTS)
    fewer = write_scores(tmp_path / "d", ones[:, :9], queries=QUERIES, documents=DOCUMENTS[1:])
    turned = write_scores(tmp_path / "o", ones, queries=QUERIES, documents=DOCUMENTS[::-1])
    for bad, error, have in (
        ([(name, first)], "two runs", "1"),
        ([(name, first), (name, first)], "one name", "0, 0"),
        ([(name, first), ("x", one_query)], "different queries", "3 and 1 queries"),
        ([(name, first), ("x", other_task)], "different queries", "of other ids, prompts, tasks or groups"),
        ([(name, first), ("x", fewer)], "0 and x scored different documents", "10 and 9 documents"),
        ([(name, first), ("x", turned)], "0 and x scored different documents", "in another order"),
    ):
        with pytest.raises(InputError, match=error) as raised:
            check_comparable(bad)
        assert raised.value.have is not None
        assert have in raised.value.have
        assert raised.value.fix
