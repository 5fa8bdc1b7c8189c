"""Options made from a dataclass of settings: type, default and help stand once, in the dataclass."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click

from influence.config import field_help

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
