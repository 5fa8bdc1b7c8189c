"""What can be chosen about a corpus, and what is wrong with a bad choice."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from influence.data.miniworld.problems import Ranges
from influence.errors import InputError

#: The sources, and their shares of a corpus by default.
SHARES = {
    "wiki": 0.18,
    "math_and_trivia": 0.22,
    "stackexchange": 0.14,
    "arxiv_markdown": 0.05,
    "code": 0.10,
    "webdata": 0.08,
    "general_knowledge": 0.14,
    "multilingual": 0.09,
}
SOURCES = tuple(SHARES)
#: How a document can show a procedure.
PROCEDURE_FORMS = ("prose", "maths", "code", "stackexchange")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be chosen about a corpus.

    Attributes:
        facts: Facts of the world, a fifth of them for each count of documents (0, 1, 2, 5, 20). None: as many as the
            documents can state.
        shares: Share of each source; sources that are not named have none. They sum to 1.
        procedures: Share of all documents that show a procedure. None: 0.39, what the sources hold by nature.
        forms: Shares of prose, maths, code and stackexchange among the documents that show a procedure; they sum
            to 1. None: what the sources hold by nature.
        ranges: The numbers of the problems.
        withheld_steps: Share of all intermediate results that no document writes out, 0 to 0.5.
        asides: Whether documents hold sentences about nothing in particular. Without them a corpus is a seventh
            shorter, and its documents are more alike.

    Raises:
        InputError: A value is not usable.
    """

    facts: int | None = None
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    procedures: float | None = None
    forms: Mapping[str, float] | None = None
    ranges: Ranges = field(default_factory=Ranges)
    withheld_steps: float = 0.05
    asides: bool = True

    def __post_init__(self) -> None:
        _check_shares("sources", "source", self.shares, SOURCES)
        if self.forms is not None:
            _check_shares("forms", "form", self.forms, PROCEDURE_FORMS)
        if self.facts is not None:
            whole_number("The number of facts", self.facts, at_least=0, at_most=1_000_000)
        if self.procedures is not None and not 0 <= self.procedures <= 1:
            raise InputError(
                "The share of procedure documents must lie between 0 and 1.", have=repr(self.procedures)
            )
        if not 0 <= self.withheld_steps <= 0.5:
            raise InputError(
                "The share of withheld steps must lie between 0 and 0.5.", have=repr(self.withheld_steps)
            )


def whole_number(name: str, value: object, at_least: int, at_most: float = math.inf) -> None:
    """Refuse anything but a whole number in these bounds.

    Raises:
        InputError: It is not one.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
        most = f" and at most {at_most:,}" if at_most < math.inf else ""
        raise InputError(
            f"{name} must be a whole number, {at_least} or more{most}.",
            have=repr(value),
            fix=f"Give {at_least} or more.",
        )


def parse_shares(text: str, what: str) -> dict[str, float]:
    """`wiki=0.5,code=0.5` as a mapping.

    Raises:
        InputError: It is not written like that, or names something twice.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not equals or not math.isfinite(number):
            raise InputError(
                f"The shares of {what} cannot be read.",
                have=repr(part),
                fix="Write name=share,name=share,...",
            )
        if name in shares:
            raise InputError(f"The shares of {what} name {name!r} twice.", have=text, fix="Name it once.")
        shares[name] = number
    return shares


def _check_shares(what: str, one: str, shares: Mapping[str, float], known: tuple[str, ...]) -> None:
    for name, share in shares.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            fix = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(
                f"There is no {one} {name!r}.",
                have=_written(shares),
                fix=fix + f"Known are {', '.join(known)}.",
            )
        if not 0 <= share <= 1:
            raise InputError(
                f"The share of the {one} {name!r} must lie between 0 and 1.",
                have=_written(shares),
                fix="Write 0.25 for a quarter.",
            )
    total = math.fsum(shares.values())
    if abs(total - 1) > 1e-6:
        raise InputError(
            f"The shares of the {what} must sum to 1, and these sum to {total:.6g}.",
            have=_written(shares),
            fix=f"Change them; {what} that are not named have no share.",
        )


def _written(shares: Mapping[str, float]) -> str:
    return ",".join(f"{name}={share:g}" for name, share in shares.items()) or "none"
