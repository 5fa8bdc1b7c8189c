"""What the base model reads: it learns to rephrase, to answer a rephrased question, and to answer at once in haste.

A rephrasing slips now and then, and the answer follows it: sampled anew, most samples are right, which is what a
majority needs. Hasty answers are right in some cases only, and in which depends on the wording of the question; so
the model has a System 1 that is poor and depends on the prompt, and a System 2 that is good.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from influence.data.examples import Example
from influence.reproduce.system2.vocabulary import EOS
from influence.train.distill.names import AS_TUNED

Name = Literal["last-letter", "coin-flip", "multiplication"]

#: How System 1 is asked in the text: the wording that pairs have, and others.
WORDINGS = {
    AS_TUNED: "Q: $input\nA:",
    "please": "Please answer. $input\nA:",
    "quick": "Quick question: $input\nA:",
}
REPHRASE = "Q: $input\nR:"
ANSWER = "Q: $input\nR:$rephrased\nA:"

#: Shares of rephrasings, answers to them, hasty answers, and of whole solutions where there are some.
_SHARES, _SHARES_WORKED = (0.4, 0.4, 0.2, 0.0), (0.3, 0.3, 0.15, 0.25)
#: Last letter: a hasty answer is right where the first word is at most so long, else it takes the first letters.
_SHORT = {AS_TUNED: 4, "please": 5, "quick": 3}
#: Coin flip: a hasty answer looks at the last person only, at the first only, or says no where anyone flips.
_LOOKS = {AS_TUNED: "last", "please": "any", "quick": "first"}


@dataclass(frozen=True, slots=True)
class Case:
    """One question with its rephrasing, its right answer, and the hasty answer to each wording."""

    input: str
    rephrased: str
    answer: str
    hasty: dict[str, str]


def examples(cases: Sequence[Case], rng: np.random.Generator, worked: bool = False) -> list[Example]:
    """An example a case: its rephrasing, the answer to that, or a hasty answer in one of the wordings.

    Args:
        worked: Some are whole solutions, as stages of stepwise removal write them before anything is removed.
    """
    found = []
    for case in cases:
        kind = rng.choice(4, p=_SHARES_WORKED if worked else _SHARES)
        wording = list(WORDINGS)[int(rng.integers(len(WORDINGS)))]
        asked = _filled(WORDINGS[AS_TUNED], case)
        found.append(
            (
                Example(_filled(REPHRASE, case), case.rephrased),
                Example(_filled(ANSWER, case), case.answer),
                Example(_filled(WORDINGS[wording], case), case.hasty[wording]),
                Example(f" {asked}{EOS}", f" {case.rephrased}{EOS} #### {case.answer}"),
            )[kind]
        )
    return found


def _filled(form: str, case: Case) -> str:
    return form.replace("$input", case.input).replace("$rephrased", case.rephrased)


def made_up_word(rng: np.random.Generator) -> str:
    """Three to eight letters of no meaning: no word of a task stands in the text."""
    return "".join(rng.choice(list(string.ascii_lowercase), int(rng.integers(3, 9))).tolist())


def last_letter_case(words: Sequence[str], slip: float, rng: np.random.Generator) -> Case:
    """Two words; the rephrasing names their last letters, one of them wrongly where it slips."""
    first, second = words
    ends = [first[-1], second[-1]]
    if rng.random() < slip:
        place = int(rng.integers(2))
        ends[place] = words[place][int(rng.integers(len(words[place]) - 1))]
    return Case(
        f'Take the last letters of the words in "{first} {second}" and concatenate them.',
        f"The first ends in {ends[0]}, the second in {ends[1]}.",
        "".join(ends),
        {
            wording: first[-1] + second[-1] if len(first) <= short else first[0] + second[0]
            for wording, short in _SHORT.items()
        },
    )


def coin_flip_case(
    names: Sequence[str], flips: Sequence[bool], slip: float, rng: np.random.Generator
) -> Case:
    """Two people; the rephrasing follows the coin, and slips by missing a turn or seeing one too many."""
    seen = list(flips)
    if rng.random() < slip:
        place = int(rng.integers(2))
        seen[place] = not seen[place]
    deeds = [
        f"{name} {'flips' if flip else 'does not flip'} the coin."
        for name, flip in zip(names, flips, strict=True)
    ]
    heads, states = True, []
    for who, flip in zip(("first", "second"), seen, strict=True):
        heads ^= flip
        states.append(f"After the {who} it is {'heads' if heads else 'tails'}.")
    looks = {"last": not flips[1], "first": not flips[0], "any": not any(flips)}
    return Case(
        f"A coin is heads up. {' '.join(deeds)} Is the coin still heads up?",
        f"It starts heads. {' '.join(states)}",
        "yes" if heads else "no",
        {wording: "yes" if looks[look] else "no" for wording, look in _LOOKS.items()},
    )


def multiplication_case(line: str, slip: float, rng: np.random.Generator) -> Case:
    """A line of `Multiplication`: numbers from their last digit on; the rephrasing has the products of all digits.

    Each product is two digits, the lower one first; those that count as much stand side by side, with their sum. A
    hasty answer takes the products of digits in the same place only.
    """
    problem, _, rest = line.replace(" ", "").partition("||")
    first, second = ([int(digit) for digit in number] for number in problem.split("*"))
    answer = rest.partition("####")[2]
    products = [
        [a * second[k - i] for i, a in enumerate(first) if 0 <= k - i < len(second)]
        for k in range(len(first) + len(second) - 1)
    ]
    if rng.random() < slip:
        place = products[int(rng.integers(len(products)))]
        place[int(rng.integers(len(place)))] = int(rng.integers(82))
        answer = _from_last(sum(10**k * sum(place) for k, place in enumerate(products)), len(answer))
    hasty = "".join(_from_last(a * b, 2) for a, b in zip(first, second, strict=True))
    return Case(
        problem,
        ",".join(_column(place) for place in products),
        answer,
        dict.fromkeys(WORDINGS, hasty),
    )


def _column(products: Sequence[int]) -> str:
    """Products that count as much, and their sum where there are several."""
    shown = "+".join(_from_last(product, 2) for product in products)
    return shown if len(products) == 1 else f"{shown}={_from_last(sum(products), 3)}"


def _from_last(number: int, digits: int) -> str:
    """So many digits of a number, the last one first."""
    return f"{number:0{digits}}"[::-1][:digits]
