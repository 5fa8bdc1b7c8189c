"""Kinds of documents and what rankings prefer, on matrices whose every number can be read off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from stores import make_document, make_query, write_scores

from influence.analysis.checkpoints import checkpoint_held
from influence.analysis.kinds import (
    checkpoint_contrasts,
    checkpoint_kinds,
    contrast_trends,
    contrasts,
    contrasts_by_group,
    kind_mix,
    kinds_of,
    superiority,
)
from influence.store.scores import Scores

QUERIES = [make_query(0, id="q0", answer="1"), make_query(1, id="q1", answer="0")]

#: kind, form, answer, queries it is about
ROWS = [
    ("full chain", "full", "1", []),
    ("full chain", "full", "0", []),
    ("answer only", "answer", "1", []),
    ("answer only", "answer", "0", []),
    ("same operands", "full", "1", ["q0"]),
    ("same operands", "answer", "1", ["q0"]),
    ("shared partial result", "full", "0", ["q0"]),
    ("distractor", "full", "1", []),
]
DOCUMENTS = [
    make_document(
        n, source=kind, metadata={"form": form, "answer": answer} | ({"queries": about} if about else {})
    )
    for n, (kind, form, answer, about) in enumerate(ROWS)
]


def store(folder: Path, *rows: Sequence[float]) -> Scores:
    return write_scores(folder, np.array(rows, float), queries=QUERIES, documents=DOCUMENTS)


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    return store(tmp_path / "s", [8, 7, 6, 5, 9, 4, 3, -2], [1, 2, 3, 4, 5, 6, 7, 8])


def test_superiority() -> None:
    assert superiority(np.array([3.0, 1.0]), np.array([2.0, 0.0])) == 0.75
    assert superiority(np.array([1.0]), np.array([1.0])) == 0.5
    assert np.isnan(superiority(np.array([]), np.array([1.0])))


def test_a_document_about_another_query_is_what_its_form_makes_it(scores: Scores) -> None:
    kinds = kinds_of(scores)
    assert [kinds.names[code] for code in kinds.row("q0")] == [row[0] for row in ROWS]
    seen = [kinds.names[code] for code in kinds.row("q1")]
    assert seen[4:7] == ["full chain", "answer only", "full chain"]


def test_contrasts_by_hand(scores: Scores) -> None:
    table = contrasts(scores).pivot(index="query", columns="measure", values="value")
    first = table.loc["q0"]  # answer 1
    assert first["procedure over answer"] == 1.0  # 7 (whole, 0) over 6 (none, 1)
    assert first["procedure"] == 1.0  # 8 over 6, 7 over 5
    assert first["answer"] == 1.0  # 8 over 7, 6 over 5
    assert first["operands"] == 0.5  # whole: 9 over 8; none: 4 under 6
    assert first["partial results"] == 0.0  # 3 under 7
    second = table.loc["q1"]  # answer 0; what is about q0 counts by its form
    assert second["procedure over answer"] == pytest.approx(0.5)  # whole, 1: {1, 5} over none, 0: {4}
    assert second["answer"] == pytest.approx(np.mean([(1 + 0 + 1 + 1) / 4, 1 / 2]))
    assert np.isnan(second["operands"])


def test_shares_add_up(scores: Scores) -> None:
    mix = kind_mix(scores, k=4)
    assert set(mix["measure"]) == {"top 4", "positive influence"}
    for _, part in mix.groupby("measure"):
        assert part["share"].sum() == pytest.approx(1)
        assert part["corpus_share"].sum() == pytest.approx(1)
    own = mix[mix["measure"] == "positive influence"].set_index("kind")["share"]
    assert own["distractor"] == pytest.approx(np.mean([0, 8 / 36]))
    assert own["same operands"] == pytest.approx(np.mean([13 / 42, 0]))
    top = mix[mix["measure"] == "top 4"].set_index("kind")["share"]
    assert top["full chain"] == pytest.approx(np.mean([2 / 4, 2 / 4]))


def test_preferences_do_not_change_with_the_scale_or_the_order_of_documents(
    tmp_path: Path, scores: Scores
) -> None:
    scaled = write_scores(tmp_path / "scaled", 7 * scores.dot, queries=QUERIES, documents=DOCUMENTS)
    order = np.random.default_rng(0).permutation(len(ROWS))
    mixed = write_scores(
        tmp_path / "mixed", scores.dot[:, order], queries=QUERIES, documents=[DOCUMENTS[n] for n in order]
    )
    for other in (scaled, mixed):
        assert contrasts(other).equals(contrasts(scores))


def test_trends_against_all_orders(tmp_path: Path) -> None:
    rows = [[1, 8, 2, 7, 0, 0, 0, 0], [8, 1, 7, 2, 0, 0, 0, 0]]
    stages = []
    for number in range(4):  # the document of the other answer with a whole chain rises
        up = [
            [value + 3 * number * (place == other) for place, value in enumerate(row)]
            for row, other in ((rows[0], 1), (rows[1], 0))
        ]
        stages.append((f"s{number}", store(tmp_path / f"s{number}", *up)))
    table = checkpoint_contrasts(stages)
    means = contrasts_by_group(table, stages)
    assert len(means) == 4 * 5
    trend = contrast_trends(table, stages).set_index("measure").loc["procedure over answer"]
    values = table[table["measure"] == "procedure over answer"].pivot(
        index="query", columns="stage", values="value"
    )
    assert trend["orders"] == 24
    assert trend["change"] == pytest.approx((values["s3"] - values["s0"]).mean())
    assert trend["slope"] == pytest.approx(np.polyfit(range(4), values.mean(), 1)[0])
    assert 0 < trend["p"] <= 1
    assert contrast_trends(table, stages[:1]).empty
    assert list(checkpoint_kinds(stages, k=4)["stage"].unique()) == ["s0", "s1", "s2", "s3"]
    held = checkpoint_held(stages)
    whole = held[(held["side"] == "positive") & (held["unit"] == "percent") & (held["at"] == 100)]
    assert whole["mean"].to_numpy() == pytest.approx(1)


def test_a_corpus_that_says_nothing_has_no_contrasts(tmp_path: Path) -> None:
    plain = write_scores(tmp_path / "plain", np.eye(2, 8), queries=QUERIES)
    assert contrasts(plain).empty
    assert kind_mix(plain)["kind"].unique().tolist() == ["wiki"]
