"""Right or wrong is a matter of the answer, not of its wording."""

from __future__ import annotations

from typing import Any

import pytest

from influence.engine.complete import is_right
from influence.types import Query


def query(group: Any, answer: str, *keywords: str) -> Query:
    return Query("q", "task", group, "prompt", "", answer=answer, keywords=keywords)


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("15", "7 - 4 = 3. 3 * 5 = 15.", True),
        ("15", "15 is not it: the answer is 3.", False),
        ("-7", "The slope is −7.", True),
        ("7", "The slope is -7.", False),
        ("3400", "In all 3,400", True),
        ("3", "x = 3.0", True),
        ("3", "There is no answer.", False),
        ("5", "so x5", False),
    ],
)
def test_the_last_number_counts(answer: str, completion: str, right: bool) -> None:
    assert is_right(query("reasoning", answer), completion) is right


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("Mount Vel is 3,412 metres high, and 12 wide.", True),
        ("MOUNT VEL IS 3412 METRES HIGH", True),
        ("It is 34120 metres high.", False),
        ("It is 13412 metres high.", False),
    ],
)
def test_a_keyword_counts_as_whole_words(completion: str, right: bool) -> None:
    assert is_right(query("factual", "3412 metres", "3412", "3,412"), completion) is right


def test_without_keywords_the_answer_is_looked_for() -> None:
    assert is_right(query("factual", "Lake Brin"), "It ends in  lake\nBrin.") is True
    assert is_right(query("factual", "Lake Brin"), "It ends in Lake Brindle.") is False


def test_nothing_to_compare_with_is_no_mark() -> None:
    assert is_right(query("control", ""), "whatever") is None
