"""From traces to what a model is tuned on: a target for each input that the filter keeps, and why others go."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import msgspec

from influence.data.tasks.declared import final_text
from influence.data.tasks.extract import Kind, written
from influence.data.tasks.task import is_right
from influence.distill.prompt_texts import Prompts, direct_prompt
from influence.distill.sample import PROMPTS
from influence.distill.systems import Filter, Target
from influence.distill.traces import Trace, read_in_order, read_traces
from influence.errors import InputError
from influence.files import sha256
from influence.filters import agreement, majority, read_pick
from influence.provenance import provenance
from influence.store.artefact import claim, finish, open_complete
from influence.store.formats.distillation import (
    OUTCOMES_FILE,
    PAIRS,
    PAIRS_FILE,
    SAMPLES,
    SUMS_FILE,
    TRACES_FILE,
    FilterSums,
    OutcomeRecord,
    PairRecord,
    PairSums,
    listed,
)
from influence.store.formats.records import write_record, write_records


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


def summary(outcomes: Sequence[Outcome]) -> FilterSums:
    """The sums of some outcomes, of none too."""
    kept = [outcome for outcome in outcomes if outcome.kept]
    known = [outcome.correct for outcome in kept if outcome.correct is not None]
    dropped_for = _by_reason(outcome for outcome in outcomes if not outcome.kept)
    return FilterSums(
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
        have=f"{listed(sums.reasons)}; {sums.abstentions:,} of {sums.samples:,} samples without an answer",
        fix=_ADVICE.get(reason, "Look at the samples, or use another filter.") + " What was sampled is kept.",
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a filter made of a trace: the outcome, and the place of the run that its target stands for."""

    outcome: Outcome
    place: int | None
    answers: tuple[str | None, ...]


def filter_traces(
    samples: Path,
    out: Path,
    *,
    filter: Filter | None = None,
    minimum_share: float = 0.0,
    target: Target | None = None,
    prompts: Prompts | None = None,
) -> FilterSums:
    """Filter the traces in `samples` without looking at right answers, and write the result into `out`.

    `pairs.jsonl` has `id`, `prompt` (what System 1 is asked), `completion` (the target) and `sample` (which one it
    stands for) of each input kept; `outcomes.jsonl` says of every input what became of it and how each sample
    answered; `summary.json` has the sums. A finished folder of the same arguments is not touched.

    Args:
        samples: Folder of `sample`.
        filter: By default the one that was sampled for.
        minimum_share: Of `majority`: least share of all samples that the winner must have.
        target: By default the system's: its `answer` alone, or the whole `response`.
        prompts: Has what System 1 is asked; by default the prompts that the samples were made with.

    Raises:
        InputError: Nothing is kept (`outcomes.jsonl` and `summary.json` are there all the same), or the traces were
            not sampled for this filter.
        StoreError: `samples` is unfinished or no folder of samples, or `out` holds another run.
    """
    started = time.monotonic()
    made = open_complete(samples, SAMPLES)["config"]
    filter_, target_ = filter or made["filter"], target or made["target"]
    prompts = prompts or Prompts(samples / PROMPTS)
    _check(filter_, made["filter"], minimum_share)
    config = {
        "samples": sha256(samples / TRACES_FILE),
        "filter": filter_,
        "minimum_share": minimum_share,
        "target": target_,
        "prompts": prompts.digests(["direct", "direct-verdict"]),
    }
    manifest = claim(out, PAIRS, config)
    traces = list(read_traces(samples))
    chosen = [choose(trace, made["kind"], filter_, minimum_share, target_) for trace in traces]
    sums = summary([one.outcome for one in chosen])
    if manifest["status"] == "complete":
        return sums
    write_records(out / OUTCOMES_FILE, (_record(one) for one in chosen))
    write_record(out / SUMS_FILE, PairSums(filter=filter_, target=target_, **msgspec.structs.asdict(sums)))
    refuse_empty([one.outcome for one in chosen])
    write_records(
        out / PAIRS_FILE,
        (_pair(t, one, prompts) for t, one in zip(traces, chosen, strict=True) if one.outcome.kept),
    )
    finish(out, manifest, provenance(time.monotonic() - started, samples=str(samples)))
    return sums


def choose(trace: Trace, kind: Kind, filter: Filter, minimum_share: float, target: Target) -> Chosen:
    """What a filter makes of one trace; its item's answer is used only to say whether the target is right."""
    answers = tuple(read_in_order(kind, trace.item, run.order, run.text) for run in trace.runs)
    texts = [run.text for run in trace.runs]
    reason, place = _decide(trace, answers, texts, filter, minimum_share)
    abstentions = sum(not text.strip() for text in texts) if filter == "usc" else answers.count(None)
    wanted = (
        None
        if place is None
        else written(kind, answers[place])
        if target == "answer"
        else texts[place].strip()
    )
    if place is not None and not wanted:  # the response that was picked has no answer that can be read
        reason, place, wanted = "no answer", None, None
    correct = None if place is None else is_right(kind, trace.item, answers[place])
    outcome = Outcome(trace.item.id, wanted, reason, len(answers), abstentions, correct)
    return Chosen(outcome, place, answers)


def _decide(
    trace: Trace, answers: Sequence[str | None], texts: Sequence[str], filter: Filter, minimum_share: float
) -> tuple[str, int | None]:
    """The filter's word for why, and the place of the run it chose."""
    match filter:
        case "majority":
            vote = majority(answers, minimum_share)
            return vote.reason, None if vote.winner is None else answers.index(vote.winner)
        case "orders":
            agreed = agreement(answers)
            return agreed.reason, None if agreed.answer is None else 0
        case "usc":
            pick = read_pick(final_text(trace.pick.text) if trace.pick else None, texts)
            return pick.reason, pick.place
        case "none":
            return ("no answer", None) if answers[0] is None else ("first sample", 0)


def _check(filter_: Filter, sampled_for: Filter, minimum_share: float) -> None:
    if filter_ not in get_args(Filter):
        raise InputError(
            f"There is no filter {filter_!r}.", fix=f"Choose one of {', '.join(get_args(Filter))}."
        )
    if filter_ != sampled_for and filter_ in ("usc", "orders"):
        raise InputError(
            f"The filter {filter_} needs traces that were sampled for it.",
            have=f"sampled for {sampled_for}",
            fix=f"Sample again with --filter {filter_}, into another folder.",
        )
    if minimum_share and filter_ != "majority":
        raise InputError(f"A minimum share has no effect on the filter {filter_}.", fix="Leave it out.")


def _record(chosen: Chosen) -> OutcomeRecord:
    return OutcomeRecord(
        **asdict(chosen.outcome),
        kept=chosen.outcome.kept,
        sample=chosen.place,
        answers=list(chosen.answers),
    )


def _pair(trace: Trace, chosen: Chosen, prompts: Prompts) -> PairRecord:
    assert chosen.outcome.target is not None
    assert chosen.place is not None
    return PairRecord(
        id=trace.item.id,
        prompt=direct_prompt(trace.item, prompts),
        completion=chosen.outcome.target,
        sample=chosen.place,
    )
