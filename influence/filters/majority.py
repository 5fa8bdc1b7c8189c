"""Majority vote over the answers of N samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from influence.errors import InputError

#: Why there is a winner or none.
Reason = Literal["majority", "tie", "below share", "no answer"]


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
    reason: Reason
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
