"""Labels of people: Cohen's κ against a case worked by hand, and files that are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from stores import write_scores

from influence.analysis.labels import against_keywords, agreement, read_labels
from influence.cli.main import cli
from influence.errors import InputError
from influence.store.formats.tables import write_tables


def given(text: str) -> dict[tuple[str, str], str]:
    """One label a letter: documents 0, 1, … of one query."""
    names = {"r": "relevant", "a": "answer", "w": "wrong"}
    return {("q", str(n)): names[letter] for n, letter in enumerate(text)}


def write(path: Path, labels: dict[tuple[str, str], str]) -> Path:
    lines = [json.dumps({"query": q, "document": d, "label": label}) for (q, d), label in labels.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_kappa_of_a_case_worked_by_hand() -> None:
    # 10 documents, 7 agree; chance: relevant .5 × .6 + answer .3 × .3 + wrong .2 × .1 = .41
    a, b = given("rrrrraaaww"), given("rrrrarrawa"[:10])
    assert [sum(x == "relevant" for x in s.values()) for s in (a, b)] == [5, 6]
    assert [sum(x == "answer" for x in s.values()) for s in (a, b)] == [3, 3]
    same = sum(a[key] == b[key] for key in a) / 10
    assert agreement(a, b).same == same == 0.6
    assert agreement(a, b).kappa == pytest.approx((0.6 - 0.41) / (1 - 0.41))
    assert agreement(a, a).kappa == 1


def test_only_documents_that_both_have_count_and_one_label_for_all_is_not_defined() -> None:
    some = agreement(given("ra"), {**given("ra"), ("q", "9"): "wrong"})
    assert (some.n, some.kappa) == (2, 1)
    assert math.isnan(agreement(given("rr"), given("rr")).kappa)
    assert agreement(given("r"), {}).n == 0


def test_a_person_against_the_keyword_judge() -> None:
    hits = pd.DataFrame(
        {"query": ["q", "q", "q"], "document": ["0", "1", "3"], "method": ["keywords", "keywords", "hf"]}
    )
    # the person says answer of 0 and 2; keywords of 0 and 1: of four documents two agree, chance is a half
    between = against_keywords(given("arar"), hits)
    assert (between.n, between.same, between.kappa) == (4, 0.5, 0)


def test_what_is_no_label_is_refused_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", given("ra"))
    assert read_labels(path) == given("ra")
    for line in (
        "[]",
        "{}",
        "{",
        '{"query": "q", "document": "d", "label": "good"}',
        '{"query": 1, "document": "d", "label": "wrong"}',
    ):
        path.write_text(f"\n{line}\n", encoding="utf-8")
        with pytest.raises(InputError, match=r"Line 2 of .* is no label"):
            read_labels(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "none.jsonl")


def test_the_command_prints_each_pair(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.jsonl", given("ra")), write(tmp_path / "b.jsonl", given("ra"))
    result = CliRunner().invoke(cli, ["labels", str(a), str(b)])
    assert result.exit_code == 0, result.output
    assert result.stdout.split()[-3:] == ["2", "1", "1"]
    assert "One file agrees with nothing" in str(CliRunner().invoke(cli, ["labels", str(a)]).exception)
    scores = write_scores(tmp_path / "run", [[1.0, 2.0]])
    assert "no table of answers" in str(
        CliRunner().invoke(cli, ["labels", str(a), "--run", str(scores.folder)]).exception
    )
    hits = pd.DataFrame({"query": ["q"], "document": ["1"], "method": ["keywords"]})
    write_tables({"hits": hits}, scores.folder / "analysis" / "answers", [scores])
    told = CliRunner().invoke(cli, ["labels", str(a), "--run", str(scores.folder)]).stdout
    assert "keywords (answer or not)" in told
