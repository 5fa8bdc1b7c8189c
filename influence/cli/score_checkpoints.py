"""`influence score --checkpoints`: the same corpus and queries at several checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.command import given
from influence.cli.torchrun import require_one_process

if TYPE_CHECKING:
    from influence.engine.checkpoints import Checkpoint, Opened

Command = Callable[..., Any]

#: Options of `influence score` that say what the checkpoints say themselves.
_INSTEAD = ("query_model", "hessian", "revision", "shard")
#: Those that mean nothing without checkpoints.
_WITH = ("task", "asked", "hessian_from", "layers", "sum", "weights")
#: Stands for the checkpoints of the training in `--model`.
_AUTO = ("auto",)


def checkpoint_options(command: Command) -> Command:
    """`--checkpoints` and what goes with it; where they are given, they are scored in the command's stead."""

    @functools.wraps(command)
    def run(**values: Any) -> None:
        if _wanted(click.get_current_context()):
            _score(values)
        else:
            command(**{name: value for name, value in values.items() if name not in ("checkpoints", *_WITH)})

    wrapped: Command = run
    for option in reversed(
        [
            click.option(
                "--checkpoints",
                multiple=True,
                metavar="PATTERN",
                help="Score at each of these instead of at one --model. They are folders, a quoted glob such as "
                "'runs/icot/stage-*', a run or a Trainer's output, or NAME@REVISION,REVISION. Repeatable. auto: those "
                "in the folder --model nearest to a third, two thirds and the end of what is there.",
            ),
            click.option(
                "--hessian-from",
                metavar="CHECKPOINT|FOLDER|identity",
                help="Checkpoints: one Hessian for all, fitted on this one, or finished in this folder; identity: "
                "none.  [default: one fitted on each]",
            ),
            click.option(
                "--layers",
                multiple=True,
                help="Checkpoints: tracked layers of the Hessians that are fitted, as in fit-hessian. Repeatable.",
            ),
            click.option(
                "--sum",
                is_flag=True,
                help="Checkpoints: store the sum of their scores too, in OUT/sum, an ordinary run: it predicts "
                "retraining better than one checkpoint.",
            ),
            click.option(
                "--weights",
                default="equal",
                show_default=True,
                metavar="equal|lr|FILE",
                help="Checkpoints: what --sum weighs them by. lr: the mean learning rate since the one before, from "
                "trainer_state.json or metrics.jsonl. FILE: JSON, name -> weight.",
            ),
            click.option(
                "--task",
                type=click.Path(path_type=Path),
                help="Checkpoints that are stages of internalisation: instead of --queries, ask about the test split "
                "of this task, as each stage was trained to answer and for the answer only; and probe each stage.",
            ),
            click.option(
                "--asked",
                default=40,
                show_default=True,
                type=click.IntRange(1),
                help="Examples of --task that are asked.",
            ),
        ]
    ):
        wrapped = option(wrapped)
    return wrapped


def _wanted(context: click.Context) -> bool:
    """Whether checkpoints are scored; refuses what has no effect then."""
    values = context.params
    if not values["checkpoints"]:
        _refuse(context, _WITH, "has an effect only with --checkpoints")
        return False
    if values["checkpoints"] == _AUTO and values["model"] is None:
        raise click.UsageError("--checkpoints auto takes those in the folder --model: give it.", context)
    if values["checkpoints"] != _AUTO:
        _refuse(context, ("model",), "goes only with --checkpoints auto, others have their own")
    if not values["sum"]:
        _refuse(context, ("weights",), "has an effect only with --sum")
    _refuse(
        context, _INSTEAD, "does not go with --checkpoints, which have their own (--hessian-from shares one)"
    )
    _refuse(
        context,
        ("dry_run", "query_error", "self", "reuse", "shard", "fsdp", "no_chat_template"),
        "is for one --model, not for --checkpoints",
    )
    if (values["queries"] is None) == (values["task"] is None):
        raise click.UsageError("With --checkpoints give either --queries or --task.", context)
    shared = values["hessian_from"]
    if shared is not None and (shared == "identity" or (Path(shared) / "manifest.json").is_file()):
        _refuse(context, ("layers",), f"has no effect with --hessian-from {shared}")
    if values["task"] is not None:
        _refuse(context, ("sum",), "is for --queries: stages are asked something else each")
        _refuse(context, ("base",), "is for adapters, which are no stages of internalisation")
    if values["task"] is None:
        _refuse(context, ("asked",), "has an effect only with --task")
    return True


def _refuse(context: click.Context, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if given(context, name):
            raise click.UsageError(f"--{name.replace('_', '-')} {why}.", context)


def _score(values: Mapping[str, Any]) -> None:
    """Score, and print what came out, a line a stage."""
    require_one_process("--checkpoints")
    from influence.cli.options import taken_fields
    from influence.config import ScoreConfig
    from influence.data.corpus import read_corpus
    from influence.data.queries import completions_by, read_queries
    from influence.data.tasks.folder import read_task
    from influence.engine.checkpoints import choose_checkpoints, find_checkpoints, score_checkpoints
    from influence.subjects.stages import TaskOpener, plain_opener

    settings = dict(values)
    patterns = settings["checkpoints"]
    checkpoints = choose_checkpoints(settings["model"]) if patterns == _AUTO else find_checkpoints(patterns)
    where: dict[str, Any] = {"dtype": settings["dtype"], "device": settings["device"]}
    by_task = None
    if settings["task"] is not None:
        by_task = TaskOpener(read_task(settings["task"]), settings["asked"], **where)
    opener: Callable[[Checkpoint], Opened]
    if by_task is not None:
        opener = by_task
    else:
        queries = read_queries(settings["queries"])
        opener = plain_opener(
            queries,
            completions_by=completions_by(settings["queries"], queries),
            base=settings["base"],
            **where,
        )
    out = settings["out"]
    records = score_checkpoints(
        checkpoints,
        opener,
        read_corpus(settings["corpus"], **taken_fields(settings)),
        out,
        hessian=settings["hessian_from"],
        layers=tuple(settings["layers"]),
        summed=settings["sum"],
        weights=settings["weights"],
        config=ScoreConfig(**{name: settings[name] for name in ("damping", "max_length", "windows")}),
        batch_tokens=settings["batch_tokens"],
    )
    if by_task is not None:
        by_task.write_probes(out, [record.name for record in records])
    for record in records:
        right = ", ".join(f"{task} {hits / n:.3f}" for task, (hits, n) in record.accuracy.items())
        click.echo(f"{record.name:<24}{right}".rstrip())
    click.echo(f"Scores at {len(records)} checkpoints: {out}")
    if settings["sum"]:
        click.echo(f"Their sum: {out / 'sum'}")
    click.echo(f"Next: influence report {out} --out stages.html")
