"""From lessons and a model to a model that answers at once: three ways behind one interface.

| way | learns from | module |
|---|---|---|
| `answer-only` | question → answer, the trace thrown away: the method of arXiv 2407.06023 | `train.sft` |
| `stepwise` | question → trace → answer, the trace removed token by token (arXiv 2405.14838) | `train.stepwise` |
| `context` | its own answers, judged by itself with the trace in context (arXiv 2602.12275) | `train.context` |

`influence.train.answering.load_generator` asks the model that comes of it the way its training asked it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from influence.data.chats import as_message
from influence.data.examples import PromptCompletion
from influence.data.tasks.task import Example, Task
from influence.data.tokens import tokenise
from influence.distill.lessons import Lesson, check, digest
from influence.distill.settings import TuneSettings
from influence.distill.tune_check import fitting
from influence.models.load import LanguageModel, load_model
from influence.provenance import provenance
from influence.store.artefact import add_files, claim, release
from influence.store.formats.training import METRICS, TRAINING_FILE, write_training
from influence.train.context import ContextSettings, distil_context
from influence.train.core.resume import TENSORBOARD, must_not_exist
from influence.train.settings import SftSettings
from influence.train.sft import sft
from influence.train.stepwise.run import internalize
from influence.train.stepwise.settings import Settings
from influence.train.stepwise.stages import find_stages

#: What each way needs of a lesson besides prompt and completion.
_NEEDS = {"answer-only": (), "stepwise": ("trace",), "context": ("context",)}

#: Share of the lessons that stepwise removal checks itself on, and the most of them.
_VALID_SHARE, _MOST_VALID = 0.1, 256


def internalise(
    model: str | Path,
    lessons: Sequence[Lesson],
    out: Path,
    settings: TuneSettings,
) -> dict[str, Any]:
    """Train a model to answer as System 2 did, without its trace.

    Works in `<out>.part/`; `out` appears at the end with model, tokenizer and `training.json`. The same call after a
    kill goes on.

    Args:
        model: The model that wrote the traces, as it is now; it is not changed.
        lessons: What was kept.
        out: A folder that does not exist yet.
        settings: Which way, and how.

    Returns:
        What `training.json` says.

    Raises:
        InputError: `out` exists, no lessons, or lessons without what the way needs.
        StoreError: `<out>.part/` belongs to another run.
        ComputeError: The loss is not finite.
    """
    must_not_exist(out)
    check(lessons, ("prompt", "completion", *_NEEDS[settings.way]))
    base = load_model(model)
    lessons = fitting(lessons, base, settings)
    if settings.way == "stepwise":
        del base  # it is opened again
        return _remove_traces(str(model), lessons, out, settings)
    if settings.way == "context":
        return _distil_context(base, lessons, out, settings)
    return _answer_only(base, lessons, out, settings)


def _answer_only(
    base: LanguageModel,
    lessons: Sequence[Lesson],
    out: Path,
    settings: TuneSettings,
) -> dict[str, Any]:
    examples = [
        PromptCompletion(as_message(base.tokenizer, lesson.prompt), lesson.completion) for lesson in lessons
    ]
    texts = [example.prompt + example.completion for example in examples]
    longest = max(len(tokens.whole) for tokens in tokenise(base.tokenizer, texts, ends=False))
    return sft(
        base,
        examples,
        out,
        SftSettings(
            epochs=settings.epochs,
            lr=settings.lr,
            batch_tokens=settings.batch_size * (longest + 2),  # BOS, EOS
            seed=settings.seed,
            dtype=settings.dtype,
            lora_rank=settings.lora_rank,
        ),
    )


def _distil_context(
    base: LanguageModel,
    lessons: Sequence[Lesson],
    out: Path,
    settings: TuneSettings,
) -> dict[str, Any]:
    return distil_context(
        base,
        [(lesson.prompt, lesson.context) for lesson in lessons],
        out,
        ContextSettings(
            epochs=settings.epochs,
            lr=settings.lr,
            batch_size=settings.batch_size,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            lora_rank=settings.lora_rank,
            seed=settings.seed,
            dtype=settings.dtype,
        ),
    )


def _remove_traces(
    model: str, lessons: Sequence[Lesson], out: Path, settings: TuneSettings
) -> dict[str, Any]:
    """Train on prompt, trace and answer while the trace goes; `out` is the last stage.

    Its `stage.json` says how it must be asked.
    """
    part = out.with_name(out.name + ".part")
    claim(part, "tuning", {"settings": asdict(settings), "model": model, "lessons": digest(lessons)})
    record = internalize(
        _trace_task(lessons, settings.seed),
        model,
        part / "run",
        Settings(
            delta=settings.delta,
            adaptive=settings.adaptive,
            cap=settings.epochs,
            side=settings.side,
            keep_positions=settings.keep_positions,
            after_epochs=settings.epochs,
            batch_size=settings.batch_size,
            lr=settings.lr,
            seed=settings.seed,
            dtype=settings.dtype,
            lora_rank=settings.lora_rank,
            stage_every=10**6,  # only the last is of use here
        ),
    )
    last = find_stages([part / "run"])[-1].folder
    facts = provenance(record["seconds"], settings=asdict(settings), examples=len(lessons), run=record)
    write_training(last, facts)
    shutil.copyfile(part / "run" / METRICS, last / METRICS)
    shutil.copytree(part / "run" / TENSORBOARD, last / TENSORBOARD, dirs_exist_ok=True)
    add_files(last, TRAINING_FILE, METRICS)
    last.replace(out)
    release(part)
    shutil.rmtree(part)
    return facts


def _trace_task(lessons: Sequence[Lesson], seed: int) -> Task:
    """The lessons as a task whose chains are the traces; some, drawn, to validate. Equal inputs share a split."""
    prompts = list(dict.fromkeys(lesson.prompt for lesson in lessons))
    count = max(1, min(_MOST_VALID, round(_VALID_SHARE * len(prompts))))
    drawn = np.random.default_rng([seed, 51]).permutation(len(prompts))[:count]
    held_out = {prompts[i] for i in drawn.tolist()}
    examples = [
        Example(str(number), lesson.prompt, lesson.trace, lesson.completion)
        for number, lesson in enumerate(lessons)
    ]
    return Task(
        "traces of System 2",
        "text",
        {
            "train": [example for example in examples if example.input not in held_out],
            "valid": [example for example in examples if example.input in held_out],
        },
    )
