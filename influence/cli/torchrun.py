"""Commands under torchrun: several processes, one voice."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from influence.errors import InputError

Command = Callable[..., Any]
#: How long a process that does not print its error waits for the one that does.
_SECONDS_TO_SPEAK = 1.0


def shared_by_processes(command: Command) -> Command:
    """Give a command `world`, the processes that torchrun started, in place of `--device`; and the option `--fsdp`.

    The first process alone prints.
    """

    @functools.wraps(command)
    def run(*, device: str | None, fsdp: bool, **given: Any) -> None:
        from influence.engine.parallel.distributed import launched, processes

        if given.get("dry_run"):
            require_one_process("--dry-run")
        with contextlib.ExitStack() as stack:
            if launched() and not is_first_process():
                nowhere = stack.enter_context(Path(os.devnull).open("w"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            command(world=stack.enter_context(processes(device, fsdp=fsdp)), **given)

    return click.option(
        "--fsdp",
        is_flag=True,
        help="Under torchrun: shard the model over the processes (FSDP2), for one that does not fit on a device.",
    )(run)


def under_torchrun() -> bool:
    """Whether torchrun started this process, as far as can be told without importing torch."""
    return "LOCAL_RANK" in os.environ


def is_first_process() -> bool:
    """Whether this is the only process, or the one of torchrun that prints."""
    return os.environ.get("RANK", "0") == "0"


def require_one_process(what: str) -> None:
    """InputError where torchrun started more than one."""
    if under_torchrun() and os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(
            f"{what} runs as one process.",
            have=f"{os.environ['WORLD_SIZE']} processes of torchrun",
            fix="Run it without torchrun; fit-hessian, score and index build share their work.",
        )


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Of several processes that fail, let the first one print its error and the others end without a word."""
    try:
        yield
    except click.exceptions.Exit:
        raise
    except BaseException:
        if not _speaks():
            time.sleep(_SECONDS_TO_SPEAK)  # torchrun ends all once one has ended, also who is about to print
            os._exit(1)
        raise


def lost_processes() -> str:
    """Say which processes of the run on this machine ended without a word; empty where none did."""
    heartbeat = sys.modules.get("influence.engine.parallel.heartbeat")
    lost = heartbeat.current.lost() if heartbeat is not None and heartbeat.current is not None else []
    if not lost:
        return ""
    which = "Process" if len(lost) == 1 else "Processes"
    verb = "was" if len(lost) == 1 else "were"
    return f"{which} {', '.join(map(str, lost))} {verb} killed from outside, perhaps by the system for lack of memory."


def _speaks() -> bool:
    heartbeat = sys.modules.get("influence.engine.parallel.heartbeat")
    if heartbeat is not None and heartbeat.current is not None:
        return bool(heartbeat.current.claim_the_word())
    return not under_torchrun() or is_first_process()
