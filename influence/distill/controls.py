"""What a distillation is compared with: no filter, System 1 distilled into itself, and the right answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from influence.data.tasks.extract import Kind
from influence.data.tasks.task import Example
from influence.distill.filter import filter_traces
from influence.distill.lessons import Lesson, gold_lessons, read_lessons
from influence.distill.names import GOLD, NO_FILTER, SELF
from influence.distill.prompt_texts import Prompts
from influence.distill.sample import Plan, Progress, sample
from influence.distill.systems.base import Target
from influence.distill.systems.prompted import Direct
from influence.errors import InputError
from influence.generate.request import Generator


@dataclass(frozen=True, slots=True)
class Control:
    """Lessons of a control; none where there can be none, and then why."""

    name: str
    lessons: list[Lesson]
    why_not: str = ""


def without_filter(samples: Path, out: Path, target: Target) -> Control:
    """The first sample of each input, whatever the others say; one without an answer is left out."""
    return _filtered(NO_FILTER, samples, out, "none", target)


def system_1_itself(
    items: Sequence[Example],
    kind: Kind,
    prompts: Prompts,
    generator: Generator,
    out: Path,
    plan: Plan,
    target: Target,
    progress: Progress | None,
) -> Control:
    """System 1 sampled, filtered and distilled as System 2 is: what of the gain is the filter's alone."""
    sample(items, Direct(prompts), generator, out / "samples", kind=kind, plan=plan, progress=progress)
    return _filtered(SELF, out / "samples", out / "pairs", plan.filter, target)


def right_answers(items: Sequence[Example], kind: Kind, prompts: Prompts) -> Control:
    """Fine-tuning on the right answers of all inputs, which the paper's setting does not have."""
    lessons = gold_lessons(items, kind, prompts)
    return Control(GOLD, lessons, "" if lessons else "The training inputs have no right answers.")


def _filtered(name: str, samples: Path, out: Path, filter_: str | None, target: Target) -> Control:
    try:
        filter_traces(samples, out, filter=filter_, target=target)  # type: ignore[arg-type]
    except InputError as error:  # nothing kept: a result of this control, not an end of the run
        return Control(name, [], f"{error.message} {error.have or ''}".strip())
    return Control(name, read_lessons(out, samples))
