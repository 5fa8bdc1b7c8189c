"""The screens of help: short, grouped, frozen, with an example that the command understands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from influence.cli.command import COMMON, Command
from influence.cli.main import COMMANDS, SECTIONS, cli

OPTIONS = Path(__file__).with_name("options.txt")


def _walk(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member is not None
            yield from _walk(member, click.Context(member, info_name=name, parent=context))
    else:
        yield context


CONTEXTS = {
    context.command_path: context for context in _walk(cli, click.Context(cli, info_name="influence"))
}
each_command = pytest.mark.parametrize("path", CONTEXTS)


def _command(path: str) -> Command:
    command = CONTEXTS[path].command
    assert isinstance(command, Command), f"{path} must be of the class Command"
    return command


def _listed() -> str:
    """A line for each command: its options, those of the first screen first and marked by a star."""
    lines = []
    for path in CONTEXTS:
        command = _command(path)
        shown = command.shown_names()
        names = [param.name or "" for param in command.params if isinstance(param, click.Option)]
        others = [name for name in names if name not in (*shown, *COMMON)]
        lines.append(f"{path}: {' '.join([*(f'*{name}' for name in shown), *others])}\n")
    return "".join(lines)


def test_the_options_are_those_of_the_list() -> None:
    """A new option needs a change of options.txt: is it needed, and does it matter enough for the first screen?"""
    assert _listed().splitlines() == OPTIONS.read_text(encoding="utf-8").splitlines()


def test_at_most_200_options_are_visible() -> None:
    assert sum(len(_command(path).shown_names()) for path in CONTEXTS) <= 200


@each_command
def test_the_first_screen_is_short(path: str) -> None:
    shown = CliRunner().invoke(cli, [*path.split()[1:], "--help"]).stdout
    assert len(shown.splitlines()) <= 40, shown
    names = _command(path).shown_names()
    assert len(names) <= 10
    known = {param.name for param in _command(path).params}
    assert set(names) <= known, "the first screen names options that there are"


@each_command
def test_all_options_have_a_help_text_on_the_second_screen(path: str) -> None:
    command = _command(path)
    shown = CliRunner().invoke(cli, [*path.split()[1:], "--help-all"]).stdout
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.opts[-1] in shown
            assert param.help, f"{path} {param.opts[0]} has no help"


@each_command
def test_the_example_is_understood(path: str) -> None:
    lines = _command(path).example.replace("\\\n", " ").splitlines()
    assert lines, f"{path} has no example"
    for line in lines:
        words = shlex.split(line)
        assert " ".join(words[: len(path.split())]) == path
        _command(path).make_context(path, words[len(path.split()) :])


def test_commands_stand_in_groups_in_the_order_of_use() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).stdout
    places = [shown.rindex(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert all(f"{heading}:" in shown for heading in SECTIONS)
    assert len(shown.splitlines()) <= 41  # a line a command


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("scroe", "Did you mean score?"),
        ("score --quieries slopes", "'--queries'"),
        ("train stepwize", "Did you mean 'stepwise'"),
        ("analyze corelation runs/x", "Did you mean correlation?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(typed: str, advice: str) -> None:
    result = CliRunner().invoke(cli, typed.split())
    assert result.exit_code != 0
    assert advice in result.output + str(result.exception)


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(cli, ["-V"]).stdout.startswith("influence, version ")
