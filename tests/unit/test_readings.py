"""Answers in the forms that today's models write: each is read as what it says, and what says nothing as None."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from influence.data.tasks.extract import Kind, read_answer

REPLIES = Path(__file__).resolve().parents[1] / "data" / "replies.jsonl"

#: Text -> the number it gives.
NUMBERS: dict[str, str | None] = {
    # after a declaration, the last equals sign
    "The answer is 9*2=18.": "18",
    "Answer: 3 + 4 = 7": "7",
    "The answer is 16 - 3 - 4 = 9 eggs.": "9",
    "The result is <<9*2=18>>18 dollars.": "18",
    "Answer: x = 5": "5",
    "Answer: x = 3 and y = 4": None,
    "The answer is x = 3 or x = 4.": None,
    "The answer is 5 = 3 + 2 + ...": None,
    "Answer: 3 + 4": None,
    "The final answer is 2 * 3 = 6 because each has two.": "6",
    "Total: 120 / 24 = 5 hours to read 120 pages": "5",
    "45 / 2 = 22.5, which rounds up to 23": None,
    # thinking is passed over
    "<think>… The answer is 99.</think>\n\n18": "18",
    "<think>The answer is 99.</think>\n\nThe answer is 18.": "18",
    "<reasoning>99</reasoning> 18": "18",
    "The answer is 99.</think>18": "18",
    "<think>The answer is 99.": None,
    "<think></think>": None,
    # what models write for numbers
    r"\boxed{1\,234}": "1234",
    "1 234": "1234",
    "1\u202f234": "1234",
    "3 1/2": "3.5",
    "3½": "3.5",
    r"\boxed{3\frac{1}{2}}": "3.5",
    "1.5 million": "1500000",
    "$2.25 billion": "2250000000",
    "2 × 10^3": "2000",
    r"2 \times 10^{3}": "2000",
    "2 x 10³": "2000",
    "10^{-2}": "0.01",
    ".5": "0.5",
    "-.5": "-0.5",
    "1e6": "1000000",
    r"\boxed{\frac12}": "0.5",
    r"\boxed{-\frac{1}{4}}": "-0.25",
    r"\boxed{\text{18 dollars}}": "18",
    r"\boxed{\$18}": "18",
    r"\boxed{18\%}": "18",
    r"\boxed{x = 18}": "18",
    r"\boxed{5, 6}": None,
    r"\fbox{18}": "18",
    r"\boxed{": None,
    "-$5": "-5",
    "€ 1,234.50": "1234.5",
    "1.234,50": None,
    "1,5": None,
    "Answer: 0.30000": "0.3",
    "18k": None,
    "3rd": None,
    "Answer: 007": "7",
    # headings and marks
    "### Answer\n18": "18",
    "**Answer**\n\n18 apples": "18",
    "Final Answer:\n\n18": "18",
    "#### 18\n\nQuestion: How many? #### 5": "18",
    "#### 18\n#### 5": "18",
    "#### $1,080": "1080",
    "#### Step 1\nThere are 3.\n#### Step 2\nThere are 5.\n\nThe answer is 5.": "5",
    "## 18": "18",
    "## Step 3": None,
    "The answer is 18.\n\nProblem: Two more?\nThe answer is 2.": "18",
    "18\n\nQ: And now?\nA: 20": "18",
    # ranges, lists, bounds
    "18-20": None,
    "18 – 20": None,
    "between 5 and 6": None,
    "The answer is between 5 and 6.": None,
    "The answer is 5 to 6.": None,
    "The answer is 5 or 6.": None,
    "The answer is 5, 6 and 7.": None,
    "The answer is at least 5.": None,
    "The answer is more than 5.": None,
    "from 5 up to 6": None,
    # by value
    "1,080": "1080",
    "$18": "18",
    "18.0": "18",
    "18.": "18",
    "+18": "18",
    "18 €": "18",
    # not an answer, or somebody else's
    "The answer is not 5.": None,
    "The answer isn't 5.": None,
    "You said the answer is 5.": None,
    "If the answer is 5, we are done.": None,
    "Is the answer 5?": None,
    "The answer is 5?": None,
    "I do not think the answer is 5.": None,
    "You said the answer is 5, but the answer is 6.": "6",
    "The first answer is 5. Corrected, the answer is 6.": "6",
    "The answer is 5 (not 6).": "5",
    "The answer is 5, and here is why: 2 + 3 = 5.": "5",
    "See page 5": None,
    "Let me know if 5 helps.": None,
}

OPTIONS: dict[tuple[str, ...], dict[str, str | None]] = {
    ("Mouse", "Sloth", "Tree frog", "Frog"): {
        "Option B": "Sloth",
        "The correct choice is B.": "Sloth",
        "Answer: b": "Sloth",
        "B is correct.": "Sloth",
        "The correct option is (b).": "Sloth",
        "Choice B, I would say": "Sloth",
        "**B**": "Sloth",
        "$\\boxed{B}$": "Sloth",
        "The answer is B because it is slow.": "Sloth",
        "The answer is B, a sloth.": "Sloth",
        "(B) is the right answer.": "Sloth",
        "The answer is A, B or C.": None,
        "A is incorrect.": None,
        "B is not correct.": None,
        "It is neither the mouse nor the sloth.": None,
        "The answer is not the mouse.": None,
        "The answer is a frog.": "Frog",
        "The answer is a tree frog.": "Tree frog",
        "A frog, not a tree frog": None,
        "A": "Mouse",
        "E": None,
        "Answer: B. Sloth\n\nQuestion: Who is small?\nAnswer: A. Mouse": "Sloth",
        "<think>A</think>B": "Sloth",
    },
    ("-3", "3"): {
        "-3": "-3",
        "3": "3",
        "−3": "-3",
        "The answer is -3.": "-3",
        "The answer is 3.": "3",
        "13": None,
        "3.5": None,
    },
    ("C++", "C"): {
        "C++": "C++",
        "C": "C",
        "The answer is C++.": "C++",
        "It is written in C++": "C++",
        "A": "C++",
    },
    ("x > 3", "x < 3"): {
        "x > 3": "x > 3",
        "The answer is x < 3.": "x < 3",
        "B) x < 3": "x < 3",
        "x = 3": None,
    },
    ("C. S. Lewis", "J. R. R. Tolkien", "Roald Dahl"): {
        "C. S. Lewis": "C. S. Lewis",
        "The answer is C. S. Lewis.": "C. S. Lewis",
        "B. J. R. R. Tolkien": "J. R. R. Tolkien",
        "The answer is C.": "Roald Dahl",
    },
}

VERDICTS: dict[str, str | None] = {
    "[[A>B]]": "A",
    "[[A>>B]]": "A",
    "[[B>A]]": "B",
    "[[A<B]]": "B",
    "[[A=B]]": "C",
    "[[tie]]": "C",
    "[[Response B]]": "B",
    "[[A is better]]": "A",
    "[[unsure]]": None,
    "Response B is better.": "B",
    "Response B is not better.": None,
    "If response B is better, say so.": None,
    "Assistant A is slightly better.": "A",
    "It is a tie.": "C",
    "It's a draw.": "C",
    "It is not a tie.": None,
    "The two responses are equally helpful.": "C",
    "Output (a)": "A",
    "Output (b) is better because it is shorter.": "B",
    "Response A: 4\nResponse B: 2": "A",
    "Response A: 4/5\nResponse B: 4/5": "C",
    "**Response A:** 2\n**Response B:** 4.5": "B",
    "Rating for A: 3\nRating for B: 1": "A",
    "[[A]] at first sight. My final verdict is [[B]]": "B",
    "[[A]], then [[B]]": None,
    "<think>[[A]]</think>[[B]]": "B",
    "The better response is response A.": "A",
    "I choose output (a).": "A",
    "Response A lists more facts.": None,
}

OTHERS: list[tuple[Kind, tuple[str, ...], str, str | None]] = [
    ("yes-no", (), "<think>yes</think>no", "no"),
    ("yes-no", (), "The answer is not yes.", None),
    ("yes-no", (), "Answer: yes\n\nQuestion: And this?\nAnswer: no", "yes"),
    ("yes-no", (), r"\boxed{\text{yes}}", "yes"),
    ("yes-no", (), "The answer is not predetermined: it could be 'Yes' or 'No'.", None),
    ("letters", ("Ada", "Bob"), "<think>ba</think>ab", "ab"),
    ("letters", ("Ada", "Bob"), r"\boxed{\text{ab}}", "ab"),
    ("letters", ("Ada", "Bob"), "ab\n\nQ: And of Cid Dan?\nA: dn", "ab"),
    ("text", (), "<think>hm</think> Two\nlines", "Two lines"),
    ("text", (), "<think>never ends", None),
]

CASES = [
    *(("number", (), text, answer) for text, answer in NUMBERS.items()),
    *(("option", given, text, answer) for given, texts in OPTIONS.items() for text, answer in texts.items()),
    *(("verdict", (), text, answer) for text, answer in VERDICTS.items()),
    *OTHERS,
]


@pytest.mark.parametrize(("kind", "given", "text", "answer"), CASES)
def test_reading(kind: Kind, given: tuple[str, ...], text: str, answer: str | None) -> None:
    assert read_answer(text, kind, given) == answer


def test_labelled_replies_are_read_as_their_labels_say() -> None:
    """Of 206 replies: none is misread, and none that gives an answer is left unread."""
    replies = [json.loads(line) for line in REPLIES.read_text(encoding="utf-8").splitlines()]
    outcomes: Counter[str] = Counter()
    for reply in replies:
        answer = read_answer(reply["text"], reply["kind"], reply["given"])
        outcomes["right" if answer == reply["answer"] else "unread" if answer is None else "misread"] += 1
    assert len(replies) >= 200
    assert outcomes == {"right": len(replies)}


_MEGABYTE = 1 << 20
HOSTILE = {
    "digits": "9" * _MEGABYTE,
    "groups": "1,000" * (_MEGABYTE // 5),
    "blank groups": "1 000 " * (_MEGABYTE // 6),
    "blanks": " " * _MEGABYTE + "18",
    "blanks after a declaration": "The answer is" + " " * _MEGABYTE + "18",
    "declarations": "the answer is " * (_MEGABYTE // 14),
    "colons": "answer:" * (_MEGABYTE // 7),
    "boxes": "\\boxed{" * (_MEGABYTE // 7),
    "fractions": "\\frac{" * (_MEGABYTE // 6),
    "braces": "\\text{" * (_MEGABYTE // 6),
    "marks": "#" * _MEGABYTE,
    "mark lines": "#### \n" * (_MEGABYTE // 6),
    "thoughts": "<think>" * (_MEGABYTE // 7),
    "ended thoughts": "</think>" * (_MEGABYTE // 8),
    "verdicts": "[[A" * (_MEGABYTE // 3),
    "letters": "a " * (_MEGABYTE // 2),
    "letters and": "a and " * (_MEGABYTE // 6),
    "quotes": '"' * _MEGABYTE,
    "stars": "*" * _MEGABYTE,
    "no": "no " * (_MEGABYTE // 3),
    "equals": "1=" * (_MEGABYTE // 2),
    "equations": "<<1+1=2" * (_MEGABYTE // 7),
    "responses": "Response A: " * (_MEGABYTE // 12),
    "newlines": "\n" * _MEGABYTE + "18",
    "questions": "Question:\n" * (_MEGABYTE // 10),
    "options": "(A) B. " * (_MEGABYTE // 7),
    "accents": "é" * _MEGABYTE,
    "powers": "10^" * (_MEGABYTE // 3),
    "not": "not " * (_MEGABYTE // 4),
}


@pytest.mark.parametrize("kind", ["letters", "yes-no", "number", "option", "verdict", "text"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_of_anything_is_read_within_a_second(name: str, kind: Kind) -> None:
    start = time.process_time()
    read_answer(HOSTILE[name], kind, ("Mouse", "C++", "3") if kind == "option" else ())
    assert time.process_time() - start < 1
