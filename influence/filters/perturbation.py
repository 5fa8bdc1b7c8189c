"""Input perturbation: ask the same with its options in another order, keep only what all orders agree on."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from influence.errors import InputError

T = TypeVar("T")

#: An order of n things: the place, in the order as given, of what is shown at each place.
Order = tuple[int, ...]

#: Why there is an agreed answer or none.
Reason = Literal["agreement", "disagreement", "no answer"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all orders agree on, or None; `abstentions` counts orders without an answer."""

    answer: str | None
    reason: Reason
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
