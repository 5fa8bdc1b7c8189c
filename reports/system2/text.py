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

from influence.data.examples import PromptCompletion
from influence.store.formats.distillation import AS_TUNED
from reports.system2.vocabulary import EOS

Name = Literal["last-letter", "coin-flip", "multiplication"]

#: How System 1 is asked in the text: the wording that pairs have, and others.
WORDINGS = {
    AS_TUNED: "Q: $input\nA:",
    "please": "Please answer. $input\nA:",
    "quick": "Quick question: $input\nA:",
}
REPHRASE = "Q: $input\nR:"
ANSWER = "Q: $input\nR:$rephrased\nA:"
#: The same of whole solutions, in the form of the first stage of stepwise removal.
REPHRASE_WHOLE = f" Q: $input\nA:{EOS}"
ANSWER_WHOLE = f"{REPHRASE_WHOLE} $rephrased{EOS} ####"

#: Shares of rephrasings, answers to them, and hasty answers; and of whole solutions and hasty answers.
_SHARES, _SHARES_WHOLE = (0.4, 0.4, 0.2), (0.9, 0.1)
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


def examples(cases: Sequence[Case], rng: np.random.Generator, whole: bool = False) -> list[PromptCompletion]:
    """An example a case: its rephrasing, the answer to that, or a hasty answer in one of the wordings.

    Args:
        whole: Rephrasing and answer are one example, a whole solution.
    """
    shares = _SHARES_WHOLE if whole else _SHARES
    found = []
    for case in cases:
        kind = int(rng.choice(len(shares), p=shares))
        wording = list(WORDINGS)[int(rng.integers(len(WORDINGS)))]
        hasty = PromptCompletion(_filled(WORDINGS[wording], case), case.hasty[wording])
        if whole:
            solution = f" {case.rephrased}{EOS} #### {case.answer}"
            kinds = [PromptCompletion(_filled(REPHRASE_WHOLE, case), solution), hasty]
        else:
            rephrasing = PromptCompletion(_filled(REPHRASE, case), case.rephrased)
            kinds = [rephrasing, PromptCompletion(_filled(ANSWER, case), case.answer), hasty]
        found.append(kinds[kind])
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
    """A line of `Multiplication`: numbers from their last digit on; the rephrasing multiplies by one digit at a time.

    It has the first number times each digit of the second, one product after the other, and takes a wrong digit where
    it slips; the answer is their sum. A hasty answer takes the products of digits in the same place only.
    """
    first, second = line.replace(" ", "").partition("||")[0].split("*")
    seen = [int(digit) for digit in second]
    if rng.random() < slip:
        place = int(rng.integers(len(seen)))
        seen[place] = (seen[place] + int(rng.integers(1, 10))) % 10
    products = [int(first[::-1]) * digit for digit in seen]
    hasty = "".join(_from_last(int(a) * int(b), 2) for a, b in zip(first, second, strict=True))
    return Case(
        f"{first}*{second}",
        ",".join(_from_last(product, len(first) + 1) for product in products),
        _from_last(sum(10**k * product for k, product in enumerate(products)), len(first) + len(second)),
        dict.fromkeys(WORDINGS, hasty),
    )


def _from_last(number: int, digits: int) -> str:
    """A number in so many digits, the last one first."""
    return f"{number:0{digits}}"[::-1]
