"""The `influence` program: commands load on use, errors print without a traceback."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import logging
import os
import shlex
import signal
import sys
import traceback
from typing import NoReturn

import click

from influence import __version__
from influence.cli.command import nearest, show_messages
from influence.cli.torchrun import lost_processes, one_voice, require_one_process, under_torchrun
from influence.errors import InfluenceError, InputError, plain, shown
from influence.files import is_full_disk
from influence.stopping import stopping

#: heading -> command -> (module, attribute, one line of help), in the order of use. Help is here so that `--help`
#: imports no command.
SECTIONS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Start": {
        "demo": ("influence.cli.run", "demo", "Show the whole tool on a small world, in three minutes."),
        "run": ("influence.cli.run", "run", "Fit, score, analyze and report in one command."),
        "doctor": ("influence.cli.fit", "doctor", "Does a document's gradient change with its batch?"),
    },
    "Influence of documents": {
        "complete": ("influence.cli.complete", "complete", "Let a model answer; mark right and wrong."),
        "fit-hessian": ("influence.cli.fit", "fit_hessian", "Fit the EK-FAC Hessian of a model on a corpus."),
        "score": ("influence.cli.score", "score", "Score every document of a corpus against queries."),
        "merge": ("influence.cli.score", "merge", "Join pieces of a score store into one."),
        "index": ("influence.cli.index", "index", "Sketch a corpus once, then search it for new queries."),
    },
    "Results": {
        "runs": ("influence.cli.runs", "runs", "List the runs under a folder."),
        "show": ("influence.cli.runs", "show", "Say what a run is and what made it."),
        "top": ("influence.cli.score", "top", "Print or export the top documents of a query."),
        "tokens": ("influence.cli.score", "tokens", "Decompose the scores of top documents into tokens."),
        "select": ("influence.cli.select", "select", "Write the documents that scores choose, to train on."),
        "analyze": ("influence.cli.analyze", "analyze", "Run an analysis of a score store, as tables."),
        "check": ("influence.cli.check", "check", "Compare scores with an exact solve, without retraining."),
        "validate": (
            "influence.cli.validate",
            "validate",
            "Retrain on parts of a corpus: did the scores predict it?",
        ),
        "report": ("influence.cli.report", "report", "Render a score store as one self-contained HTML file."),
        "figures": ("influence.cli.report", "figures", "Write the figures of a report, for papers."),
        "labels": ("influence.cli.labels", "labels", "Say how far people agree who labelled documents."),
        "verify": ("influence.cli.runs", "verify", "Compare the files of a result with their checksums."),
    },
    "Corpora, tasks, training": {
        "corpus": ("influence.cli.corpus", "corpus", "Make a ready corpus."),
        "data": ("influence.cli.data", "data", "Make a task with a chain of thought."),
        "train": ("influence.cli.train", "train", "Train a language model."),
        "distill": ("influence.cli.distill", "distill", "Distil System 2 into System 1."),
        "evaluate": ("influence.cli.evaluate", "evaluate", "Measure stages of internalisation."),
    },
}
COMMANDS = {name: where for section in SECTIONS.values() for name, where in section.items()}


class LazyGroup(click.Group):
    """A click group whose commands are imported only when one of them runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"There is no command {name!r}. {nearest(name, list(COMMANDS))}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, text) for name, (_, _, text) in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-q", "--quiet", is_flag=True, help="Print results and errors only: no messages and no progress."
)
@click.version_option(__version__, "-V", "--version", prog_name="influence")
@click.pass_context
def cli(context: click.Context, quiet: bool) -> None:
    """Which training documents made this model say that?

    \b
    influence fit-hessian && influence score --queries slopes && influence report

    They take the ready model and corpus; --model and --corpus name your own.
    A positive score predicts that the document RAISES log p(completion | prompt).
    """
    show_messages(quiet)
    if context.invoked_subcommand not in ("fit-hessian", "score", "index"):
        require_one_process(f"influence {context.invoked_subcommand}")


def main() -> None:
    """Run the `influence` program."""
    run_program(cli, "influence")


def run_program(program: click.Command, name: str) -> None:
    """Run a program: exit 0 done, 2 bad input, 3 bad artefact, 4 failed computation, 128 + a signal that ended it.

    Args:
        name: What a user types to start it.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # before torch is imported: waiting threads of libgomp spin, which takes a busy machine's speed (docs/log.md)
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        with one_voice(), stopping.listening():
            _refuse_unwritable(sys.argv[1:])
            program(prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(file=text)
        click.echo(shown(text.getvalue().rstrip()), err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        number = signal.Signals(stopping.number or signal.SIGINT)
        why = lost_processes() or ("Interrupted." if number == signal.SIGINT else f"Ended by {number.name}.")
        _say(f"\n{why} Finished blocks are kept; to resume:\n  {_resume(name)}")
        sys.exit(128 + number)
    except InfluenceError as error:
        if logging.getLogger("influence").isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        lost = lost_processes()
        _say(f"Error: {error}" + (f"\n{lost} To resume:\n  {_resume(name)}" if lost else ""))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of the output has seen enough
        sys.exit(1)
    except Exception as error:
        _explain(error)


def _say(text: str) -> None:
    """Print the last word of the program, if the terminal is still there."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _resume(name: str) -> str:
    """What a user types to go on."""
    shared = "torchrun … -m " if under_torchrun() else ""
    return plain(f"{shared}{name} {shlex.join(sys.argv[1:])}")


def _refuse_unwritable(arguments: list[str]) -> None:
    """Refuse names that are not UTF-8: no result, page or provenance could name them.

    Raises:
        InputError: An argument has such bytes.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                "An argument is not UTF-8.", have=argument, fix="Rename that file or folder."
            ) from error


#: Number of an error of the system -> what a user can do.
_NEXT = {
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) and run the same command again.",
    errno.ENOTDIR: "a part of this path is a file: name another path.",
    errno.EEXIST: "a part of this path is a file: name another path.",
    errno.EISDIR: "this is a folder: name a file.",
    errno.EACCES: "ask for the right to read and write there, or name another path.",
    errno.EPERM: "ask for the right to read and write there, or name another path.",
    errno.EROFS: "this place cannot be written: name another path.",
    errno.ENAMETOOLONG: "choose a shorter name.",
    errno.EMFILE: "raise the limit on open files (ulimit -n) and run the same command again.",
    errno.ENOMEM: "free some memory and run the same command again.",
}


def _explain(error: Exception) -> NoReturn:
    """End with what is wrong and what to do for an error of the system; raise any other, which is our mistake."""
    if is_full_disk(error):
        where = f" while writing {error.filename}" if isinstance(error, OSError) and error.filename else ""
        _end(
            f"the disk is full{where}.",
            "free some space and run the same command again; finished blocks are kept.",
            4,
        )
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _end(f"{what}.", _NEXT.get(error.errno or 0, "check the path, and run the same command again."), 2)
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        _end(
            f"a name or a text is not UTF-8: {error.object[max(0, error.start - 60) : error.end + 60]}",
            "rename that file or folder, or remove that character.",
            2,
        )
    if isinstance(error, RecursionError):
        _end("a file is nested too deeply to be read.", "take the nested fields out of it.", 2)
    raise error


def _end(what: str, next_step: str, code: int) -> NoReturn:
    click.echo(f"Error: {shown(what)}\n  next:  {next_step}", err=True)
    sys.exit(code)
