"""`influence distill run`, `tune` and `evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.command import Command
from influence.cli.distill_options import (
    PRICE,
    complete_tune,
    inputs_options,
    model_options,
    system_options,
    taken_generator,
    taken_price,
    taken_system,
    taken_task,
    task_options,
    tune_options,
)
from influence.cli.options import options_from, out_option
from influence.distill.settings import Recipe, TuneSettings

if TYPE_CHECKING:
    from influence.distill.prompt_texts import Wordings
    from influence.distill.systems import System

_ANSWER_TOKENS = options_from(Recipe, name="recipe", only=("answer_tokens",))
_WORDINGS = click.option(
    "--wordings",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of wordings, NAME.txt with $input.  [default: some shipped ones]",
)


def _taken_wordings(folder: Path | None, system: System) -> Wordings:
    from influence.distill.prompt_texts import SHIPPED_WORDINGS, Wordings

    return Wordings(system.prompts, folder or SHIPPED_WORDINGS)


@click.command(
    "run",
    cls=Command,
    shown={
        "What": ("system", "task", "data", "model", "out"),
        "Settings": ("filter", "samples", "way", "epochs"),
    },
    example="influence distill run --system rar2 --task last-letter --model MODEL --out runs/letters",
)
@system_options
@task_options
@options_from(Recipe, name="recipe", without=("plan", "tune"))
@model_options
@click.option("--weights", help="Of a server's model: the folder or hub name to tune.")
@tune_options
@_WORDINGS
@PRICE
@click.option(
    "--replies-of",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Another distillation, whose replies are used where the same is asked: for other ways to tune.",
)
@out_option()
def run(
    out: Path,
    model: str,
    weights: str | None,
    wordings: Path | None,
    recipe: Recipe,
    tune: TuneSettings,
    replies_of: Path | None,
    **settings: Any,
) -> None:
    """Distil: run System 2 on unlabelled inputs, filter, tune, evaluate, report.

    OUT has samples/, pairs/, model/, controls/, test/, answers/, tables/, results.json, and report.html.
    """
    from influence.distill.run import distil
    from influence.report.distillation import write_results

    if model.startswith("openai:") and weights is None:
        raise click.UsageError("A server's model cannot be tuned. Name the same model's folder by --weights.")
    tune = complete_tune(tune, settings["seed"], recipe.answer_tokens)
    price = taken_price(settings)
    system, plan = taken_system(settings)
    task = taken_task(settings)
    settings["model"] = model
    generator = taken_generator(settings)
    recipe = dataclasses.replace(recipe, plan=plan, tune=tune)
    distil(
        task,
        system,
        generator,
        weights or model,
        out,
        recipe,
        _taken_wordings(wordings, system),
        replies_of=replies_of,
        price=price,
    )
    page = write_results(out)
    _say_tables(out)
    click.echo(f"Report: {page}")


@click.command(
    "tune",
    cls=Command,
    shown={
        "What": ("samples", "model", "out"),
        "Settings": ("way", "epochs", "lr", "tune_batch", "lora_rank"),
    },
    example="influence distill tune runs/letters/pairs --samples runs/letters/samples --model MODEL --out runs/tuned",
)
@click.argument("pairs", type=click.Path(path_type=Path))
@click.option(
    "--samples",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the samples that PAIRS was filtered from.",
)
@click.option("--model", required=True, help="The model that was sampled: a folder or hub name.")
@tune_options
@_ANSWER_TOKENS
@click.option("--seed", default=0, show_default=True, help="Seeds order and samples.")
@out_option()
def tune(
    pairs: Path, samples: Path, model: str, out: Path, seed: int, recipe: Recipe, tune: TuneSettings
) -> None:
    """Tune a model on PAIRS, as `influence distill filter` leaves them, to answer at once."""
    from influence.distill.lessons import read_lessons
    from influence.distill.tune import internalise

    chosen = complete_tune(tune, seed, recipe.answer_tokens)
    lessons = read_lessons(pairs, samples)
    record = internalise(model, lessons, out, chosen)
    click.echo(f"{record['examples']:,} pairs, {chosen.way}, {record['seconds']:,.0f} s")
    click.echo(f"Model: {out}")


@click.command(
    "evaluate",
    cls=Command,
    shown={
        "What": ("task", "data", "model", "tuned", "system_2", "control", "out"),
        "Settings": ("split", "limit"),
    },
    example="""
    influence distill evaluate --task last-letter --model MODEL --tuned runs/tuned \\
                               --system-2 runs/test-samples --out runs/evaluation
    """,
)
@task_options
@inputs_options(split="test")
@model_options
@click.option(
    "--tuned", required=True, type=click.Path(path_type=Path), help="The distilled model, a folder."
)
@click.option(
    "--system-2",
    "system_2",
    required=True,
    type=click.Path(path_type=Path),
    help="Samples of System 2 on the same inputs: `influence distill sample --split test`.",
)
@click.option(
    "--control", multiple=True, metavar="NAME=FOLDER", help="Another tuned model to compare with; repeatable."
)
@_ANSWER_TOKENS
@_WORDINGS
@PRICE
@out_option()
def evaluate(
    split: Any,
    limit: int | None,
    tuned: Path,
    system_2: Path,
    control: tuple[str, ...],
    recipe: Recipe,
    wordings: Path | None,
    out: Path,
    **settings: Any,
) -> None:
    """Measure a distilled model beside System 1 and System 2: accuracy, tokens, wordings, judges, verdict."""
    import time

    from influence.distill.evaluate import check_labels, evaluate_models
    from influence.distill.prompt_texts import SHIPPED_WORDINGS, Prompts, Wordings
    from influence.errors import InputError
    from influence.provenance import provenance
    from influence.report.distillation import write_tables
    from influence.store.artefact import claim, finish, open_complete
    from influence.store.formats.distillation import DISTILLED

    started = time.monotonic()
    price = taken_price(settings)
    models = {DISTILLED: tuned}
    for one in control:
        name, separator, folder = one.partition("=")
        if not separator:
            raise InputError(f"--control {one!r} names no folder.", fix="Write --control 'no filter=FOLDER'.")
        models[name] = Path(folder)
    task = taken_task(settings)
    items = task.split(split)[:limit]
    check_labels(items)
    sampled = open_complete(system_2, "samples")["config"]
    generator = taken_generator(settings)
    config = {
        "task": {"name": task.name, "settings": dict(task.settings)},
        "split": split,
        "inputs": len(items),
        "model": generator.name,
        "models": {name: str(folder) for name, folder in models.items()},
        "system_2": sampled,
        "answer_tokens": recipe.answer_tokens,
    }
    manifest = claim(out, "evaluation of a distillation", config)
    evaluate_models(
        generator,
        models,
        system_2,
        items,
        task.kind,
        Wordings(Prompts(system_2 / "prompts"), wordings or SHIPPED_WORDINGS),
        out,
        recipe.answer_tokens,
        price=price,
    )
    write_tables(out, _way_of(tuned))
    finish(out, manifest, provenance(time.monotonic() - started))
    _say_tables(out)
    click.echo(f"Tables: {out / 'tables'}")


def _way_of(tuned: Path) -> str:
    """The internaliser that a tuned model remembers; of plain fine-tuning, which knows none, answers alone."""
    from influence.store.formats.training import TRAINING_FILE, read_training

    settings = read_training(tuned).settings if (tuned / TRAINING_FILE).is_file() else {}
    return str(settings.get("way", "answer-only"))


def _say_tables(out: Path) -> None:
    from influence.store.formats.distillation import AGAIN, RESULTS_FILE, DistillationResults
    from influence.store.formats.records import read_record

    results = read_record(out / RESULTS_FILE, DistillationResults, fix=AGAIN)
    for row in results.tables["models"]:
        click.echo(
            f"{row['model']:<22} {row['accuracy']:.3f} ({row['accuracy_low']:.3f}–{row['accuracy_high']:.3f})  "
            f"{row['tokens']:8,.1f} tokens"
        )
    click.echo(results.verdict.text)
