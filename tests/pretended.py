"""A generator that pretends: rewrites, answers well with a rewriting and badly without, as told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from influence.generate.request import Reply, Request


@dataclass(frozen=True)
class Pretender:
    """Knows the last letters of two words when it has said the question again; else gives their first.

    Args:
        wrong_every: Of so many samples of a prompt one is wrong, another for each length of the first word; 0: none.
        silent: Writes nothing.
    """

    wrong_every: int = 0
    silent: bool = False

    @property
    def name(self) -> str:
        """As told."""
        return f"pretender {self.wrong_every} {self.silent}"

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """One after the other."""
        for number, request in enumerate(requests):
            text = "" if self.silent else self._reply(request)
            yield number, Reply(text, len(text.split()) + 1, len(request.prompt.split()))

    def _reply(self, request: Request) -> str:
        words = request.prompt.split('"')[1].split()
        if "put more clearly" in request.prompt:
            wrong = self.wrong_every and (request.sample + len(words[0])) % self.wrong_every == 0
            letters = "".join(word[0 if wrong else -1] for word in words)
            return f'So the letters give "{letters}".'
        if "Write this question anew" in request.prompt:
            return f'Which letters do the words "{" ".join(words)}" end with?'
        return "".join(word[0] for word in words)
