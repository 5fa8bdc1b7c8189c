"""What `fit-hessian` and `score` take where nothing is named: the ready model and corpus, and places under runs/."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from influence.cli.command import given, missing_options
from influence.cli.runs import RUNS, find_runs
from influence.cli.torchrun import is_first_process
from influence.ready import MINIWORLD, ready_names

#: Options that change nothing about a result, and those that name it already.
_NOT_IN_A_NAME = (
    "model",
    "corpus",
    "queries",
    "hessian",
    "out",
    "device",
    "batch_tokens",
    "dry_run",
    "fsdp",
    "as_json",
)


def assume_fit(ctx: click.Context) -> dict[str, Any]:
    """Values for what `fit-hessian` was not given.

    Raises:
        InputError: something is of the user's own and something else is missing.
    """
    return _assume(ctx, ("model", "corpus", "out"), "hessian")


def assume_score(ctx: click.Context) -> dict[str, Any]:
    """Values for what `score` was not given; a missing Hessian is found, or fitted by the command itself.

    Raises:
        InputError: something is of the user's own and something else is missing, or there are no queries.
    """
    if ctx.params["checkpoints"]:
        return _assume(ctx, ("corpus", "out"), "checkpoints", always_named=True)
    queries = ctx.params["queries"]
    name = f"scores-{Path(queries).stem}" if queries else "scores"
    return _assume(ctx, ("queries", "model", "corpus", "hessian", "out"), name)


def is_to_be_fitted(model: str, corpus: str, hessian: str) -> bool:
    """Return whether this is the assumed Hessian of a ready model and corpus, and it is not finished."""
    is_ready = model in ready_names("models") and corpus in ready_names("corpora")
    folder, finished = _ready_hessian(model, corpus)
    return is_ready and not finished and Path(hessian) == folder


def _ready_hessian(model: str, corpus: str) -> tuple[Path, bool]:
    """Where the Hessian of a ready model on a ready corpus lies, and whether it is finished."""
    place = RUNS / model / "hessian"
    finished = [
        run.folder
        for run in find_runs(RUNS, "hessian")
        if run.finished and (run.made.get("model_name"), run.made.get("corpus_name")) == (model, corpus)
    ]
    return (place if place in finished or not finished else finished[-1]), bool(finished)


def _assume(
    ctx: click.Context, needed: tuple[str, ...], name: str, *, always_named: bool = False
) -> dict[str, Any]:
    values = ctx.params
    missing = [option for option in needed if values[option] is None]
    ready = {"model": (None, *ready_names("models")), "corpus": (None, *ready_names("corpora"))}
    of_their_own = always_named or any(values[option] not in ready[option] for option in ready)
    if missing and (of_their_own or "queries" in missing):
        parameters = [param for param in ctx.command.params if param.name in missing]
        raise missing_options(ctx, parameters, sys.argv[2:])
    model, corpus = values.get("model") or MINIWORLD, values["corpus"] or MINIWORLD
    places = {"model": model, "corpus": corpus, "out": RUNS / model / (name + _differences(ctx))}
    if "hessian" in missing:
        folder, finished = _ready_hessian(model, corpus)
        places["hessian"] = str(folder)
    assumed = {option: places[option] for option in missing}
    if assumed and is_first_process():
        click.echo(f"Assumed: {_in_full(ctx, needed, assumed)}", err=values["as_json"])
        if "hessian" in missing:
            found = f"The Hessian in {folder} is finished." if finished else "Its Hessian is fitted first."
            click.echo(found, err=values["as_json"])
    return assumed


def _in_full(ctx: click.Context, needed: tuple[str, ...], assumed: dict[str, Any]) -> str:
    """The command with what was assumed, as it can be typed."""
    full = {option: assumed.get(option, ctx.params[option]) for option in needed}
    words = [word for option, value in full.items() for word in (f"--{option}", str(value))]
    others = [param for param in ctx.command.params if param.name not in full and _was_given(ctx, param)]
    words += [word for param in others for word in _typed(param, ctx.params[param.name or ""])]
    return shlex.join([*ctx.command_path.split(), *words])


def _differences(ctx: click.Context) -> str:
    """What a name says of options that are not at their defaults, such as `-damping-1.0`."""
    options = [
        param for param in ctx.command.params if param.name not in _NOT_IN_A_NAME and _was_given(ctx, param)
    ]
    words = [word for param in options for word in _typed(param, ctx.params[param.name or ""])]
    return "".join("-" + re.sub(r"[^\w.]+", "-", word).strip("-") for word in words)


def _was_given(ctx: click.Context, param: click.Parameter) -> bool:
    return param.name in ctx.params and given(ctx, param.name)


def _typed(param: click.Parameter, value: Any) -> list[str]:
    """An option as it is typed."""
    if isinstance(value, bool):
        return [param.opts[0] if value else param.secondary_opts[0]]
    return [
        word
        for item in (value if isinstance(value, tuple) else [value])
        for word in (param.opts[0], str(item))
    ]
