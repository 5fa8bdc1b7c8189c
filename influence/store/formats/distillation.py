"""Files of a distillation: sums of its parts, pairs to learn from, outcome of each input, results, names of models."""

from __future__ import annotations

from typing import Any

from msgspec import field

from influence.store.formats.records import Record

#: What manifests call the folders of samples, of pairs and of a whole distillation.
SAMPLES, PAIRS, DISTILLATION = "samples", "pairs", "distillation"

TRACES_FILE = "traces.jsonl"
REPLIES_FILE = "replies.jsonl"
PAIRS_FILE = "pairs.jsonl"
OUTCOMES_FILE = "outcomes.jsonl"
#: Sums of a folder of samples or pairs.
SUMS_FILE = "summary.json"
SUMMARY_FILE = "distillation.json"
#: What to do where a file of it cannot be read.
AGAIN = "Remove the file and run the command that made it again: no reply is asked for twice."


class PairRecord(Record):
    """A line of `pairs.jsonl`: what System 1 is asked, what it is to answer, and the sample that the answer is of."""

    id: str
    prompt: str
    completion: str
    sample: int


class OutcomeRecord(Record):
    """A line of `outcomes.jsonl`: what the filter made of an input.

    Attributes:
        target: The chosen answer; null where the input is dropped.
        reason: The filter's word for why.
        samples: Answers that the filter looked at, abstentions included.
        abstentions: Samples without an answer.
        correct: Whether the target is right; null where nobody knows.
        kept: Whether there is a target.
        sample: Place of the sample that the target is of.
        answers: The answer of each sample; null where none was read.
    """

    id: str
    target: str | None
    reason: str
    samples: int
    abstentions: int
    correct: bool | None
    kept: bool
    sample: int | None
    answers: list[str | None]


class SampleSums(Record):
    """`summary.json` of a folder of samples.

    Attributes:
        items: Inputs.
        samples: Runs of the system.
        tokens_per_input: Mean tokens generated for an input, intermediate ones and all samples included.
        replies, prompt_tokens, tokens, cut_off, empty: Sums over the replies, each paid for once.
        failed: Kind of failure -> requests without a reply to use.
        cost: Where a price was given.
    """

    items: int
    samples: int
    tokens_per_input: float
    replies: int
    prompt_tokens: int
    tokens: int
    cut_off: int
    empty: int
    failed: dict[str, int] = field(default_factory=dict)
    cost: float | None = None


class DistillationSummary(Record):
    """`distillation.json`: settings and sums of a whole distillation.

    Attributes:
        config: What determined it, as in its manifest.
        filter: The sums of the filter.
        no_control: Control that could not be trained -> why.
        inputs: Number of inputs of each split.
        tokens_per_input: Of System 2 on the inputs to learn from.
    """

    config: dict[str, Any]
    filter: dict[str, Any]
    no_control: dict[str, str]
    inputs: dict[str, int]
    tokens_per_input: float


SYSTEM_1, SYSTEM_2, ONE_SAMPLE, DISTILLED = "System 1", "System 2", "System 2, one sample", "distilled"

#: Controls: the first sample of each input instead of the filter's choice; System 1's own filtered answers; right ones.
NO_FILTER, SELF, GOLD = "no filter", "System 1 distilled", "gold labels"

#: The other internalisers, where they were run on the same pairs.
STEPWISE, CONTEXT = "distilled, stepwise", "distilled, context"

#: Answers alone again, on as many examples as stepwise removal saw.
AS_LONG = "distilled, as long"

MODELS = (SYSTEM_1, ONE_SAMPLE, SYSTEM_2, DISTILLED, STEPWISE, CONTEXT, AS_LONG, NO_FILTER, SELF, GOLD)

#: The wording of the question that pairs were made with.
AS_TUNED = "as tuned"
