"""The class of all commands: help that shows first what matters, settings from a file, results that are there."""

from __future__ import annotations

import difflib
import logging
import re
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from influence.cli.options import NumberOrOff
from influence.cli.run_file import is_there, read_run_file, write_run_file
from influence.cli.torchrun import is_first_process
from influence.errors import InputError, plain


class _Messages(logging.Handler):
    """Prints each message as a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(plain(self.format(record)), err=True)


def show_messages(quiet: bool = False) -> None:
    """Print the messages of this package on stderr; with `quiet` only errors, and no progress either."""
    logger = logging.getLogger("influence")
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    logger.handlers = [_Messages()]
    logger.propagate = False


_HELP_ALL = "influence.help_all"
#: Options of every command; `--config` takes none of them.
COMMON = ("config", "help_all", "help", "quiet", "verbose")

Assume = Callable[[click.Context], dict[str, Any]]


class Command(click.Command):
    """A command with two screens of help, `--config`, and a result that is made once.

    Args:
        shown: Names of the options on the first screen, by the heading they stand under; the others are for
            `--help-all`. None shows all.
        example: A command that works as it stands.
        assume: Returns values for options that were left out; called before the command runs.
        keeps_result: Whether `--out` is a result that is not made again when it is there.
    """

    def __init__(
        self,
        *arguments: Any,
        shown: Mapping[str, Sequence[str]] | None = None,
        example: str = "",
        assume: Assume | None = None,
        keeps_result: bool = True,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.shown = shown
        self.example = textwrap.dedent(example).strip()
        self.assume = assume
        self.keeps_result = keeps_result
        self.params += [
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path, exists=True, dir_okay=False),
                is_eager=True,
                expose_value=False,
                callback=_take_config,
                help="A TOML file of options, such as the run.toml of a run; the command line wins.",
            ),
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=_be_quiet,
                help="Print the result only, no progress.",
            ),
            click.Option(
                ["-v", "--verbose"],
                is_flag=True,
                expose_value=False,
                callback=_be_verbose,
                help="Print more, and the whole traceback of an error.",
            ),
            click.Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_all,
                help="Show all options.",
            ),
        ]

    # -- help

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                formatter.write(textwrap.indent(self.example, "  ") + "\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {name: record for name, record in self._records(ctx).items() if record}
        common = {name: records.pop(name) for name in COMMON if name in records}
        for heading, names in (self.shown or {"Options": list(records)}).items():
            rows = [records.pop(name) for name in names if name in records]
            if not ctx.meta.get(_HELP_ALL):
                rows = [(option, _first_sentence(text)) for option, text in rows]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
        if ctx.meta.get(_HELP_ALL):
            with formatter.section("More options"):
                formatter.write_dl([*records.values(), *common.values()])
            return
        more = f"{len(records)} more options" if len(records) > 1 else "one more option" if records else ""
        formatter.write_paragraph()
        formatter.write_text(
            f"--help-all shows {more}. --config FILE takes options from a file."
            if more
            else "--config FILE takes options from a TOML file, -q prints no progress."
        )

    def shown_names(self) -> list[str]:
        """Names of the options on the first screen."""
        if self.shown is not None:
            return [name for names in self.shown.values() for name in names]
        options = [option.name or "" for option in self.params if isinstance(option, click.Option)]
        return [name for name in options if name not in COMMON]

    def _records(self, ctx: click.Context) -> dict[str, tuple[str, str] | None]:
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        return {option.name or "": option.get_help_record(ctx) for option in options}

    # -- what was typed

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; all options that are missing are named at once."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter:
            given, _, _ = self.make_parser(ctx).parse_args(list(typed))
            given |= ctx.default_map or {}
            missing = [p for p in self.params if p.required and not _has_value(given.get(p.name or ""))]
            raise missing_options(ctx, missing, typed) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, unless its result is there already; keep its options beside the result."""
        if self.assume is not None:
            ctx.params |= self.assume(ctx)
        out = ctx.params.get("out")
        if out is None or not self.keeps_result or ctx.params.get("dry_run"):
            return super().invoke(ctx)
        options = {name: value for name, value in ctx.params.items() if name != "as_json"}
        for param in self.params:
            if isinstance(param.type, NumberOrOff) and options[param.name] is None:
                options[param.name] = "off"
        if is_there(out, options):
            if is_first_process():
                report = out / "report.html"
                click.echo(f"Already there: {report if report.is_file() else out}")
            return None
        result = super().invoke(ctx)
        if is_first_process():
            write_run_file(out, ctx.command_path, options)
        return result


class Group(click.Group):
    """A group of `Command`s that lists an example of each."""

    command_class = Command


def missing_options(
    ctx: click.Context, missing: Sequence[click.Parameter], typed: Sequence[str]
) -> InputError:
    """Everything that a command lacks, and the command to copy."""
    names = [_named(parameter, ctx) for parameter in missing]
    listed = ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
    lacking = " ".join(
        f"{parameter.opts[0]} {parameter.make_metavar(ctx)}"
        if isinstance(parameter, click.Option)
        else parameter.make_metavar(ctx).removesuffix("...")
        for parameter in missing
    )
    command = shlex.join([*ctx.command_path.split(), *typed])
    return InputError(f"{ctx.command_path} needs {listed}.", fix=f"{command} {lacking}")


def given(ctx: click.Context, name: str) -> bool:
    """Whether an option was given, on the command line or in a file with another value than its default."""
    source = ctx.get_parameter_source(name)
    if source is click.core.ParameterSource.DEFAULT_MAP:
        parameter = next(param for param in ctx.command.params if param.name == name)
        return bool(ctx.params[name] != parameter.get_default(ctx, call=True))
    return source is click.core.ParameterSource.COMMANDLINE


def nearest(name: str, names: Sequence[str]) -> str:
    """Advice about a name that is not known: the nearest one, or all."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]}?" if close else f"Use one of {', '.join(names)}."


def _named(parameter: click.Parameter, ctx: click.Context) -> str:
    name = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.make_metavar(ctx)
    return name.removesuffix("...")


def _first_sentence(text: str) -> str:
    """The first sentence of a help text, with its default."""
    sentence, _, bracket = text.partition("  [")
    first = re.split(r"(?<=[a-z0-9)])\.(?= )", sentence, maxsplit=1)[0].rstrip(".") + "."
    return f"{first}  [{bracket}" if bracket else first


def _has_value(value: object) -> bool:
    return isinstance(value, (str, list, tuple)) and bool(value)


def _take_config(ctx: click.Context, parameter: click.Parameter, file: Path | None) -> None:
    if file is None or ctx.resilient_parsing:
        return
    names = [param.name or "" for param in ctx.command.params if param.name not in COMMON]
    table = read_run_file(file)
    for name in table:
        if name not in names:
            raise InputError(
                f"{ctx.command_path} has no option {name!r}, in {file}.", fix=nearest(name, names)
            )
    ctx.default_map = table


def _be_quiet(ctx: click.Context, parameter: click.Parameter, quiet: bool) -> None:
    if quiet:
        show_messages(quiet=True)


def _be_verbose(ctx: click.Context, parameter: click.Parameter, verbose: bool) -> None:
    if verbose:
        logging.getLogger("influence").setLevel(logging.DEBUG)


def _show_all(ctx: click.Context, parameter: click.Parameter, shown: bool) -> None:
    if shown and not ctx.resilient_parsing:
        ctx.meta[_HELP_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()
