"""An item with its options, or its two responses, in another order; and its answers brought back."""

from __future__ import annotations

import dataclasses
import math

from influence.data.tasks.extract import Kind
from influence.data.tasks.item import Item
from influence.data.tasks.judging import swapped, turned_back
from influence.data.tasks.task import answer_of
from influence.errors import InputError
from influence.filters.perturbation import Order, orders, reordered

_SWAP: Order = (1, 0)


def orders_of(item: Item, how_many: int) -> list[Order]:
    """Orders of the item's two responses or of its options, the one as given first; as many as there are.

    Raises:
        InputError: It has neither.
    """
    count = 2 if "response_a" in item.fields else len(item.choices)
    if count < 2:
        raise InputError(
            f"The item {item.id!r} has nothing to reorder.",
            have="no options and no pair of responses",
            fix="Use another filter.",
        )
    return orders(count, min(how_many, math.factorial(count)))


def in_order(item: Item, order: Order | None) -> Item:
    """The item as it is shown in an order.

    Raises:
        InputError: Its input does not show its options in their order.
    """
    if order is None or list(order) == sorted(order):
        return item
    if "response_a" in item.fields:
        return swapped(item)
    choices = tuple(reordered(item.choices, order))
    parts, at = [], 0
    for old, new in zip(item.choices, choices, strict=True):
        place = item.input.find(old, at)
        if place < 0:
            raise InputError(
                f"The input of the item {item.id!r} does not show its options in their order.",
                have=f"no {old!r} at its place",
                fix="Use another filter, or write the options into the input.",
            )
        parts += [item.input[at:place], new]
        at = place + len(old)
    return dataclasses.replace(item, input="".join(parts) + item.input[at:], choices=choices)


def read_in_order(kind: Kind, item: Item, order: Order | None, text: str) -> str | None:
    """The answer a text gives, in terms of the item's own order."""
    answer = answer_of(kind, in_order(item, order), text)
    return turned_back(answer) if order == _SWAP and "response_a" in item.fields else answer
