"""What a filter did: every item kept or dropped, why, with which target; and the sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from influence.errors import InputError


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item after a filter.

    Attributes:
        id: Of the item.
        target: The chosen answer; None where the item is dropped.
        reason: The filter's word for why, such as `majority` or `tie`.
        samples: Answers that the filter looked at, abstentions included.
        abstentions: Samples without an answer.
        correct: Whether the target is right, None where nobody knows or the item is dropped.
    """

    id: str
    target: str | None
    reason: str
    samples: int
    abstentions: int = 0
    correct: bool | None = None

    @property
    def kept(self) -> bool:
        """Whether the item has a target."""
        return self.target is not None


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over all items.

    Attributes:
        items: All of them.
        kept: Items with a target.
        dropped: The others.
        ties: Items dropped because two answers had the most votes.
        samples: Answers that the filter looked at.
        abstentions: Samples without an answer.
        reasons: Items by reason, most first; the reasons of kept items too.
        dropped_for: Dropped items by reason, most first.
        known: Kept items whose right answer is known.
        target_accuracy: Share of these whose target is right; None where there are none.
    """

    items: int
    kept: int
    dropped: int
    ties: int
    samples: int
    abstentions: int
    reasons: dict[str, int]
    dropped_for: dict[str, int]
    known: int
    target_accuracy: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def line(self) -> str:
        """One line for people."""
        why = f" ({_listed(self.dropped_for)})" if self.dropped_for else ""
        accuracy = "" if self.target_accuracy is None else f"; target accuracy {self.target_accuracy:.1%}"
        return f"{self.kept:,} of {self.items:,} kept, {self.dropped:,} dropped{why}{accuracy}"


def summary(outcomes: Sequence[Outcome]) -> Summary:
    """The sums of some outcomes, of none too."""
    kept = [outcome for outcome in outcomes if outcome.kept]
    known = [outcome.correct for outcome in kept if outcome.correct is not None]
    dropped_for = _by_reason(outcome for outcome in outcomes if not outcome.kept)
    return Summary(
        items=len(outcomes),
        kept=len(kept),
        dropped=len(outcomes) - len(kept),
        ties=dropped_for.get("tie", 0),
        samples=sum(outcome.samples for outcome in outcomes),
        abstentions=sum(outcome.abstentions for outcome in outcomes),
        reasons=_by_reason(outcomes),
        dropped_for=dropped_for,
        known=len(known),
        target_accuracy=sum(known) / len(known) if known else None,
    )


def _by_reason(outcomes: Iterable[Outcome]) -> dict[str, int]:
    counts = Counter(outcome.reason for outcome in outcomes)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())


#: What to do where a filter kept nothing, by the reason that most items were dropped for.
_ADVICE = {
    "tie": "Take more samples, or an odd number of them.",
    "below share": "Lower the minimum share, or take more samples.",
    "no answer": "Read some replies: the prompts may not suit the model, replies may be cut short, or the answer "
    "stands there in a form that is not recognised.",
    "disagreement": "The model follows the order of the options. Use a stronger model, or another filter.",
    "bad pick": "The model does not name a response when it is asked to pick one. Use majority, or edit the prompt.",
}


def refuse_empty(outcomes: Sequence[Outcome]) -> None:
    """Let no empty result pass as a result.

    Raises:
        InputError: no item was kept; says what happened to them and what can be done.
    """
    if any(outcome.kept for outcome in outcomes):
        return
    sums = summary(outcomes)
    if not sums.items:
        raise InputError("There are no items to filter.", fix="Give a file with one item at least.")
    silent = 2 * sums.abstentions > sums.samples
    reason = "no answer" if silent else next(iter(sums.reasons))
    raise InputError(
        f"The filter kept none of {sums.items:,} items.",
        have=f"{_listed(sums.reasons)}; {sums.abstentions:,} of {sums.samples:,} samples without an answer",
        fix=_ADVICE.get(reason, "Look at the samples, or use another filter.") + " What was sampled is kept.",
    )
