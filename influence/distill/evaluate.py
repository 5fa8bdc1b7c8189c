"""Asking models the test inputs: each answer with what it cost, as rows of `answers.parquet` for the analysis."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from influence.data.tasks.extract import Kind
from influence.data.tasks.makers.judging import swapped
from influence.data.tasks.task import Example, is_right
from influence.distill.filter import choose
from influence.distill.prompt_texts import Wordings
from influence.distill.systems import Filter
from influence.distill.traces import SWAP, Trace, read_in_order, read_traces
from influence.errors import InputError
from influence.generate.request import Generator, KeptReplies, Price, Reply, Request, Sampling, account
from influence.store.artefact import open_complete
from influence.store.formats.distillation import (
    AS_TUNED,
    ONE_SAMPLE,
    SAMPLES,
    SYSTEM_1,
    SYSTEM_2,
    Answer,
    write_answers,
)
from influence.train.answering import load_generator

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    item: Example
    wording: str
    swapped: bool
    prompt: str


def ask_at_once(
    model: str,
    generator: Generator,
    items: Sequence[Example],
    kind: Kind,
    wordings: Wordings,
    kept: KeptReplies,
    max_tokens: int,
    price: Price | None = None,
) -> list[Answer]:
    """What a model answers at once, greedily, to each input in each wording; pairs to judge in both orders.

    Args:
        model: Its name in the tables.
        kept: Where replies are kept, so that nothing is asked twice.
        max_tokens: Most tokens of a reply.
        price: What the replies cost is told.
    """
    asked = [one for item in items for one in _asked(item, wordings)]
    sampling = Sampling(max_tokens=max_tokens)
    replies = kept.replies(generator, [Request(one.prompt, sampling) for one in asked], model)
    if price is not None:
        _logger.info(f"Cost of {model}: {account(replies, price)['cost']:,.2f}")
    return [_answer(model, one, reply, kind) for one, reply in zip(asked, replies, strict=True)]


def _asked(item: Example, wordings: Wordings) -> list[_Asked]:
    both = [(item, False), *([(swapped(item), True)] if "response_a" in item.fields else [])]
    return [
        _Asked(item, name, turned, prompt)
        for shown, turned in both
        for name, prompt in wordings.of(shown).items()
    ]


def _answer(model: str, asked: _Asked, reply: Reply, kind: Kind) -> Answer:
    answer = read_in_order(kind, asked.item, SWAP if asked.swapped else None, reply.text)
    right = is_right(kind, asked.item, answer)
    return Answer(model, asked.wording, asked.swapped, asked.item.id, answer, right, reply.tokens, reply.text)


def of_traces(traces: Iterable[Trace], kind: Kind, filter_: Filter) -> list[Answer]:
    """What System 2 answers: chosen by its filter among all samples, and by its first sample alone.

    Of pairs judged in both orders, the order as given counts, and the swapped one is a row of its own; what the filter
    drops for disagreement has thus an answer in each order.
    """
    answers = []
    for trace in traces:
        item = trace.item
        if filter_ == "orders" and "response_a" in item.fields:
            answers += _both_orders(trace, kind)
            continue
        chosen = choose(trace, kind, filter_, 0.0, "answer")
        answer = None if chosen.place is None else chosen.answers[chosen.place]
        text = "" if chosen.place is None else trace.runs[chosen.place].text
        answers.append(
            Answer(
                SYSTEM_2, AS_TUNED, False, item.id, answer, is_right(kind, item, answer), trace.tokens, text
            )
        )
        if len(trace.runs) > 1:
            run, first = trace.runs[0], chosen.answers[0]
            tokens = sum(call.tokens for call in run.calls)
            answers.append(
                Answer(
                    ONE_SAMPLE, AS_TUNED, False, item.id, first, is_right(kind, item, first), tokens, run.text
                )
            )
    return answers


def _both_orders(trace: Trace, kind: Kind) -> list[Answer]:
    """The verdict in each order; a verdict costs what its own order costs."""
    rows = []
    for run in trace.runs:
        answer = read_in_order(kind, trace.item, run.order, run.text)
        tokens = sum(call.tokens for call in run.calls)
        right = is_right(kind, trace.item, answer)
        rows.append(
            Answer(SYSTEM_2, AS_TUNED, run.order == SWAP, trace.item.id, answer, right, tokens, run.text)
        )
    return rows


def evaluate_models(
    generator: Generator,
    tuned: Mapping[str, Path],
    system_2: Path,
    items: Sequence[Example],
    kind: Kind,
    wordings: Wordings,
    out: Path,
    max_tokens: int,
    *,
    replies_of: Path | None = None,
    price: Price | None = None,
) -> None:
    """Ask every model the test inputs and write their answers into `out`.

    Args:
        generator: The model as it was, System 1.
        tuned: Name in the tables -> folder of a tuned model.
        system_2: Folder of `sample` on the same inputs.
        replies_of: Folder of another evaluation; what it asked in the same way is not asked again.
        price: Of the model as it was.

    Raises:
        InputError: The samples of System 2 are of other inputs.
    """
    filter_ = open_complete(system_2, SAMPLES)["config"]["filter"]
    traces = list(read_traces(system_2))
    if [trace.item.id for trace in traces] != [item.id for item in items]:
        raise InputError(
            f"{system_2} has samples of other inputs than those to test on.",
            have=f"{len(traces):,} there, {len(items):,} to test on",
            fix="Sample System 2 on the same split and as many inputs.",
        )
    write_answers(of_traces(traces, kind, filter_), out, "system-2")
    kept = KeptReplies(out / "replies.jsonl")
    kept.begin_with(replies_of)
    for name in (SYSTEM_1, *tuned):
        asked = load_generator(tuned[name]) if name in tuned else generator
        answers = ask_at_once(
            name, asked, items, kind, wordings, kept, max_tokens, None if name in tuned else price
        )
        write_answers(answers, out, name.lower().replace(" ", "-"))


def check_labels(items: Sequence[Example]) -> None:
    """Refuse test inputs without right answers.

    Raises:
        InputError: One of them has none.
    """
    without = [item.id for item in items if item.answer is None]
    if without:
        raise InputError(
            f"{len(without):,} of {len(items):,} test inputs have no right answer to measure by.",
            have=", ".join(without[:5]),
            fix="Give a test split with answers (--field answer=NAME).",
        )
