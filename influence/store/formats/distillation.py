"""Files of a distillation: sums of its parts, pairs to learn from, outcome of each input, results, names of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import field

from influence.errors import StoreError
from influence.files import whole_file
from influence.store.formats.records import Record

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

#: What manifests call the folders of samples, of pairs and of a whole distillation.
SAMPLES, PAIRS, DISTILLATION = "samples", "pairs", "distillation"

TRACES_FILE = "traces.jsonl"
REPLIES_FILE = "replies.jsonl"
PAIRS_FILE = "pairs.jsonl"
OUTCOMES_FILE = "outcomes.jsonl"
#: Sums of a folder of samples or pairs.
SUMS_FILE = "summary.json"
SUMMARY_FILE = "distillation.json"
RESULTS_FILE = "results.json"
_ANSWERS = "answers"
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


class FilterSums(Record):
    """What a filter made of all inputs.

    Attributes:
        items: Number of inputs.
        kept: Inputs with a target.
        dropped: The others.
        ties: Inputs dropped because two answers had the most votes.
        samples: Answers that the filter looked at.
        abstentions: Samples without an answer.
        reasons: Inputs by reason, most first; the reasons of kept inputs too.
        dropped_for: Dropped inputs by reason, most first.
        known: Kept inputs whose right answer is known.
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

    def line(self) -> str:
        """Return the sums as one line for people."""
        why = f" ({listed(self.dropped_for)})" if self.dropped_for else ""
        accuracy = "" if self.target_accuracy is None else f"; target accuracy {self.target_accuracy:.1%}"
        return f"{self.kept:,} of {self.items:,} kept, {self.dropped:,} dropped{why}{accuracy}"


def listed(reasons: dict[str, int]) -> str:
    """Return counts by reason as `3 tie, 1 no answer`."""
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())


class PairSums(FilterSums):
    """`summary.json` of a folder of pairs: which filter chose which kind of target, and what it made of the inputs."""

    filter: str
    target: str


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
    filter: FilterSums
    no_control: dict[str, str]
    inputs: dict[str, int]
    tokens_per_input: float


class Verdict(Record):
    """Whether System 2 was internalised.

    Attributes:
        outcome: `failed` where less than half of the way from System 1 to System 2 is gone; `internalised` where nine
            tenths of it are, or the distilled model is not measurably worse than System 2; `partly` between;
            `nothing to gain` where System 2 is not measurably better than System 1.
        closed: Share of that way; null where there is none.
        text: For people, with what to do next.
    """

    outcome: Literal["internalised", "partly", "failed", "nothing to gain"]
    closed: float | None
    text: str


class DistillationResults(Record):
    """`results.json`: the verdict, and the rows of each table, as in `tables/`."""

    verdict: Verdict
    tables: dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A row of `answers/MODEL.parquet`: one answer of one model to one test input.

    Attributes:
        model: System 1, System 2, distilled, or a control.
        wording: How System 1 was asked; of System 2 always its own.
        swapped: Of a pair to judge: the responses stood in the other order.
        id: Of the input.
        answer: What was read, in terms of the input's own order; None where nothing could be read.
        right: None where nobody knows.
        tokens: Generated for this input, intermediate and voted samples included.
        text: What the answer was read from.
    """

    model: str
    wording: str
    swapped: bool
    id: str
    answer: str | None
    right: bool | None
    tokens: int
    text: str


def write_answers(answers: Sequence[Answer], folder: Path, name: str) -> Path:
    """Write the answers of a model as `answers/NAME.parquet` of a distillation's folder."""
    import pyarrow
    import pyarrow.parquet

    path = folder / _ANSWERS / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist([asdict(answer) for answer in answers], schema=_answer_schema())
    with whole_file(path) as part:
        pyarrow.parquet.write_table(table, part)
    return path


def read_answers(folder: Path) -> pd.DataFrame:
    """Return all answers of a distillation in the order of `MODELS`, a column for each field of `Answer`.

    Raises:
        StoreError: There are none, or a file has other columns.
    """
    import pandas as pd
    import pyarrow.parquet

    files = sorted((folder / _ANSWERS).glob("*.parquet"))
    if not files:
        raise StoreError(f"{folder} holds no answers.", fix="Run influence distill evaluate.")
    for file in files:
        schema = pyarrow.parquet.read_schema(file)
        if schema.names != _answer_schema().names:
            raise StoreError(
                f"{file} is no table of answers.",
                have=f"columns {', '.join(schema.names)}",
                fix="Remove it and run influence distill evaluate again.",
            )
    table = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    rank = {name: place for place, name in enumerate(MODELS)}
    table["rank"] = table["model"].map(rank).fillna(len(rank))
    return table.sort_values("rank", kind="stable").drop(columns="rank").reset_index(drop=True)


def _answer_schema() -> pyarrow.Schema:
    import pyarrow

    types = {"str": pyarrow.string(), "bool": pyarrow.bool_(), "int": pyarrow.int64()}
    return pyarrow.schema(
        [(field.name, types[str(field.type).removesuffix(" | None")]) for field in fields(Answer)]
    )


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
