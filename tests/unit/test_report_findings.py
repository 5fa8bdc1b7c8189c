"""What a report says of its numbers: whichever way they go, with their n, and that they are too few where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stores import CONFIG, PROVENANCE, make_document, make_query, write_scores

from influence.report.answers import answers
from influence.report.concentration import cumulative
from influence.report.contrast import Contrast, compared
from influence.report.correlations import correlations
from influence.report.findings import answers_finding, cumulative_finding, pair_finding, sources_finding
from influence.report.page import Figure, Panel
from influence.report.run_card import Check, fitted_documents, verdict, who_did_what
from influence.report.sources import source_bars, source_multipliers
from influence.store.formats.tables import write_tables
from influence.store.scores import Scores


def contrast_of(folder: Path, within: float, between: float, n: int = 12) -> Contrast:
    """Two tasks of n / 2 queries whose R is `within` in a task and `between` across."""
    labels = np.arange(n) % 2
    r_QQ = np.where(labels[:, None] == labels[None, :], within, between)
    np.fill_diagonal(r_QQ, 1.0)
    noise_QD = np.random.default_rng(0).normal(size=(n, 400))
    whole_QD = np.linalg.qr((noise_QD - noise_QD.mean(1, keepdims=True)).T)[
        0
    ].T  # rows of R = 0 with each other
    values_QD = np.linalg.cholesky(r_QQ) @ whole_QD
    queries = [make_query(q, id=f"q{q}", task="ab"[q % 2]) for q in range(n)]
    return correlations(write_scores(folder / "run", values_QD, queries=queries), "dot").contrast


def test_the_sentence_on_r_follows_the_numbers(tmp_path: Path) -> None:
    more = contrast_of(tmp_path / "more", 0.5, 0.1)
    assert more.sentence.startswith(
        "Queries of one task share documents more than queries of different tasks: mean R +0."
    )
    assert more.difference == pytest.approx(0.4)
    assert more.low == pytest.approx(0.4)
    assert more.high == pytest.approx(0.4)
    assert more.p < 0.01
    less = contrast_of(tmp_path / "less", 0.1, 0.2)
    assert "share documents less than" in less.sentence
    assert less.high == pytest.approx(-0.1)
    assert less.p < 0.01
    same = contrast_of(tmp_path / "same", 0.2, 0.2)
    assert same.sentence.startswith("No difference is shown at the 5 % level between queries of one task and")
    assert same.difference == pytest.approx(0)
    assert same.p == 1


def test_an_interval_alone_shows_no_difference(tmp_path: Path) -> None:
    """Six queries fall into two tasks in ten ways: p cannot be below 0.1, however narrow the interval."""
    few = contrast_of(tmp_path, 0.5, 0.1, n=6)
    assert few.low > 0.3
    assert few.p > 0.05
    assert few.sentence.startswith("No difference is shown")


def test_a_difference_is_found_no_more_often_than_the_level_says() -> None:
    """Of data without a difference, p is at most 0.05 in at most one of 20: 60 sets, 8 are found once in 200 times."""
    labels = list("aaaabbbb")
    ps = []
    for seed in range(60):
        values_QD = np.random.default_rng(seed).normal(size=(8, 40)) + np.random.default_rng(seed).normal(
            size=40
        )
        ps.append(compared(np.corrcoef(values_QD), labels)[2])
    assert sum(p <= 0.05 for p in ps) < 8
    assert 0.35 < np.mean(ps) < 0.7


def test_what_was_not_tested_is_not_called_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influence.report.contrast.MOST_TESTED", 10)
    found = contrast_of(tmp_path, 0.5, 0.1)
    assert found.sentence.startswith("Not tested, for there are more than 10 queries: mean R +0.50")
    assert np.isnan(found.p)


def test_a_mean_near_zero_does_not_hide_both_signs(tmp_path: Path) -> None:
    values_D = np.random.default_rng(0).normal(size=300)
    queries = [make_query(q, id=f"q{q}", task="ab"[q // 4]) for q in range(8)]
    signs = np.array([1, -1] * 4)
    found = correlations(
        write_scores(tmp_path / "run", signs[:, None] * values_D, queries=queries), "dot"
    ).contrast
    assert found.spread == "R is above +0.3 in 43 % of all pairs and below −0.3 in 57 %."
    assert found.figure is not None
    assert found.figure.table["pairs"].sum() == 28


def test_too_few_pairs_are_no_finding(tmp_path: Path) -> None:
    found = contrast_of(tmp_path, 0.5, 0.1, n=2)
    assert found.sentence.startswith("Too few pairs to compare: 0 of one task and 1 of different tasks")
    assert np.isnan(found.difference)
    assert found.how_sure == "it takes pairs within and between tasks"


def test_one_document_and_one_query_are_no_finding(tmp_path: Path) -> None:
    one = write_scores(tmp_path / "one", [[1.0]] * 3)
    finding = cumulative_finding(cumulative(one), one.documents_scored)
    assert finding is not None
    assert finding.answer == "Too few documents to say: n = 1, and the top 1 % takes 100."
    queries = [make_query(q, id=f"q{q}", group="control" if q == 3 else "reasoning") for q in range(4)]
    dot = np.random.default_rng(0).normal(size=(4, 200))
    many = write_scores(tmp_path / "many", dot, queries=queries)
    finding = cumulative_finding(cumulative(many), many.documents_scored)
    assert finding is not None
    assert "(reasoning, n = 3)" in finding.answer
    assert "too few control queries (n = 1)" in finding.answer


def test_sources_of_few_documents_or_few_queries_are_no_finding() -> None:
    rows = [("top", label, 50, "wiki", 2.0, n) for label, n in (("reasoning", 12), ("control", 2))]
    table = pd.DataFrame(rows, columns=["end", "label", "k", "source", "multiplier", "n"])
    figure = Figure("source-curves", (Panel("wiki"),), "", table)
    many, few = sources_finding(figure, 100), sources_finding(figure, 99)
    assert many is not None
    assert few is not None
    assert many.answer == (
        "Most above its share of the corpus in the top 50: wiki 2.0× (reasoning, n = 12), "
        "too few control queries (n = 2)."
    )
    assert few.answer == "Too few documents to say: n = 99, and a share takes 100."


def test_answers_of_few_queries_are_no_finding(tmp_path: Path) -> None:
    queries = [make_query(q, id=f"q{q}", group="control" if q == 3 else "reasoning") for q in range(4)]
    scores = write_scores(tmp_path / "run", np.random.default_rng(0).normal(size=(4, 20)), queries=queries)
    found = pd.DataFrame(
        {"query": [q.id for q in queries], "method": "keywords", "rank": [1.0, 3.0, np.nan, 2.0], "parts": 1}
    )
    hits = pd.DataFrame(
        columns=["query", "method", "part", "rank_normed", "rank_dot", "document", "justification"]
    )
    tables = {"found": found, "hits": hits}
    write_tables(tables, scores.folder / "analysis" / "answers", [scores])
    finding = answers_finding(answers(scores, tables).figure)
    assert finding is not None
    assert finding.answer == (
        "Found in the top 20 by keywords: 67 % (reasoning, n = 3), too few control queries (n = 1)."
    )


@pytest.mark.parametrize(
    ("r", "answer"),
    [
        ([0.5, 0.7], "Too few prompts to say: n = 2 prompts, and it takes 3."),
        ([0.5, 0.5, 0.5], "Mean R +0.50 (n = 3 prompts; 95 % +0.50 to +0.50)."),
    ],
)
def test_two_runs_of_few_prompts_are_no_finding(r: list[float], answer: str) -> None:
    finding = pair_finding(Figure("pair", (Panel("R"),), "", pd.DataFrame({"r": r})), "a", "b")
    assert finding is not None
    assert finding.answer == answer


def check(state: Any, name: str = "A check") -> Check:
    return Check(name, state, "")


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["not run", "not run"], "Not known: no check was run."),
        (["pass", "pass"], "Yes: all 2 checks pass."),
        (["pass", "not run"], "As far as checked: the one check that was run passes, 1 was not run."),
        (["pass", "warn", "not run"], "With care: 1 of the 2 checks that were run warn (A check)."),
    ],
)
def test_the_verdict_is_of_the_checks_that_were_run(states: list[Any], said: str) -> None:
    assert verdict([check(state) for state in states]) == said


def test_the_verdict_says_what_to_run() -> None:
    assert "Run influence analyze sanity" in verdict(
        [check("pass"), check("not run", "A text raises itself")]
    )


def store(folder: Path, provenance: dict[str, Any], hessian: dict[str, Any] | None = None) -> Scores:
    config = CONFIG if hessian is None else {**CONFIG, "hessian": hessian}
    return write_scores(folder, np.ones((2, 5)), provenance=provenance, config=config)


def test_who_wrote_and_who_was_scored(tmp_path: Path) -> None:
    """Another model than the one that is scored may have written the completions, or a person."""
    not_said = who_did_what(store(tmp_path / "a", PROVENANCE))
    assert not_said[0] == ("Completions written by", "not recorded")
    said = who_did_what(
        store(
            tmp_path / "b",
            {**PROVENANCE, "completions_by": "tuned", "query_model_name": "base", "model_name": "m"},
        )
    )
    assert [who for _, who in said] == ["tuned", "base", "m"]


def test_the_number_of_documents_that_were_used(tmp_path: Path) -> None:
    limit = {"empirical": False, "documents": 100_000}
    assert fitted_documents(store(tmp_path / "a", PROVENANCE, limit)) == "5 documents, all of the corpus"
    assert fitted_documents(store(tmp_path / "b", PROVENANCE, {**limit, "documents": 3})) == "3 documents"


def test_bars_of_the_sources_are_the_multipliers_at_fifty_with_their_intervals(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    documents = [make_document(n, source=("wiki", "code", "books")[n % 3]) for n in range(300)]
    dot = random.normal(size=(6, 300)) + np.where(np.arange(300) % 3 == 1, 1.5, 0)
    scores = write_scores(tmp_path / "run", dot, documents=documents)
    curves = source_multipliers(scores, "normed")
    assert curves is not None
    bars = source_bars(curves.table, "normed")
    whole = curves.table[(curves.table["end"] == "top") & (curves.table["k"] == 50)]
    assert bars.table["multiplier"].tolist() == whole["multiplier"].tolist()
    svg = str(bars.panels[0].svg)
    assert svg.index("code, reasoning: ") < min(
        svg.index("wiki, reasoning: "), svg.index("books, reasoning: ")
    )
    code = bars.table.set_index("source").loc["code"]
    assert f"code, reasoning: {code['multiplier']:.2g} ({code['low']:.2g} to {code['high']:.2g})" in svg
    assert "thin line: 95 %, bootstrap over queries" in svg
