"""One query under two rankings: what moved up and what fell out, against ranks worked out apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from stores import CONFIG, make_document, make_query, write_scores

from influence.analysis.grouping import task_order
from influence.report.passages import Passages
from influence.report.versus import TOP, Versus, versus
from influence.store.formats.tables import write_tables
from influence.store.scores import Scores


def rank_of(scores: Scores, query: str) -> dict[str, int]:
    order = np.argsort(-scores.row(query, "dot"), kind="stable")
    return {str(scores.documents.ids[column]): rank for rank, column in enumerate(order, 1)}


def two_runs(folder: Path, shared: int = 40) -> tuple[Scores, Scores]:
    """Two runs of the same prompts; the second has its documents the other way round, the last ones of its own."""
    random = np.random.default_rng(0)
    queries = [make_query(n, id=f"q{n}") for n in range(3)]
    names = [f"d{n}" for n in range(40)]
    others = [name if n < shared else f"own-{n}" for n, name in enumerate(names)][::-1]
    runs = [
        write_scores(
            folder / name,
            random.normal(size=(3, 40)),
            queries=queries,
            documents=[make_document(n, id=own, text=f"text of {own}") for n, own in enumerate(ids)],
            config={**CONFIG, "corpus": name},
            checked=True,
        )
        for name, ids in (("base", names), ("tuned", others))
    ]
    return runs[0], runs[1]


def compared(base: Scores, tuned: Scores) -> list[Versus]:
    cross = pd.DataFrame(
        {"query_a": ["q0", "q1", "q2"], "query_b": ["q0", "q1", "q2"], "task": "t", "r": 0.0}
    )
    write_tables({"cross": cross}, tuned.folder / "analysis" / "correlation", [base, tuned])
    return versus(tuned, task_order(tuned.queries), "dot", None, Passages(tuned, None))


def test_ranks_of_both_runs_stand_beside_each_other(tmp_path: Path) -> None:
    base, tuned = two_runs(tmp_path)
    (other,) = compared(base, tuned)
    assert other.name == "base"
    for query, rows in zip(("q0", "q1", "q2"), other.rows, strict=True):
        here, there = rank_of(tuned, query), rank_of(base, query)
        expected = {name for name in here if here[name] <= TOP or there[name] <= TOP}
        assert {row[0] for row in rows} == expected
        for name, _, a, b, passage in rows:
            assert (a, b) == (here[name], there[name])
            assert "".join(passage[1:]) == f"text of {name}"


def test_a_document_of_one_run_alone_has_one_rank(tmp_path: Path) -> None:
    base, tuned = two_runs(tmp_path, shared=20)
    (other,) = compared(base, tuned)
    rows = {row[0]: row for row in other.rows[0]}
    own = [row for name, row in rows.items() if name.startswith("own-")]
    assert own
    assert all(row[3] is None for row in own)
    gone = [
        row for name, row in rows.items() if int(name.split("d")[-1].split("-")[-1]) >= 20 and name[0] == "d"
    ]
    assert gone
    assert all(row[2] is None for row in gone)


def test_a_run_that_has_changed_since_is_left_out(tmp_path: Path) -> None:
    base, tuned = two_runs(tmp_path)
    compared(base, tuned)
    (base.folder / "manifest.json").unlink()
    assert versus(tuned, [0, 1, 2], "dot", None, Passages(tuned, None)) == []


def test_bm25_stands_beside_influence(tmp_path: Path) -> None:
    _, tuned = two_runs(tmp_path)
    lexical = pd.DataFrame({"query": "q1", "column": [3, 5, 7], "rank_bm25": [1, 2, 30]})
    (other,) = versus(tuned, [0, 1, 2], "dot", lexical, Passages(tuned, None))
    assert (other.name, other.rows[0], other.rows[2]) == ("BM25", [], [])
    here = rank_of(tuned, "q1")
    found = {row[0]: (row[2], row[3]) for row in other.rows[1]}
    for column, rank in ((3, 1), (5, 2)):
        name = str(tuned.documents.ids[column])
        assert found[name] == (here[name], rank)
    assert all(a <= TOP or b in (1, 2) for a, b in found.values())
    assert other.as_json(False)["rows"][1][0][4] == ["beginning"]
