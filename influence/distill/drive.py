"""Runs the procedures of many samples side by side, so that a model gets their calls in large batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from influence.distill.systems.base import Call, Procedure
from influence.distill.traces import Made
from influence.errors import InputError
from influence.generate.request import Reply, Request, Sampling

#: Replies to requests, in order; the text says what they are for.
Ask = Callable[[str, Sequence[Request]], list[Reply]]


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
            run.advance([reply.text for reply in mine])
    return [(run.text or "", tuple(run.made)) for run in runs]


def made(call: Call, reply: Reply) -> Made:
    """A call with its reply, for the trace."""
    return Made(call.step, call.prompt, reply.text, reply.tokens, reply.prompt_tokens, reply.finished)


def _refuse_silence(step: str, replies: Sequence[Reply]) -> None:
    if replies and not any(reply.text.strip() for reply in replies):
        raise InputError(
            f"The model wrote nothing: all {len(replies):,} replies of the step {step} are empty.",
            fix="Try a prompt by hand: the model may lack its chat template, or end its text at once after this "
            "prompt. Edit the prompts (--prompts) or use another model. What was generated is kept.",
        )
