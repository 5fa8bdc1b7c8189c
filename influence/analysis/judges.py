"""Models that judge documents: a prompt in, a reply out, kept on disk so that no prompt is asked twice.

A judge has a `name` and answers prompts in any order. `FunctionJudge` makes one of any function from a list of
prompts to a list of replies; `OpenAIJudge` asks a server (vLLM, llama.cpp, a hosted one). Prompts are the text files in
`influence/analysis/prompts`, for `string.Template`: copy one, edit it, and pass its path.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Protocol

from influence.analysis.normalise import tokens
from influence.analysis.spelled import Token
from influence.errors import ComputeError, InputError
from influence.generate.client import ChatClient, Failed
from influence.generate.request import KeptReplies
from influence.generate.server import content

#: Any function from prompts to replies, one each, in order.
Generate = Callable[[list[str]], list[str]]

PROMPTS = Path(__file__).parent / "prompts"
_CHUNK = 16


class Judge(Protocol):
    """What answers prompts."""

    @property
    def name(self) -> str:
        """Which model and settings; part of the key of a kept reply."""

    def replies(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """(number of the prompt, reply) for every prompt, as they come."""


@dataclass(frozen=True)
class FunctionJudge:
    """A judge made of a function; replies are kept after every 16 prompts."""

    name: str
    generate: Generate

    def replies(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Ask in chunks.

        Raises:
            ComputeError: the function did not give one reply a prompt.
        """
        for start in range(0, len(prompts), _CHUNK):
            chunk = list(prompts[start : start + _CHUNK])
            got = self.generate(chunk)
            if len(got) != len(chunk):
                raise ComputeError(f"The judge {self.name} gave {len(got)} replies to {len(chunk)} prompts.")
            yield from enumerate(got, start)


class JudgeReplies(KeptReplies):
    """A file of a judge's replies, so that a stopped run goes on where it was."""

    def ask(self, judge: Judge, prompts: Sequence[str]) -> list[str]:
        """Return replies in the order of the prompts; only prompts without a kept reply are asked, equal ones once."""
        replies = self.collect(
            [_key(judge.name, prompt) for prompt in prompts],
            lambda places: judge.replies([prompts[place] for place in places]),
            "judge",
        )
        return [str(reply) for reply in replies]


def _key(name: str, prompt: str) -> str:
    return hashlib.sha256(f"{name}\0{prompt}".encode("utf-8", "surrogatepass")).hexdigest()


def read_prompt(name: str, path: Path | None = None) -> Template:
    """The prompt that comes with the package under this name, or the file at `path` in its stead.

    Raises:
        InputError: the file cannot be read.
    """
    file = path or PROMPTS / f"{name}.txt"
    try:
        return Template(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The prompt {file} cannot be read.", have=str(error)) from error


def fill(template: Template, values: Mapping[str, str]) -> str:
    """The prompt with its `$names` replaced; what is put in is not looked at again.

    Raises:
        InputError: the prompt has another name, leaves out `$document`, or has a lone `$`.
    """
    if not template.is_valid() or "document" not in template.get_identifiers():
        raise InputError(
            "The prompt is not usable.", fix="It must hold $document; write $$ for a dollar sign."
        )
    try:
        return template.substitute(values)
    except KeyError as error:
        known = ", ".join(f"${name}" for name in values)
        raise InputError(
            f"The prompt has an unknown name ${error.args[0]}.", fix=f"Known are {known}."
        ) from error


def parse_reply(reply: str) -> dict[str, Any] | None:
    """The first JSON object in a reply, whatever stands around it; None where there is none."""
    decoder = json.JSONDecoder()
    at = reply.find("{")
    while at >= 0:
        try:
            value, _ = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
        at = reply.find("{", at + 1)
    return None


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Where a judge's quotation stands in the text, also with other case, spacing or punctuation; None if nowhere."""
    at = text.find(quote) if quote.strip() else -1
    if at >= 0:
        return at, at + len(quote)
    for cut in (
        _words,
        tokens,
    ):  # the second also knows signs and spellings, but reads them by what stands around
        wanted, items = [token.key for token in cut(quote)], cut(text)
        have = [token.key for token in items]
        for start in range(len(have) - len(wanted) + 1) if wanted else ():
            if have[start : start + len(wanted)] == wanted:
                return items[start].start, items[start + len(wanted) - 1].end
    return None


def _words(text: str) -> list[Token]:
    return [Token(match[0].casefold(), *match.span()) for match in re.finditer(r"\w+", text)]


@dataclass(frozen=True)
class OpenAIJudge(ChatClient):
    """Replies of one model of a server, each of at most `max_tokens` tokens; the rest is as for any `ChatClient`."""

    max_tokens: int = 600

    @property
    def name(self) -> str:
        """The model, the extra fields and the length its replies may have; the server's address is not part of it."""
        return f"{self.identity}:{self.max_tokens}"

    def replies(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """(number of the prompt, reply), as they come; a prompt that the server refuses has an empty one.

        Raises:
            ComputeError: a prompt had no reply in any try; all others are yielded first.
        """
        settings = {"temperature": 0, "max_tokens": self.max_tokens}
        silent: Failed | None = None
        for number, reply in self.chat(prompts, [settings] * len(prompts), content):
            if not isinstance(reply, Failed):
                yield number, reply
            elif reply.failure == "no reply":
                silent = reply
            else:
                yield number, ""
        if silent is not None:
            raise self.gone(silent.reason)
