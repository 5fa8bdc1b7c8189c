"""What a reproduction is asked for: a scale by its name, and how many seeds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from influence.errors import InputError

_S = TypeVar("_S")


def scale_named(name: str, scales: Mapping[str, _S]) -> _S:
    """The scale of this name.

    Raises:
        InputError: There is none.
    """
    if name not in scales:
        near = difflib.get_close_matches(name, scales, 1)
        fix = f"Did you mean {near[0]!r}? " if near else ""
        raise InputError(f"There is no scale {name!r}.", fix=fix + f"Known are {', '.join(scales)}.")
    return scales[name]


def seeds_asked(seeds: int | None, of_scale: int) -> int:
    """How many seeds: those of the scale unless others are asked for.

    Raises:
        InputError: It is less than one.
    """
    number = of_scale if seeds is None else seeds
    if number < 1:
        raise InputError("The number of seeds is at least 1.", have=str(number))
    return number


def silent(line: str) -> None:
    """Say nothing."""
