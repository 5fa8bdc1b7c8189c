"""Filters that choose an answer among samples of a model without labels; no model, no torch, usable alone.

A majority votes over N samples. Universal self-consistency (arXiv 2311.17311) lets the model pick the most consistent
of its own free-text responses. Input perturbation asks the same with its options in another order and keeps only what
all orders agree on.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Literal, TypeVar

from influence.errors import InputError

#: Why there is a winner or none.
VoteReason = Literal["majority", "tie", "below share", "no answer"]


@dataclass(frozen=True, slots=True)
class Vote:
    """Result of a vote.

    Attributes:
        winner: The answer with the most votes, None where there is no majority.
        reason: `majority`, or why there is none.
        counts: Votes of each answer, most votes first, then alphabetically.
        abstentions: Samples without an answer.
    """

    winner: str | None
    reason: VoteReason
    counts: dict[str, int] = field(default_factory=dict)
    abstentions: int = 0


def majority(answers: Sequence[str | None], minimum_share: float = 0.0) -> Vote:
    """The answer that more samples give than any other.

    Args:
        answers: One a sample; None abstains. Answers agree when they are equal, so bring them to one form before.
        minimum_share: Least share of all samples, those that abstain included, that the winner must have; 0 asks for
            no more than the most votes.

    Returns:
        No winner where two answers share the most votes (`tie`), the winner has too few of them (`below share`), or
        no sample answers.

    Raises:
        InputError: the share is not between 0 and 1.
    """
    if not 0 <= minimum_share <= 1:
        raise InputError("The minimum share of a vote is between 0 and 1.", have=str(minimum_share))
    votes = Counter(answer for answer in answers if answer is not None)
    counts = dict(sorted(votes.items(), key=lambda pair: (-pair[1], pair[0])))
    abstentions = len(answers) - votes.total()
    first, second = [*counts, None, None][:2]
    if first is None:
        return Vote(None, "no answer", counts, abstentions)
    if second is not None and counts[first] == counts[second]:
        return Vote(None, "tie", counts, abstentions)
    if counts[first] / len(answers) < minimum_share:
        return Vote(None, "below share", counts, abstentions)
    return Vote(first, "majority", counts, abstentions)


#: Needs `$question`, `$responses` and `$count`.
PROMPT = Template(
    """\
A question was answered $count times. Find the response that agrees best with the others.

Question:
$question

$responses

Compare what the responses say, not how they say it. Choose the one whose content most of the others share.
Reply with its number alone, as in: Response 1
"""
)

#: Why a response was chosen or none.
PickReason = Literal["picked", "unanimous", "no answer", "bad pick"]

_NAMED = re.compile(r"\bresponse\s*(?:number|no\.?|#)?\s*[:\[(*#]*\s*(\d+)", re.IGNORECASE)
_ALONE = re.compile(r"\W*(\d+)\W*")


@dataclass(frozen=True, slots=True)
class Pick:
    """Which response was chosen: its place among all responses, from 0; None where there is none."""

    place: int | None
    reason: PickReason


def stated(responses: Sequence[str]) -> list[int]:
    """Places of the responses that say something; only these are shown to the model."""
    return [place for place, response in enumerate(responses) if response.strip()]


def needs_pick(responses: Sequence[str]) -> bool:
    """Whether a model must choose: two responses at least that differ."""
    return len({responses[place].strip() for place in stated(responses)}) > 1


def consistency_prompt(question: str, responses: Sequence[str], template: Template = PROMPT) -> str:
    """The prompt that lists the responses, numbered from 1, and asks for the most consistent.

    Raises:
        InputError: the template lacks one of its names or has another, or there are no two responses to choose from.
    """
    if not template.is_valid() or not {"question", "responses"} <= set(template.get_identifiers()):
        raise InputError(
            "The prompt that asks for the most consistent response is not usable.",
            fix="It must hold $question and $responses, and may hold $count; write $$ for a dollar sign.",
        )
    shown = [responses[place].strip() for place in stated(responses)]
    if len(shown) < 2:
        raise InputError(
            "There are no two responses to choose from.", have=f"{len(shown)} that are not empty"
        )
    listing = "\n\n".join(f"Response {number}:\n{text}" for number, text in enumerate(shown, 1))
    try:
        return template.substitute(question=question, responses=listing, count=str(len(shown)))
    except KeyError as error:
        raise InputError(
            f"The prompt has an unknown name ${error.args[0]}.",
            fix="Known are $question, $responses, $count.",
        ) from error


def read_pick(reply: str | None, responses: Sequence[str]) -> Pick:
    """What a model chose.

    Args:
        reply: To `consistency_prompt`; None where the model was not asked because there was nothing to choose.
        responses: All of them, as given to `consistency_prompt`.

    Returns:
        `bad pick` where the reply names no response, one that was not shown, or two that differ.
    """
    places = stated(responses)
    if not places:
        return Pick(None, "no answer")
    if not needs_pick(responses):
        return Pick(places[0], "unanimous")
    numbers = {int(number) for number in _NAMED.findall(reply or "")}
    if not numbers and (alone := _ALONE.fullmatch((reply or "").strip())):
        numbers = {int(alone[1])}
    if len(numbers) != 1 or not 1 <= (number := numbers.pop()) <= len(places):
        return Pick(None, "bad pick")
    return Pick(places[number - 1], "picked")


T = TypeVar("T")

#: An order of n things: the place, in the order as given, of what is shown at each place.
Order = tuple[int, ...]

#: Why there is an agreed answer or none.
AgreementReason = Literal["agreement", "disagreement", "no answer"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all orders agree on, or None; `abstentions` counts orders without an answer."""

    answer: str | None
    reason: AgreementReason
    abstentions: int = 0


def orders(count: int, how_many: int, seed: int = 0) -> list[Order]:
    """Different orders of `count` things, the one as given first, the others drawn.

    Of two things these are the order as given and the swap.

    Raises:
        InputError: there are not so many orders.
    """
    if not 1 <= how_many <= math.factorial(count):
        raise InputError(
            f"There are {math.factorial(count)} orders of {count} options, not {how_many}.",
            fix="Ask for fewer.",
        )
    chance = random.Random(f"{seed} {count}")
    chosen = [tuple(range(count))]
    while len(chosen) < how_many:
        order = tuple(chance.sample(range(count), count))
        if order not in chosen:
            chosen.append(order)
    return chosen


def reordered(things: Sequence[T], order: Order) -> list[T]:
    """The things in another order."""
    return [things[place] for place in order]


def as_given(place: int, order: Order) -> int:
    """Place in the order as given of what was shown at `place`: undoes `reordered`."""
    return order[place]


def agreement(answers: Sequence[str | None]) -> Agreement:
    """The answer that every order gives.

    Args:
        answers: One an order, in terms of the order as given: the option's text, or its place after `as_given`. None
            is no answer.

    Returns:
        No answer where two differ (`disagreement`), or all that are given agree and one is missing (`no answer`).
    """
    given = {answer for answer in answers if answer is not None}
    abstentions = sum(answer is None for answer in answers)
    if len(given) > 1:
        return Agreement(None, "disagreement", abstentions)
    if abstentions or not given:
        return Agreement(None, "no answer", abstentions)
    return Agreement(given.pop(), "agreement")
