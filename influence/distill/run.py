"""The whole distillation: System 2 on unlabelled inputs, filter, tuning, controls, evaluation; each part resumes.

The controls are what a distillation is compared with: no filter, System 1 distilled into itself, the right answers.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from influence.data.tasks.extract import Kind
from influence.data.tasks.task import Example, Task
from influence.distill.evaluate import check_labels, evaluate_models
from influence.distill.filter import filter_traces
from influence.distill.lessons import Lesson, gold_lessons, read_lessons
from influence.distill.prompt_texts import Prompts, Wordings, direct_prompt
from influence.distill.sample import Plan, sample
from influence.distill.settings import Recipe, TuneSettings
from influence.distill.systems import Direct, Filter, System, Target
from influence.distill.tune import internalise
from influence.distill.tune_check import check_tuning
from influence.errors import InputError, StoreError
from influence.generate.request import Generator, Price, Sampling
from influence.provenance import provenance
from influence.store.artefact import claim, differences, finish, read_manifest
from influence.store.formats.distillation import (
    DISTILLATION,
    DISTILLED,
    GOLD,
    NO_FILTER,
    SELF,
    SUMMARY_FILE,
    DistillationSummary,
    FilterSums,
    SampleSums,
)
from influence.store.formats.records import read_record, write_record

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Control:
    """Lessons of a control; none where there can be none, and then why."""

    name: str
    lessons: list[Lesson]
    why_not: str = ""


def without_filter(samples: Path, out: Path, target: Target) -> Control:
    """The first sample of each input, whatever the others say; one without an answer is left out."""
    return _filtered(NO_FILTER, samples, out, "none", target)


def system_1_itself(folder: Path, filter_: Filter | None, target: Target) -> Control:
    """System 1's samples, filtered and distilled as System 2's are: what of the gain is the filter's alone."""
    return _filtered(SELF, folder / "samples", folder / "pairs", filter_, target)


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


#: Name of a model in the tables -> of its folder.
FOLDERS = {DISTILLED: "model", NO_FILTER: "no-filter", SELF: "system-1", GOLD: "gold"}


def distil(
    task: Task,
    system: System,
    generator: Generator,
    weights: str | Path,
    out: Path,
    recipe: Recipe,
    wordings: Wordings,
    *,
    replies_of: Path | None = None,
    price: Price | None = None,
) -> DistillationSummary:
    """Distil a model's System 2 into its System 1, and measure what came of it.

    `out` holds `samples/` and `pairs/` (as `sample` and `filter_traces` leave them), `model/`, `controls/NAME/`,
    `test/` (System 2 on the test inputs), `replies.jsonl`, `answers/` and `distillation.json`. The same call after a
    kill goes on.

    Args:
        task: Its train split is learned from, without looking at its answers; its test split needs them.
        system: System 2.
        generator: The model that is asked.
        weights: The same model as a folder or hub name, to be tuned; it is not changed.
        out: A new folder, or that of the same run.
        recipe: All other settings.
        wordings: How the question is put to System 1.
        replies_of: Another distillation; what it asked of the same model in the same way is not asked again.
        price: Adds costs to the sums of the samples.

    Returns:
        What `distillation.json` says.

    Raises:
        InputError: Test inputs without answers or a tuning that cannot work (both before anything is asked), a filter
            that keeps nothing, and what the parts raise.
        StoreError: `out` holds another run.
    """
    started = time.monotonic()
    items = task.split("train")[: recipe.limit]
    test = task.split("test")[: recipe.test_limit]
    check_labels(test)
    filter_, samples, sampling = recipe.plan.of(system)
    config = {
        "task": {"name": task.name, "kind": task.kind, "settings": dict(task.settings)},
        "system": system.name,
        "model": generator.name,
        "filter": filter_,
        "target": system.target,
        "samples": samples,
        "sampling": asdict(sampling),
        "prompts": system.prompts.digests([*(step.prompt for step in system.steps), "direct"]),
        **{name: value for name, value in asdict(recipe).items() if name != "plan"},
    }
    if recipe.tune.longest is None:
        del config["tune"]["longest"]  # runs of versions without it go on
    _refuse_other_tuning(out, config)
    if read_manifest(out) is None:
        prompts = {item.id: direct_prompt(item, system.prompts) for item in items}
        check_tuning(weights, prompts, recipe.tune, out, models=4 if recipe.controls else 1)
    manifest = claim(out, DISTILLATION, config)
    if manifest["status"] == "complete":
        return read_summary(out)
    work = _Work(task, system, generator, str(weights), out, recipe, wordings, replies_of, price)
    sums = work.teach(items)
    why_not = work.controls(items) if recipe.controls else {}
    work.test(test)
    summary = DistillationSummary(
        config=config,
        filter=sums,
        no_control=why_not,
        inputs={"train": len(items), "test": len(test)},
        tokens_per_input=work.tokens_per_input,
    )
    write_record(out / SUMMARY_FILE, summary)
    finish(out, manifest, provenance(time.monotonic() - started))
    return read_summary(out)


def _refuse_other_tuning(out: Path, config: dict[str, Any]) -> None:
    """Say how replies are used again, where `out` holds a distillation that differs in its tuning alone."""
    there = read_manifest(out)
    if there is None or there["kind"] != DISTILLATION:
        return
    old = dict(there["config"])
    new = json.loads(json.dumps(config))
    if old.pop("tune") != new.pop("tune") and old == new:
        raise StoreError(
            f"{out} holds this distillation with other arguments of its tuning.",
            have="; ".join(differences(there["config"]["tune"], config["tune"])),
            fix=f"Take its replies into another folder: --replies-of {out} --out OTHER. Nothing is asked twice.",
        )


def read_summary(out: Path) -> DistillationSummary:
    """What `distillation.json` says."""
    return read_record(out / SUMMARY_FILE, DistillationSummary, fix="Run influence distill again.")


@dataclass
class _Work:
    """The parts, one after the other."""

    task: Task
    system: System
    generator: Generator
    weights: str
    out: Path
    recipe: Recipe
    wordings: Wordings
    replies_of: Path | None = None
    price: Price | None = None
    tokens_per_input: float = float("nan")

    def _sample(self, items: Sequence[Example], system: System, plan: Plan, part: str) -> SampleSums:
        """The samples in a part of the folder, with the replies that there are already."""
        earlier = None if self.replies_of is None else self.replies_of / part
        sums = sample(
            items,
            system,
            self.generator,
            self.out / part,
            kind=self.task.kind,
            plan=plan,
            price=self.price,
            replies_of=earlier,
        )
        if sums.failed:
            _logger.info(f"{sum(sums.failed.values()):,} requests failed and count as no answer.")
        if sums.cost is not None:
            _logger.info(f"Cost of {part}: {sums.cost:,.2f}")
        return sums

    def teach(self, items: Sequence[Example]) -> FilterSums:
        """Sample, filter and tune; return the filter's sums."""
        _logger.info(f"System 2 ({self.system.name}) on {len(items):,} inputs")
        sampled = self._sample(items, self.system, self.recipe.plan, "samples")
        self.tokens_per_input = sampled.tokens_per_input
        sums = filter_traces(
            self.out / "samples", self.out / "pairs", minimum_share=self.recipe.minimum_share
        )
        _logger.info(sums.line())
        self._tune(DISTILLED, read_lessons(self.out / "pairs", self.out / "samples"), self.out / "model")
        return sums

    def controls(self, items: Sequence[Example]) -> dict[str, str]:
        """Train the controls; those that cannot be, and why."""
        folder, prompts, target = self.out / "controls", self.system.prompts, self.system.target
        filter_, samples, sampling = self.recipe.plan.of(self.system)
        short = Sampling(**{**asdict(sampling), "max_tokens": self.recipe.answer_tokens})
        plan = Plan(filter=filter_, samples=samples, sampling=short)
        _logger.info("control: System 1 on the same inputs")
        self._sample(items, Direct(prompts), plan, f"controls/{FOLDERS[SELF]}/samples")
        every = [
            without_filter(self.out / "samples", folder / FOLDERS[NO_FILTER] / "pairs", target),
            system_1_itself(folder / FOLDERS[SELF], plan.filter, target),
            right_answers(items, self.task.kind, prompts),
        ]
        for control in every:
            if control.lessons:
                self._tune(control.name, control.lessons, folder / FOLDERS[control.name] / "model")
            else:
                _logger.info(f"control: {control.name} cannot be trained. {control.why_not}")
        return {control.name: control.why_not for control in every if not control.lessons}

    def _tune(self, name: str, lessons: Sequence[Lesson], out: Path) -> None:
        if out.exists():
            return
        settings = self.recipe.tune
        if name in (SELF, GOLD):  # no trace to learn from
            settings = TuneSettings(**{**asdict(settings), "way": "answer-only"})
        _logger.info(f"{settings.way}, {name}: {len(lessons):,} pairs")
        internalise(self.weights, lessons, out, settings)

    def test(self, items: Sequence[Example]) -> None:
        """Ask every model the test inputs."""
        _logger.info(f"evaluation on {len(items):,} inputs")
        self._sample(items, self.system, self.recipe.plan, "test")
        models = {DISTILLED: self.out / "model"}
        models |= {name: self.out / "controls" / FOLDERS[name] / "model" for name in (NO_FILTER, SELF, GOLD)}
        evaluate_models(
            self.generator,
            {name: folder for name, folder in models.items() if folder.exists()},
            self.out / "test",
            items,
            self.task.kind,
            self.wordings,
            self.out,
            self.recipe.answer_tokens,
            replies_of=self.replies_of,
            price=self.price,
        )
