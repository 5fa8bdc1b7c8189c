"""`influence.analyze`: the tables of every analysis in a notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import make_document, make_query, write_scores

import influence as inf
from influence.analysis.judges import FunctionJudge
from influence.analysis.run import TAKES, K
from influence.analysis.tables import ANALYSES
from influence.errors import InputError
from influence.store.scores import Scores

JUDGE = FunctionJudge("same", lambda prompts: ['{"label": "other maths", "why": "x"}'] * len(prompts))


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    queries = [make_query(n, task="ab"[n % 2]) for n in range(4)]
    documents = [make_document(n, source="xy"[n % 2]) for n in range(12)]
    values = np.random.default_rng(0).normal(size=(4, 12))
    return write_scores(tmp_path / "run", values, queries=queries, documents=documents)


@pytest.mark.parametrize("name", ANALYSES)
def test_every_analysis_gives_tables(scores: Scores, name: str) -> None:
    runs = [("first", scores), ("second", scores)] if name == "stages" else [scores]
    tables = inf.analyze(name, *runs, judge=JUDGE if name == "relations" else None)
    assert all(isinstance(table, pd.DataFrame) for table in tables.values())
    assert not (scores.folder / "analysis" / name / "curves.parquet").exists()
    assert set(ANALYSES) == set(TAKES) >= set(K)


def test_a_path_and_a_store_give_the_same(scores: Scores) -> None:
    (one,), (other,) = (inf.analyze("sources", run, by="dot").values() for run in (scores, scores.folder))
    assert one.equals(other)


def test_tables_are_written_where_a_report_reads_them(scores: Scores, tmp_path: Path) -> None:
    made = inf.analyze("relations", scores, k=2, judge=JUDGE, out=tmp_path / "out")
    assert pd.read_parquet(tmp_path / "out" / "relations.parquet").equals(made["relations"])
    assert (tmp_path / "out" / "judge-replies.jsonl").exists()
    assert not (scores.folder / "analysis").exists()


def test_what_does_not_apply_is_refused(scores: Scores) -> None:
    for call, error in (
        (lambda: inf.analyze("guess", scores), "no analysis 'guess'"),
        (lambda: inf.analyze("stages", scores), "two or more runs"),
        (lambda: inf.analyze("bm25", scores, by="dot"), "It takes group_by, k, out"),
        (lambda: inf.analyze("sources", scores, scan=True), "sources has no scan"),
        (lambda: inf.analyze("correlation", scores, scores, group_by="task"), "has no group_by"),
        (lambda: inf.analyze("relations", scores), "needs a judge"),
        (lambda: inf.analyze("reuse", scores, k=0), "at least 1"),
        (lambda: inf.analyze("sources", scores, by="loud"), "no reading 'loud'"),
        (lambda: inf.analyze("sources", scores, group_by="colour"), "no grouping 'colour'"),
    ):
        with pytest.raises(InputError, match=error):
            call()
