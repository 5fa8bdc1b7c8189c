"""Run `influence …` as processes of their own without paying for the import of torch each time.

A server process imports everything once and forks a child for each command: the child has its own pid, signals,
exit code, standard output and standard error. Blocks are small and sums are saved after each, so that there is
something to resume even on a tiny corpus. Started as `python program.py`; requests and replies are lines of JSON.

It can fork several processes that share a command, with the environment that torchrun would give them; as there, all
are ended when one fails.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

BLOCK_TOKENS = 300


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code (negative: the signal that killed it) and what it printed."""

    exit_code: int
    stdout: str
    stderr: str


class Server:
    """The client's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = 0
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self,
        *arguments: object,
        module: str = "influence",
        signal_at: tuple[signal.Signals, Path] | None = None,
        times: int = 1,
        kill_after: float | None = None,
        processes: int | None = None,
        victim: int = 0,
        environment: dict[str, str] | None = None,
    ) -> Result:
        """Run to the end.

        Args:
            module: What is run, as `python -m` would.
            signal_at: Send the process that makes this file this signal the moment it appears.
            times: How often it must appear before, counting this one.
            kill_after: Send it SIGKILL after so many seconds.
            processes: How many to start as torchrun would; None: one, without torchrun.
            victim: Which of them to kill.
            environment: Further variables.
        """
        self.commands += 1
        output, errors = (self.folder / f"{self.commands}.{name}" for name in ("out", "err"))
        number, path = signal_at or (0, "")
        request = {
            "module": module,
            "arguments": [str(argument) for argument in arguments],
            "stdout": str(output),
            "stderr": str(errors),
            "signal_at": (int(number), str(path), times),
            "kill_after": kill_after,
            "processes": processes,
            "victim": victim,
            "environment": environment or {},
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        exit_code = int(self.process.stdout.readline())
        return Result(exit_code, output.read_text(), errors.read_text())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)


def serve() -> None:
    """The server's side."""
    import transformers  # noqa: F401
    from transformers import LlamaForCausalLM  # noqa: F401

    import influence.cli.fit
    import influence.cli.index
    import influence.cli.score
    import influence.data.corpus
    import influence.data.queries
    import influence.engine.complete
    import influence.engine.fit
    import influence.engine.index.build
    import influence.engine.loops
    import influence.engine.query
    import influence.engine.score

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test suite in the background has it ignored
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and one under nohup this
    influence.engine.score.BLOCK_TOKENS = BLOCK_TOKENS
    influence.engine.loops._BATCHES_A_LOOK = 0.3  # type: ignore[assignment]  # of batches of 1,024 tokens
    influence.engine.index.build.BLOCK_TOKENS = BLOCK_TOKENS
    influence.engine.complete._BATCH = 8
    influence.engine.loops.SECONDS_BETWEEN_SAVES = influence.engine.query.SECONDS_BETWEEN_SAVES = -1.0
    for line in sys.stdin:
        request = json.loads(line)
        kill_after, processes, victim = (request.pop(name) for name in ("kill_after", "processes", "victim"))
        for name in ("stdout", "stderr"):
            Path(request[name]).write_bytes(b"")
        pids = []
        for variables in [{}] if processes is None else torchrun_variables(processes):
            pids.append(os.fork())
            if pids[-1] == 0:
                os.environ.update(variables | request.pop("environment"))
                run_as_child(**request)
        status = wait(pids, pids[victim], kill_after)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def torchrun_variables(processes: int) -> list[dict[str, str]]:
    """What torchrun tells each of the processes that it starts."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    where = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [where | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def wait(pids: list[int], victim: int, kill_after: float | None) -> int:
    """0 once all children have ended well, or the status of the first that did not, with which the others end."""
    end = None if kill_after is None else time.monotonic() + kill_after
    left = set(pids)
    while left:
        pid, status = os.waitpid(-1, 0 if end is None else os.WNOHANG)
        left.discard(pid)
        if pid and status:
            end_others(left)
            return status
        if end is not None and not pid:
            time.sleep(0.002)
            if time.monotonic() > end:
                end = None
                if victim in left:
                    os.kill(victim, signal.SIGKILL)
    return 0


def end_others(pids: set[int]) -> None:
    """End processes as torchrun does: ask them, and kill those that are still there after 30 seconds."""
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 30
    for pid in pids:
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def run_as_child(
    module: str, arguments: list[str], stdout: str, stderr: str, signal_at: tuple[int, str, int]
) -> None:
    code = 1
    try:
        for number, path in ((1, stdout), (2, stderr)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
        send_signal_when_file_appears(*signal_at)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def send_signal_when_file_appears(number: int, path: str, times: int) -> None:
    """Every file of an artefact appears by `Path.replace`."""
    replace = Path.replace
    left = times

    def watched(part: Path, target: Path) -> Path:
        nonlocal left
        result = replace(part, target)
        if str(target) == path:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)
        return result

    Path.replace = watched  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    serve()
