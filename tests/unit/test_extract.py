"""Answers read out of messy texts; None where a text gives none."""

from __future__ import annotations

import pytest

from influence.data.tasks.extract import Kind, read_answer
from influence.data.tasks.numbers import read_number

NUMBERS = {
    "18": "18",
    "$18": "18",
    "18 dollars": "18",
    "The answer is 1,234.": "1234",
    "The answer is $1,234.50 in all.": "1234.5",
    "She makes 9 * 2 = <<9*2=18>>18 dollars.\n#### 18": "18",
    "so 16 - 3 - 4 = 9\n9 * 2 = 18": "18",
    "#### -7": "-7",
    "#### −7": "-7",
    r"Hence \boxed{42}.": "42",
    r"Hence $\boxed{\$1{,}000}$": "1000",
    r"\boxed{\frac{3}{4}}": "0.75",
    r"\boxed{12\text{ apples}}": "12",
    "**Answer:** 72": "72",
    "A: 72": "72",
    "Answer: 72 clips (48 + 24)": "72",
    "The final answer is: **5.00**": "5",
    "1/3": "1/3",
    "18kg": "18",
    "50%": "50",
    "The answer is 10. Wait, the answer is 12.": "12",
    "It takes 3 bolts": "3",
    "In 2020 there were 5. Now there are 8 of them.": "8",
    "": None,
    "none": None,
    "eighteen": None,
    "between 5 and 10": None,
    "The answer is 5:30.": None,
    "The answer is 12/05/2021.": None,
    "The answer is 1.234,56": None,
    "The answer is 10^5": "100000",
    "The answer is 2^5": None,
    "The answer is 3x": None,
    "The answer is unknown.": None,
    "5-10": None,
}

YES_NO = {
    "Yes": "yes",
    "no.": "no",
    "**No**": "no",
    'Answer: "yes"': "yes",
    "So, yes, the coin is still heads up.": "yes",
    "Nobody touched it. The answer is Yes.": "yes",
    "No, the coin is not heads up.": "no",
    "yes or no? Yes.": "yes",
    "The coin was flipped by no one, so: yes.": "yes",
    "Is it? The answer is no. If neither flipped it, it is heads up.": "no",
    "": None,
    "It cannot be told.": None,
    "No action was taken": None,
    "Yes. The answer is no.": None,
    "yes and no.": None,
    "The coin is heads up.": None,
    "Noyes": None,
}

LETTERS = {
    "ne": "ne",
    '"ne"': "ne",
    "n e": "ne",
    "N-E": "ne",
    "n, e": "ne",
    "N.E.": "ne",
    "n and e": "ne",
    "kkna": "kkna",
    'The last letters of "Dan Guadalupe" are "n" and "e". Together: "ne".': "ne",
    "they result in “ne”.": "ne",
    "gives 'ne'": "ne",
    "Concatenated they give **ne**.": "ne",
    "The answer is ne.": "ne",
    "The answer is n-e": "ne",
    r"\boxed{ne}": "ne",
    'Joining "n" and "e" gives "n e".': "ne",
    "": None,
    'The letters are "n" and "e".': None,
    'In the words of "Dan Guadalupe"': None,
    'The last word is "Guadalupe".': None,
    "The answer is clear.": None,
    "I cannot do that": None,
    "42": None,
}

OPTIONS = ("Mouse", "Sloth", "Tree frog", "Frog")
CHOSEN = {
    "B": "Sloth",
    "(B)": "Sloth",
    "B) Sloth": "Sloth",
    "B. Sloth": "Sloth",
    "The answer is (B).": "Sloth",
    "The answer is B": "Sloth",
    r"\boxed{B}": "Sloth",
    "I would choose option B here": "Sloth",
    "sloth": "Sloth",
    "It is the sloth, of course.": "Sloth",
    "A tree frog": "Tree frog",
    "You said Mouse, but the answer is Sloth.": "Sloth",
    "": None,
    "B) Mouse": None,
    "(A) or (B)": None,
    "The answer is E": None,
    "Mouse or Sloth": None,
    "A dog": None,
}

VERDICTS = {
    "[[A]]": "A",
    "Both are fine, but ... [[B]]": "B",
    "[[ C ]]": "C",
    "[[Tie]]": "C",
    "[[A]] ... finally [[A]]": "A",
    "My verdict: B": "B",
    "The better response is Assistant A.": "A",
    "B": "B",
    "": None,
    "[[A]] but also [[B]]": None,
    "A good answer": None,
    "Response A is long.": None,
}


CASES: list[tuple[Kind, tuple[str, ...], dict[str, str | None]]] = [
    ("number", (), NUMBERS),
    ("yes-no", (), YES_NO),
    ("letters", ("Dan", "Guadalupe"), LETTERS),
    ("option", OPTIONS, CHOSEN),
    ("verdict", (), VERDICTS),
]


@pytest.mark.parametrize(
    ("kind", "given", "text", "answer"),
    [(kind, given, text, answer) for kind, given, cases in CASES for text, answer in cases.items()],
)
def test_messy_text(kind: Kind, given: tuple[str, ...], text: str, answer: str | None) -> None:
    assert read_answer(text, kind, given) == answer


def test_text_is_taken_whole() -> None:
    assert read_answer("  two\n lines ", "text") == "two lines"
    assert read_answer(" \n", "text") is None


def test_letters_of_unknown_words_are_short() -> None:
    assert read_answer("The answer is ne.", "letters") == "ne"
    assert read_answer("The answer is obvious.", "letters") is None


@pytest.mark.parametrize("text", ["0.1", "0.10", "0.100"])
def test_one_form_of_a_number(text: str) -> None:
    assert read_number(text) == "0.1"


def test_small_decimals_keep_their_zeros() -> None:
    assert read_number("-0.005") == "-0.005"
    assert read_number("1,000,000") == "1000000"
