"""Write docs/cli.md from the commands themselves: `make docs`."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from influence.cli.command import COMMON, Command
from influence.cli.main import cli

FILE = Path(__file__).with_name("cli.md")
WIDTH = 120

HEAD = """\
# Command line

<!-- Written by docs/make_cli_reference.py from the commands themselves: `make docs`. Do not edit. -->

`influence COMMAND --help` prints the options that matter, `--help-all` all of them. Every command also takes
`--config FILE`, a TOML file of its options such as the `run.toml` that a run leaves beside its result; the command line
wins. `-q` prints no progress, `-v` the whole traceback of an error.

Exit status: 0 done, 2 bad input, 3 bad or foreign artefact, 4 failed computation, 130, 129 or 143 interrupted by
Ctrl-C, SIGHUP or SIGTERM. Progress goes to stderr, results go to stdout.
"""


def render() -> str:
    """The whole reference as Markdown."""
    sections = [HEAD]
    for context in commands(cli, click.Context(cli, info_name="influence")):
        sections.append(section(context))
    return "\n".join(sections)


def commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """A context of each command, groups before their members."""
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member is not None
            yield from commands(member, click.Context(member, info_name=name, parent=context))


def section(context: click.Context) -> str:
    """Heading, usage, text and options of one command."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## {context.command_path}\n", f"```\n{usage}\n```\n", paragraphs(command.help or "")]
    if isinstance(command, click.Group):
        names = command.list_commands(context)
        members = "Commands: " + ", ".join(link(f"{context.command_path} {name}") for name in names)
        parts.append(textwrap.fill(members, WIDTH, break_on_hyphens=False) + "\n")
    if isinstance(command, Command) and command.example:
        parts.append(f"```\n{command.example}\n```\n")
    options = [option for option in command.params if option.name not in COMMON]
    rows = [row for option in options if (row := option_row(option, context))]
    if rows:
        parts.append("| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def link(path: str) -> str:
    """A link to the section of a command."""
    return f"[`{path}`](#{path.replace(' ', '-')})"


def paragraphs(text: str) -> str:
    """Help text as Markdown: paragraphs after click's `\\b` mark become code."""
    blocks = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if block.startswith("\b"):
            blocks.append("```\n" + block.removeprefix("\b").strip("\n") + "\n```")
        else:
            blocks.append(block)
    return "\n\n".join(blocks) + "\n"


def option_row(option: click.Parameter, context: click.Context) -> str | None:
    """One row of the table of options, from what `--help` shows; None for a plain argument, which the usage shows."""
    record = option.get_help_record(context)
    if record is None or option.name == "help" or not record[1]:
        return None
    names, meaning = (re.sub(r"\s+", " ", part).replace("|", "\\|") for part in record)
    meaning = meaning.strip().replace("] [", "], [")  # which would be a link
    return f"| `{names}` | {meaning} |"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
