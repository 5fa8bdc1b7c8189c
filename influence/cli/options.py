"""Options that several commands share, and options made from a dataclass of settings.

Type, default and help of a setting stand once, in its dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import click

from influence.config import field_help

if TYPE_CHECKING:
    from influence.engine.plan.plan import Plan
    from influence.models.load import LanguageModel
    from influence.types import Query

Command = Callable[..., Any]


def options_from(
    settings: type[Any],
    *,
    name: str = "config",
    only: Collection[str] | None = None,
    without: Collection[str] = (),
    flags: Mapping[str, str] | None = None,
) -> Callable[[Command], Command]:
    """Give a command an option for each field of a dataclass of settings, and the settings made of them.

    A literal type becomes a choice, a truth value a flag, a tuple an option that may be repeated, and a number that
    may be None by default or by the word `off`. Ranges are checked by the settings themselves.

    Args:
        settings: A keyword-only dataclass whose docstring describes its fields under `Attributes:`.
        name: The argument of the command that receives the settings.
        only: Fields that get an option; None means all.
        without: Fields that get no option; these keep their defaults.
        flags: Options by field, where their names differ: `{"batch_size": "--tune-batch"}`.
    """
    fields = [
        field
        for field in dataclasses.fields(settings)
        if field.name not in without and (only is None or field.name in only)
    ]
    flag_of = {field.name: "--" + field.name.replace("_", "-") for field in fields} | dict(flags or {})
    parameter_of = {name: flag[2:].replace("-", "_") for name, flag in flag_of.items()}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def settle(**given: Any) -> Any:
            values = {field.name: given.pop(parameter_of[field.name]) for field in fields}
            return command(**given, **{name: settings(**values)})

        run: Command = settle
        hints, texts = get_type_hints(settings), field_help(settings)
        for field in reversed(fields):
            option = _option(field, flag_of[field.name], hints[field.name], texts[field.name])
            run = option(run)
        return run

    return decorate


def _option(field: dataclasses.Field[Any], flag: str, hint: Any, text: str) -> Callable[[Command], Command]:
    default = field.default
    arguments: dict[str, Any] = {"default": default, "show_default": default is not None, "help": _help(text)}
    if hint is bool:
        names = f"{flag}/--no-{flag[2:]}" if default else flag
        return click.option(
            names, is_flag=True, default=default, help=_help(text), show_default=bool(default)
        )
    if get_origin(hint) is tuple:
        arguments |= {"multiple": True, "type": _type(get_args(hint)[0])}
    elif get_origin(hint) in (Union, types.UnionType):
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        kind = _type(inner)
        arguments["type"] = kind if default is None else NumberOrOff(kind)
    else:
        arguments["type"] = _type(hint)
    return click.option(flag, **arguments)


def _type(hint: Any) -> Any:
    return click.Choice(get_args(hint)) if get_origin(hint) is Literal else hint


def _help(text: str) -> str:
    """The text of a field; what None does stands as the default."""
    return re.sub(r"\s*\bNone:? ([^.]*)\.$", r"  [default: \1]", text.replace("`", ""))


class NumberOrOff(click.ParamType[Any]):
    """A number, or `off`, which is None."""

    name = "number|off"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or value == "off":
            return None
        try:
            return self._kind(value)
        except ValueError:
            self.fail(f"{value!r} is not understood: give a number, or off.", param, ctx)


def model_option(**attributes: Any) -> Callable[[Command], Command]:
    """`--model`."""
    text = "A folder that save_pretrained wrote, a hub name, or the ready model miniworld."
    return click.option("--model", **{"metavar": "MODEL", "help": text, **attributes})


def corpus_options(*, required: bool = True) -> Callable[[Command], Command]:
    """`--corpus` and how to read it."""

    def decorate(command: Command) -> Command:
        for option in (
            click.option(
                "--skip-bad",
                is_flag=True,
                help="Leave out records that are null, not UTF-8 or broken; they are counted, and the first named.",
            ),
            click.option(
                "--source-field", default="source", show_default=True, help="Field of the source label."
            ),
            click.option("--id-field", default="id", show_default=True, help="Field of the document id."),
            click.option(
                "--text-field",
                default="text",
                show_default=True,
                help="Field of the text. Without it: prompt and completion, messages, or input_ids.",
            ),
            click.option(
                "--split", default="train", show_default=True, help="Split of a hub or saved dataset."
            ),
            click.option(
                "--corpus",
                metavar="CORPUS",
                required=required,
                help="JSONL, JSON, CSV, TSV, TXT (plain, .gz, .zst), Parquet, a folder, a saved dataset, a hub name, - "
                "for standard input, or the ready corpus miniworld.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def taken_fields(settings: dict[str, Any]) -> dict[str, Any]:
    """Take how to read a corpus, the arguments of `read_corpus`, out of what a command with `corpus_options` got."""
    names = ("split", "text_field", "id_field", "source_field", "loss", "skip_bad")
    return {name: settings.pop(name) for name in names if name in settings}


def loss_option(command: Command) -> Command:
    """`--loss`."""
    return click.option(
        "--loss",
        type=click.Choice(["assistant", "all", "last"]),
        default="assistant",
        show_default=True,
        help="Tokens of a fine-tuning example that count: the assistant's (the completion's), all, or those of its "
        "last turn.",
    )(command)


def device_options(command: Command) -> Command:
    """Where and in what precision to compute."""
    for option in (
        click.option("--device", help="cpu, cuda, cuda:1, …  [default: a GPU where there is one]"),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "tf32", "bfloat16", "float64"]),
            default="float32",
            show_default=True,
            help="Precision of the model, tf32 on a GPU only; sums are kept in float32 at least.",
        ),
    ):
        command = option(command)
    return command


def compute_options(command: Command) -> Command:
    """`device_options`, in how large batches, and `model_options`."""
    for option in (
        click.option(
            "--batch-tokens",
            type=click.IntRange(1),
            help="Padded tokens of a batch; halves by itself when memory runs out.  "
            "[default: 1024 on a CPU, 16384 on a GPU]",
        ),
        device_options,
        model_options,
    ):
        command = option(command)
    return command


base_option = click.option(
    "--base", help="Model that an adapter's folder is for.  [default: what its adapter_config.json says]"
)


def model_options(command: Command) -> Command:
    """`--revision` and `--base`: which model is meant."""
    return click.option("--revision", help="Branch, tag or commit of a hub model.")(base_option(command))


def dry_run_option(command: Command) -> Command:
    """`--dry-run`, and `--json` for it."""
    option = click.option(
        "--dry-run",
        is_flag=True,
        help="Only say what it will take. Documents, tokens, passes, time, memory and disk are estimated by a "
        "rehearsal on documents drawn from the corpus.",
    )
    return option(json_option("With --dry-run: print it as JSON, for programs.")(command))


def json_option(text: str = "Print it as JSON, for programs.") -> Callable[[Command], Command]:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def say_plan(plan: Plan, as_json: bool) -> None:
    """Print what a run will take."""
    click.echo(json.dumps(dataclasses.asdict(plan), indent=1) if as_json else plan.text())


def chat_template_option(command: Command) -> Command:
    """`--no-chat-template`."""
    return click.option(
        "--no-chat-template",
        is_flag=True,
        help="Give prompts to an instruct model as they are, not by its chat template.",
    )(command)


def by_chat_template(
    queries: Sequence[Query], model: LanguageModel, no_chat_template: bool
) -> Sequence[Query]:
    """Return the queries as chats where the model has a chat template and it is wanted, and say so."""
    from influence.data.query_tokens import as_chats

    if no_chat_template or not getattr(model.tokenizer, "chat_template", None):
        return queries
    click.echo(f"Prompts are written by the chat template of {model.name} (--no-chat-template: as they are).")
    return as_chats(queries)


def out_option(*, required: bool = True) -> Callable[[Command], Command]:
    """`--out`, a folder."""
    return click.option(
        "--out",
        metavar="DIR",
        required=required,
        type=click.Path(path_type=Path),
        help="Folder of the result. An unfinished run with the same arguments is resumed.",
    )
