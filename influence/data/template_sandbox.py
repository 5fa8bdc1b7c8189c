"""Chat templates rendered in a process of their own, with a limit of time and memory.

A template comes with a checkpoint and is a program. The sandbox of jinja keeps it from files, modules and attributes;
what it cannot stop is a loop without end or a text without end. So one child process renders all chats: it knows no
variable of the environment that could hold a key, may write no file, and is ended at a limit. Requests and replies are
lines of JSON. The child is this module, run as a program: it imports what it needs once, and forks who renders.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence.errors import ComputeError, InputError

#: Seconds of computing that a chat may take, bytes that the child may hold beside its libraries, most characters of a
#: rendered chat.
SECONDS = 10.0
MEMORY = 2**30
LONGEST = 2**26

_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
#: Variables of the environment that the child sees.
_VARIABLES = ("HOME", "LD_LIBRARY_PATH", "PATH", "TZ")


@dataclass(frozen=True, slots=True)
class Rendering:
    """A chat as its template writes it.

    Attributes:
        generated: First character and end of what the template marks as the assistant's; None: it has no marks.
    """

    text: str
    generated: list[tuple[int, int]] | None


class TemplateProcess:
    """The child process that renders, started by the first chat.

    Args:
        seconds: Of computing, for each chat.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._parent = 0

    def render(
        self,
        template: str,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        special_tokens: Mapping[str, Any],
        *,
        prompted: bool,
        where: str,
    ) -> Rendering:
        """Render a chat.

        Args:
            special_tokens: Name -> token, which the template may write by name.
            prompted: End with what the template writes before an answer of the assistant.
            where: Names the chat in an error.

        Raises:
            InputError: The template refuses the chat, or takes more than the limits.
            ComputeError: The child is gone.
        """
        request = {
            "template": template,
            "messages": list(messages),
            "tools": list(tools) if tools else None,
            "special_tokens": dict(special_tokens),
            "prompted": prompted,
        }
        with self._lock:
            reply = self._ask(json.dumps(request).encode() + b"\n")
        if "error" in reply:
            raise InputError(
                f"The chat template of the model refuses {len(messages)} messages of {where}.",
                have=reply["error"],
                fix="Write the messages as this model's template wants them, or mend chat_template.jinja of the model.",
            )
        generated = reply["generated"]
        return Rendering(
            reply["text"], None if generated is None else [(start, end) for start, end in generated]
        )

    def stop(self) -> None:
        """End the child; the next chat starts another."""
        if self._child is not None and self._parent == os.getpid():
            assert self._child.stdin
            self._child.stdin.close()
            self._child.wait()
        self._child = None

    def _ask(self, request: bytes) -> dict[str, Any]:
        if self._parent != os.getpid():
            self._child = None  # this process was forked from the one that started it
        child = self._child = self._child or self._start()
        assert child.stdin
        assert child.stdout
        try:
            child.stdin.write(request)
            child.stdin.flush()
            reply: dict[str, Any] = json.loads(child.stdout.readline())
        except BaseException as error:  # also an interrupt: the next chat must not get the reply to this one
            self._child = None
            child.kill()
            if not isinstance(error, BrokenPipeError | json.JSONDecodeError):
                raise
            raise ComputeError(
                "The process that renders chat templates ended.",
                have=f"its exit code is {child.wait()}",
                fix=f"Run the same command again; {sys.executable} -m {__name__} 10 shows why it does not start.",
            ) from error
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        self._parent = os.getpid()
        variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(self._seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the parent; when that ends, there is nothing more to read
        )


#: The child of this process.
sandbox = TemplateProcess()
atexit.register(sandbox.stop)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Render one chat: its text and marks, or why not."""
    from transformers.utils.chat_template_utils import render_jinja_template

    marked = _GENERATION.search(request["template"]) is not None
    messages = [{name: value for name, value in m.items() if value is not None} for m in request["messages"]]
    try:
        rendered: Any = render_jinja_template(
            [messages],
            tools=request["tools"],
            chat_template=request["template"],
            return_assistant_tokens_mask=marked,
            add_generation_prompt=request["prompted"],
            **request["special_tokens"],
        )
    except MemoryError:
        return {"error": f"it needs more than {MEMORY >> 20:,} MiB"}
    except RecursionError:
        return {"error": "it calls itself without end"}
    except Exception as error:
        return {"error": str(error).partition("\n")[0][:1000] or type(error).__name__}
    (text,), spans = rendered
    if len(text) > LONGEST:
        return {"error": f"it writes {len(text):,} characters, more than {LONGEST:,}"}
    return {"text": text, "generated": spans[0] if marked else None}


def _limit() -> None:
    """Allow this process so much memory beside what its libraries take, and no file."""
    import resource

    statm = Path("/proc/self/statm")  # of Linux; elsewhere the limit of memory does not hold
    taken = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(seconds: float) -> None:
    """Answer each line of standard input; a timer that rings ends this process."""
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        reply = _answer(json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(reply)


def _write(reply: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
    sys.stdout.buffer.flush()


def _main(seconds: float) -> None:
    """Fork a process that serves, and another one whenever a template has ended it, until the parent asks no more."""
    import transformers.utils.chat_template_utils  # noqa: F401

    _limit()
    while (pid := os.fork()) != 0:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == 0:
            return
        why = (
            f"computes for more than {seconds:g} s" if code == -signal.SIGPROF else f"ended with code {code}"
        )
        _write({"error": f"it {why}"})
    _serve(seconds)


if __name__ == "__main__":
    _main(float(sys.argv[1]))
