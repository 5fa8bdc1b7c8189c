"""Ranks along the stages, and what a report makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stores import make_query, write_scores

from influence.analysis.checkpoints import checkpoint_agreement, checkpoint_tops
from influence.analysis.tables import checkpoint_tables
from influence.errors import InputError
from influence.report.checkpoints import checkpoints, overlaps, rank_records
from influence.store.formats.tables import write_tables
from influence.store.scores import Scores

Checkpoints = list[tuple[str, Scores]]


@pytest.fixture
def stages(tmp_path: Path) -> Checkpoints:
    dot = np.random.default_rng(0).normal(size=(3, 3, 40))
    dot[0, 0, :2] = dot[0, 0].max() + 1  # two documents tied at the top: in document order
    queries = [make_query(n) for n in range(3)]
    return [
        (name, write_scores(tmp_path / name, dot[n], queries=queries, checked=True))
        for n, name in enumerate("abc")
    ]


def test_ranks_are_those_of_all_documents(stages: Checkpoints) -> None:
    table = checkpoint_tops(stages, "dot", 4)
    for query in stages[0][1].queries:
        own = table[table["query"] == query.id]
        union = set()
        for name, scores in stages:
            order = np.argsort(-scores.row(query.id, "dot"), kind="stable")
            part = own[own["stage"] == name].set_index("column")["rank"]
            assert part.to_dict() == {c: int(np.flatnonzero(order == c)[0]) + 1 for c in part.index}
            assert part.sort_values().index[:4].tolist() == order[:4].tolist()
            union |= set(order[:4].tolist())
        assert set(own["column"]) == union
    assert table["document"].tolist() == [str(stages[0][1].documents.ids[c]) for c in table["column"]]
    assert set(table["by"]) == {"dot"}
    first = table[(table["query"] == "slopes-00") & (table["stage"] == "a")].set_index("rank")["column"]
    assert first[[1, 2]].tolist() == [0, 1]


def test_stages_that_cannot_be_compared(stages: Checkpoints) -> None:
    with pytest.raises(InputError, match="at least two"):
        checkpoint_tops(stages[:1])


def test_a_report_knows_its_own_stage(stages: Checkpoints) -> None:
    run = stages[1][1]
    assert checkpoints(run) is None
    write_tables(
        checkpoint_tables(stages, "normed", "task", 10),
        run.folder / "analysis" / "stages",
        [scores for _, scores in stages],
    )
    found = checkpoints(run)
    assert found is not None
    assert (found.names, found.here, found.by) == (("a", "b", "c"), "b", "normed")
    records = rank_records(run, [2, 0, 1], found)
    ranks = {records["docs"]["id"][doc]: own for doc, own in records["ranks"][1]}  # of the query in row 0
    table = found.ranks[found.ranks["query"] == run.queries[0].id]
    wide = table.pivot(index="document", columns="stage", values="rank")
    assert ranks == {
        name: [int(n) for n in own] for name, own in zip(wide.index, wide.to_numpy(), strict=True)
    }


def test_overlap_matrix_is_the_mean_over_queries(stages: Checkpoints) -> None:
    tables = checkpoint_tables(stages, "normed", "task", 10)
    figure = overlaps(tables)
    assert figure is not None
    assert [panel.title for panel in figure.panels] == [
        "overlap of the top 10",
        "overlap of the top 100",
        "RBO",
    ]
    agreement = checkpoint_agreement(stages, "normed", [10, 100])
    mean = agreement[(agreement["a"] == "a") & (agreement["b"] == "c")]["overlap@10"].mean()
    matrix = figure.panels[0].matrix
    assert matrix is not None
    assert matrix.columns == ("a", "b", "c")
    cells = [[text for text, _ in cells] for _, _, cells in matrix.rows]
    assert cells[0][2] == cells[2][0] == f"{mean:.2f}"
    assert [cells[n][n] for n in range(3)] == ["1"] * 3
