"""Which passage of a document a report shows, and what it opens with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import PROVENANCE, make_document, make_query, write_scores

from influence.analysis.documents import top_table
from influence.report.correlations import correlations
from influence.report.first_screen import FirstScreen, first_screen
from influence.report.passages import LENGTH, Passages, by_tokens, by_words

WORDS = [f"word{n:03d}" for n in range(200)]
TEXT = " ".join(WORDS)
LENGTHS = np.array([8] * 199 + [7])


def values(**at: float) -> np.ndarray:
    value_T = np.zeros(200)
    for word, value in at.items():
        value_T[WORDS.index(word)] = value
    return value_T


def test_the_passage_is_where_tokens_sum_to_the_most_and_marks_the_strongest() -> None:
    passage = by_tokens(TEXT, values(word010=3.0, word100=2.0, word102=2.0, word103=0.5), LENGTHS, 1.0)
    assert passage.how == "tokens"
    assert "word010" not in passage.text  # 3 alone is less than 2 + 2 + 0.5 together
    assert [piece.strip() for piece in passage.pieces[1::2]] == ["word100", "word102 word103"]
    assert len(passage.text) <= LENGTH + 2 + 2 * 20
    assert passage.text.strip("…").strip() in TEXT


def test_the_passage_of_a_document_that_lowers_is_where_it_lowers() -> None:
    passage = by_tokens(TEXT, values(word010=3.0, word100=-4.0), LENGTHS, -1.0)
    assert [piece.strip() for piece in passage.pieces[1::2]] == ["word100"]


def test_a_passage_at_the_end_of_a_document_is_as_long_as_any() -> None:
    passage = by_tokens(TEXT, values(word199=1.0), LENGTHS, 1.0)
    assert len(passage.text) >= LENGTH
    assert passage.pieces[1] == "word199"


def test_without_tokens_the_passage_shares_most_words_with_the_completion() -> None:
    text = f"{'the ' * 300}Paris is {'the ' * 200} a tower in Paris, France {'the ' * 200}"
    passage = by_words(text, "The tower of Paris in France", "")
    assert passage.how == "words"
    assert "tower in Paris, France" in passage.text
    assert "tower in Paris" in passage.pieces[1::2]


def test_words_of_the_prompt_count_where_the_completion_has_none_and_else_the_beginning() -> None:
    assert by_words(TEXT, "42", "where is word150?").pieces[1::2] == ("word150",)
    beginning = by_words(TEXT, "42", "?")
    assert (beginning.how, len(beginning.pieces)) == ("beginning", 1)
    assert beginning.text.startswith("word000 word001")
    assert by_words("", "a", "b").text == ""


def screen(folder: Path, dot: np.ndarray, **fields: object) -> FirstScreen:
    documents = [
        make_document(n, text=f"The slope of document {n} is rise over run.") for n in range(dot.shape[1])
    ]
    scores = write_scores(folder / "run", dot, documents=documents, **fields)  # type: ignore[arg-type]
    contrast = correlations(scores, "dot").contrast
    return first_screen(scores, contrast, top_table(scores, 5), Passages(scores, None), "dot", True)


@pytest.mark.usefixtures("undrawn")
def test_one_query_opens_with_its_document_and_is_no_finding(tmp_path: Path) -> None:
    opened = screen(tmp_path / "a", np.array([[0.5, 2.0, -1.0]]))
    assert (
        opened.headline
        == "Of 3 documents, doc-1 raises the log-probability of the completion of slopes-00 most."
    )
    assert opened.sure.startswith("One query is an example, not a finding. Too few pairs to compare")
    assert opened.example is not None
    assert opened.example.document == "doc-1"
    assert opened.example.passage is not None
    assert "The slope" in opened.example.passage.pieces[1]
    assert opened.example.raises
    lowest = screen(tmp_path / "b", np.array([[-0.5, -2.0, -1.0]]))
    assert "doc-0 lowers the log-probability" in lowest.headline
    assert "least; none raises it." in lowest.headline


@pytest.mark.usefixtures("undrawn")
def test_the_headline_follows_the_contrast_and_the_example_was_answered_right(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    task = np.arange(12) % 2
    dot = random.normal(size=(2, 200))[task] + 0.5 * random.normal(size=(12, 200))
    queries = [make_query(n, id=f"q{n}", task="ab"[n % 2], correct=n == 3) for n in range(12)]
    opened = screen(
        tmp_path, dot, queries=queries, provenance={**PROVENANCE, "completions_by": "the tuned model"}
    )
    assert opened.headline.startswith(
        "Queries of one task share documents more than queries of different tasks: R is +0."
    )
    assert "95 % +0." in opened.sure
    assert opened.sure.endswith("n = 30 and 36 pairs.")
    assert opened.example is not None
    assert (opened.example.query.id, opened.example.number) == ("q3", 4)
    assert opened.example.writer == "the tuned model"


@pytest.mark.usefixtures("undrawn")
def test_no_example_where_no_text_may_be_shown(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "run", np.array([[1.0, 2.0]]))
    contrast = correlations(scores, "dot").contrast
    table: pd.DataFrame = top_table(scores, 2)
    assert first_screen(scores, contrast, table, None, "dot", False).example is None
