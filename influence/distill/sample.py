"""Run a system on inputs: traces of all its calls, each reply kept from the moment it arrives."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from influence.data.tasks.extract import Kind
from influence.data.tasks.task import Example
from influence.distill.prompt_texts import PICK
from influence.distill.systems import Call, Filter, Procedure, System
from influence.distill.traces import Made, Run, Trace, in_order, orders_of, write_traces
from influence.errors import InputError
from influence.filters import needs_pick
from influence.generate.request import Generator, KeptReplies, Price, Reply, Request, Sampling, account
from influence.provenance import provenance
from influence.store.artefact import claim, finish
from influence.store.formats.distillation import AGAIN, REPLIES_FILE, SAMPLES, SUMS_FILE, SampleSums
from influence.store.formats.records import read_record, write_record

PROMPTS = "prompts"

#: Replies to requests, in order; the text says what they are for.
Ask = Callable[[str, Sequence[Request]], list[Reply]]
#: Told of each reply: step of the system, replies of the step so far, all of them.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a system is run; what is None is the system's own default.

    Attributes:
        filter: What will choose among the samples: `usc` lets the model pick one, `orders` samples each order of an
            input once.
        samples: Samples of an input; for `orders` the most orders of it.
        sampling: How each reply is sampled.
    """

    filter: Filter | None = None
    samples: int | None = None
    sampling: Sampling | None = None

    def of(self, system: System) -> tuple[Filter, int, Sampling]:
        """Filter, samples and sampling.

        Raises:
            InputError: There is no sample, one order only, or several samples that would all be the same.
        """
        filter_ = self.filter or system.filter
        samples = self.samples if self.samples is not None else system.samples
        sampling = self.sampling or system.sampling
        least = 2 if filter_ == "orders" else 1
        if samples < least:
            raise InputError(
                f"The filter {filter_} needs {least} sample{'s' * (least > 1)} at least.", have=str(samples)
            )
        if samples > 1 and filter_ != "orders" and sampling.greedy:
            raise InputError(
                f"At temperature 0 all {samples} samples of an input are the same.",
                fix="Raise the temperature, or take one sample.",
            )
        return filter_, samples, sampling


def sample(
    items: Sequence[Example],
    system: System,
    generator: Generator,
    out: Path,
    *,
    kind: Kind,
    plan: Plan | None = None,
    price: Price | None = None,
    replies_of: Path | None = None,
) -> SampleSums:
    """Run `system` on each item and write `traces.jsonl`, one line an input, and `summary.json` into `out`.

    Every reply is kept in `replies.jsonl` when it arrives: the same call after a kill asks for the others only, and a
    finished folder is not touched. The prompts that were used lie in `prompts/`.

    Args:
        items: Inputs; their answers are only written down, to measure by.
        kind: How an answer is read, which filters and readers of the traces need.
        plan: Filter, samples and sampling where they differ from the system's defaults.
        price: Adds the cost to the summary.
        replies_of: Folder with replies of an earlier run; what it asked in the same way is not asked again.

    Returns:
        What `summary.json` says.

    Raises:
        InputError: No items, an id that stands twice, an item that lacks what a prompt names, settings that make no
            sense, or a model that writes nothing.
        StoreError: `out` holds another run.
    """
    started = time.monotonic()
    filter_, samples, sampling = (plan or Plan()).of(system)
    _check(items)
    names = [*(step.prompt for step in system.steps), *([PICK] if filter_ == "usc" else [])]
    config = {
        "system": system.name,
        "model": generator.name,
        "items": _digest(items),
        "kind": kind,
        "filter": filter_,
        "samples": samples,
        "sampling": asdict(sampling),
        "prompts": system.prompts.digests(names),
        "target": system.target,
    }
    for item in items:  # before the folder is made: nothing stays of what cannot be run
        system.check(item)
    planned = _runs(items, filter_, samples)
    manifest = claim(out, SAMPLES, config)
    if manifest["status"] == "complete":
        return read_record(out / SUMS_FILE, SampleSums, fix=AGAIN)
    system.prompts.write(out / PROMPTS)

    reply_of: dict[str, Reply] = {}
    kept = KeptReplies(out / REPLIES_FILE)
    kept.begin_with(replies_of)

    def ask(step: str, requests: Sequence[Request]) -> list[Reply]:
        replies = kept.replies(generator, requests, step)
        reply_of.update(zip((request.key(generator.name) for request in requests), replies, strict=True))
        return replies

    ran = drive([(system.run(shown), number) for _, number, _, shown in planned], sampling, ask)
    runs: list[list[Run]] = [[] for _ in items]
    for (place, number, order, _), (text, calls) in zip(planned, ran, strict=True):
        runs[place].append(Run(len(runs[place]) if order else number, text, calls, order))
    picks = _picks(items, runs, system, sampling, ask) if filter_ == "usc" else {}
    traces = [Trace(item, tuple(runs[place]), picks.get(place)) for place, item in enumerate(items)]
    write_traces(traces, out)
    sums = SampleSums(
        items=len(items),
        samples=sum(map(len, runs)),
        tokens_per_input=sum(trace.tokens for trace in traces) / len(traces),
        **account(reply_of.values(), price),
    )
    write_record(out / SUMS_FILE, sums)
    finish(out, manifest, provenance(time.monotonic() - started))
    return sums


def _runs(
    items: Sequence[Example], filter_: Filter, samples: int
) -> list[tuple[int, int, tuple[int, ...] | None, Example]]:
    """(place of the item, number of the sample, order, the item as it is shown) of each run."""
    if filter_ != "orders":
        return [(place, number, None, item) for place, item in enumerate(items) for number in range(samples)]
    return [
        (place, 0, order, in_order(item, order))
        for place, item in enumerate(items)
        for order in orders_of(item, samples)
    ]


def _picks(
    items: Sequence[Example],
    runs: Sequence[Sequence[Run]],
    system: System,
    sampling: Sampling,
    ask: Ask,
) -> dict[int, Made]:
    """For each item whose responses differ, by its place: the model's pick, at temperature 0."""
    greedy = dataclasses.replace(sampling, temperature=0.0, stop=())
    texts = [[run.text for run in of_item] for of_item in runs]
    calls = {
        place: Call("pick", system.prompts.pick(items[place], responses))
        for place, responses in enumerate(texts)
        if needs_pick(responses)
    }
    replies = ask("pick", [Request(call.prompt, greedy) for call in calls.values()])
    return {place: made(call, reply) for (place, call), reply in zip(calls.items(), replies, strict=True)}


def _check(items: Sequence[Example]) -> None:
    if not items:
        raise InputError("There are no inputs to sample.")
    ids = {item.id for item in items}
    if len(ids) < len(items):
        raise InputError("Two items have the same id.", have=f"{len(items):,} items, {len(ids):,} ids")


def _digest(items: Sequence[Example]) -> str:
    """Of all that System 2 is shown or measured by, which a chain of the task is not."""
    sha = hashlib.sha256()
    for item in items:
        parts = {name: part for name, part in asdict(item).items() if name != "chain"}
        sha.update(json.dumps(parts, sort_keys=True).encode())
    return sha.hexdigest()


# -- the procedures of many samples side by side, so that a model gets their calls in large batches


@dataclass(slots=True)
class _Live:
    """A procedure under way: the calls it waits for, those it has made, and at its end its text."""

    procedure: Procedure
    sample: int
    waiting: list[Call] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    text: str | None = None

    def advance(self, replies: list[str] | None) -> None:
        """To the next calls, or to the end."""
        try:
            self.waiting = next(self.procedure) if replies is None else self.procedure.send(replies)
        except StopIteration as end:
            self.waiting, self.text = [], end.value


def drive(
    procedures: Sequence[tuple[Procedure, int]], sampling: Sampling, ask: Ask
) -> list[tuple[str, tuple[Made, ...]]]:
    """What each procedure, given with the number of its sample, returns, and the calls it made.

    Raises:
        InputError: All replies of a round are empty.
    """
    runs = [_Live(procedure, sample) for procedure, sample in procedures]
    for run in runs:
        run.advance(None)
    while live := [run for run in runs if run.text is None]:
        requests = [Request(call.prompt, sampling, run.sample) for run in live for call in run.waiting]
        steps = dict.fromkeys(call.step for run in live for call in run.waiting)
        replies = ask(", ".join(steps), requests)
        _refuse_silence(", ".join(steps), replies)
        start = 0
        for run in live:
            count = len(run.waiting)
            mine = replies[start : start + count]
            start += count
            run.made += [made(call, reply) for call, reply in zip(run.waiting, mine, strict=True)]
            if any(reply.failure for reply in mine):
                run.waiting, run.text = [], ""  # this sample has no answer; the others go on
            else:
                run.advance([reply.text for reply in mine])
    return [(run.text or "", tuple(run.made)) for run in runs]


def made(call: Call, reply: Reply) -> Made:
    """A call with its reply, for the trace."""
    return Made(
        call.step, call.prompt, reply.text, reply.tokens, reply.prompt_tokens, reply.finished, reply.failure
    )


def _refuse_silence(step: str, replies: Sequence[Reply]) -> None:
    if replies and not any(reply.text.strip() for reply in replies):
        failures = Counter(reply.failure or "empty" for reply in replies)
        raise InputError(
            f"The model wrote nothing: all {len(replies):,} replies of the step {step} are empty.",
            have=", ".join(f"{count:,} {kind}" for kind, count in failures.items())
            + next((f"; {reply.reason}" for reply in replies if reply.reason), ""),
            fix="Try a prompt by hand: the model may lack its chat template, or end its text at once after this "
            "prompt. Edit the prompts (--prompts) or use another model. What was generated is kept.",
        )
