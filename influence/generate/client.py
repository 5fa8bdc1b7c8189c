"""Requests to any server that speaks the OpenAI protocol (vLLM, llama.cpp, a hosted one).

Several requests run at a time. What fails for a passing reason (429, 5xx, a timeout, a cut connection, a body that is
not JSON) is tried again with growing pauses, as long as the server asks for where it does. A request that fails in
every try, or that the server refuses, is reported as `Failed`, and the others go on; a server that answers nobody any
more ends the run.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from influence.errors import ComputeError, InfluenceError, InputError
from influence.generate.connection import Busy, Connection, Json, Pace, Refusal, TryAgain
from influence.generate.request import Failure

T = TypeVar("T")

_LONGEST_PAUSE = 60.0
#: So many different prompts that fail in a row are the server's fault, not theirs.
_MOST_FAILED = 8
#: Fields of a request that are not the user's to set.
_OURS = ("model", "messages", "n", "stream")


@dataclass(frozen=True, slots=True)
class Failed:
    """A request without a usable reply, and what the server or the last try said."""

    failure: Failure
    reason: str


@dataclass(frozen=True)
class ChatClient:
    """One model of a server.

    Args:
        url: Base of the API, such as `http://localhost:8000/v1`.
        model: Asked from the server where it has only one.
        api_key: Sent as a bearer token; by default the environment's OPENAI_API_KEY, if it is set.
        concurrency: Requests at a time.
        attempts: Tries of one request.
        timeout: Seconds one try may take from its start to the last byte of the reply.
        per_minute: Most requests a minute, retries included; no limit by default.
        extra_body: Fields added to each request, such as `reasoning_effort`; they replace ours, and None leaves one
            out.

    Raises (on use):
        InputError: the URL is no http(s) address, the model must be chosen, the server refuses the key or the address,
            or it refused or answered in no usable way the first eight prompts.
        ComputeError: the server is gone; the replies that came are yielded first.
    """

    url: str
    model: str = ""
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 8
    attempts: int = 6
    timeout: float = 120.0
    per_minute: float | None = None
    extra_body: Json = field(default_factory=dict)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    _connection: Connection = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("concurrency", "attempts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is 1 at least.", have=str(getattr(self, name)))
        if self.per_minute is not None and not self.per_minute > 0:
            raise InputError("The requests a minute are more than 0.", have=str(self.per_minute))
        if taken := [name for name in _OURS if name in self.extra_body]:
            raise InputError(f"The field {taken[0]!r} of a request is set here.", fix="Leave it out.")
        pace = Pace(self.per_minute, self.sleep)
        object.__setattr__(self, "_connection", Connection(self.url, self.api_key, self.timeout, pace))

    @cached_property
    def model_name(self) -> str:
        """The model given, or the only one the server has."""
        if self.model:
            return self.model
        try:
            listing = self._persist("/models", None, dict)
        except TryAgain as error:
            raise self.gone(str(error)) from error
        models = [
            str(entry["id"]) for entry in listing.get("data", []) if isinstance(entry, dict) and "id" in entry
        ]
        if len(models) != 1:
            raise InputError(
                f"The server at {self.url} has {len(models)} models.",
                have=", ".join(models[:8]) or "an empty list",
                fix=f"Choose one: openai:{self.url}#NAME",
            )
        return models[0]

    @property
    def identity(self) -> str:
        """What determines a reply besides prompt and sampling: the model and the extra fields, not the address."""
        if not self.extra_body:
            return f"openai:{self.model_name}"
        fields = json.dumps(self.extra_body, sort_keys=True)
        return f"openai:{self.model_name}+{hashlib.sha256(fields.encode()).hexdigest()[:8]}"

    def chat(
        self, prompts: Sequence[str], settings: Sequence[Json], read: Callable[[Json], T]
    ) -> Iterator[tuple[int, T | Failed]]:
        """(number of the prompt, what `read` makes of the server's answer), as they come; or why there is none.

        Args:
            prompts: Each is the message of a user.
            settings: Fields of the request, such as `temperature`, one mapping a prompt.
            read: Raises `TryAgain` where the answer is not whole.
        """
        model = self.model_name
        with ThreadPoolExecutor(self.concurrency) as pool:
            jobs = {
                pool.submit(self._ask, {"model": model, **more}, prompt, read): number
                for number, (prompt, more) in enumerate(zip(prompts, settings, strict=True))
            }
            try:
                yield from self._settle(jobs, prompts)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _settle(
        self, jobs: Mapping[Future[T | Failed], int], prompts: Sequence[str]
    ) -> Iterator[tuple[int, T | Failed]]:
        """What each request came to, until one of them shows that the others need not be tried.

        A request without reply waits for the next good reply of another: before that, the server may be down.
        """
        stop: BaseException | None = None
        answered = False
        unsettled: dict[int, T | Failed] = {}
        unusable: set[str] = set()
        for job in as_completed(jobs):
            if job.cancelled():
                continue
            if error := job.exception():
                stop = stop or error
            elif not isinstance(reply := job.result(), Failed):
                answered = True
                yield from unsettled.items()
                unsettled.clear()
                yield jobs[job], reply
            elif reply.failure == "no reply":
                unsettled[jobs[job]] = reply
                if len({prompts[number] for number in unsettled}) >= _MOST_FAILED:
                    stop = stop or self.gone(reply.reason)
            else:
                yield jobs[job], reply
                unusable.add(prompts[jobs[job]])
                if not answered and len(unusable) >= _MOST_FAILED:
                    stop = stop or self._useless(reply)
            if stop is not None:
                for waiting in jobs:  # shutdown(cancel_futures=True) would leave as_completed waiting
                    waiting.cancel()
        if stop is not None:
            raise stop
        yield from unsettled.items()

    def gone(self, reason: str) -> InfluenceError:
        """The error of a server that failed in every try."""
        return ComputeError(
            f"The server at {self.url} failed {self.attempts} times in a row.",
            have=reason,
            fix="Run the same command again when the server is back: replies so far are kept.",
        )

    def _useless(self, failed: Failed) -> InfluenceError:
        return InputError(
            f"The server at {self.url} gave no usable reply to the first {_MOST_FAILED} prompts.",
            have=f"{failed.failure}: {failed.reason}",
            fix=_advice(failed.reason),
        )

    def _ask(self, settings: Json, prompt: str, read: Callable[[Json], T]) -> T | Failed:
        fields = {**settings, **self.extra_body, "messages": [{"role": "user", "content": prompt}]}
        body = {name: value for name, value in fields.items() if value is not None}
        try:
            return self._persist("/chat/completions", body, read)
        except Refusal as error:
            return Failed("refused", str(error))
        except TryAgain as error:
            if isinstance(error, Busy) or (error.failure == "no reply" and not self._is_there()):
                raise self.gone(str(error)) from error
            return Failed(error.failure, str(error))

    def _is_there(self) -> bool:
        """Whether the server still answers anything at all."""
        try:
            self._connection.request("/models", None)
        except TryAgain as error:
            return error.failure != "no reply"
        except (InputError, Refusal):
            pass
        return True

    def _persist(self, path: str, body: Json | None, read: Callable[[Json], T]) -> T:
        """Try until it works.

        Raises:
            TryAgain: It did not in any try.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return read(self._connection.request(path, body))
            except TryAgain as error:
                if attempt == self.attempts:
                    raise
                pause = max(error.pause, min(_LONGEST_PAUSE, 0.5 * 2**attempt) * random.uniform(0.5, 1.0))
                self.sleep(min(pause, _LONGEST_PAUSE))
        raise AssertionError("attempts is at least 1")


def _advice(reason: str) -> str:
    """What to do next about what a server refuses."""
    fields = [name for name in ("max_tokens", "temperature", "top_p", "seed", "stop") if name in reason]
    if "max_completion_tokens" in reason:
        return 'Add --extra-body \'{"max_tokens": null, "max_completion_tokens": 4000}\'.'
    if fields:
        return (
            f"If the server does not know the field, leave it out: --extra-body '{{\"{fields[0]}\": null}}'."
        )
    return "Try one request by hand. Other settings or prompts are asked anew; what failed is kept as failed."
