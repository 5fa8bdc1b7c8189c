"""Replies kept on disk, so that nothing is asked twice: neither by a stopped run that goes on, nor by the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from influence.errors import StoreError
from influence.generate.request import Generator, Reply, Request
from influence.store.lines import Lines

#: Called with (replies so far, all) when one arrives.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class KeptReplies:
    """A file of replies, one JSON line each: `key`, which names what was asked, and `reply`.

    Each is written when it arrives. What a damaged line answered is asked again.
    """

    path: Path

    def collect(
        self,
        keys: Sequence[str],
        ask: Callable[[Sequence[int]], Iterator[tuple[int, Any]]],
        progress: Progress | None = None,
    ) -> list[Any]:
        """A reply for each key; equal keys are asked once, those kept not at all.

        Args:
            keys: One a question.
            ask: From the places in `keys` whose reply is missing to pairs of a place's number in that list and its
                reply, which JSON can hold, in any order.
            progress: Told of each reply.
        """
        wanted = set(keys)
        kept = {line["key"]: line["reply"] for line in self._lines() if line["key"] in wanted}
        missing: dict[str, int] = {}
        for place, key in enumerate(keys):
            if key not in kept:
                missing.setdefault(key, place)
        if missing:
            order = list(missing)
            lines = Lines(self.path)
            for number, reply in ask(list(missing.values())):
                lines.append({"key": order[number], "reply": reply})
                kept[order[number]] = reply
                if progress:
                    progress(len(kept), len(wanted))
        return [kept[key] for key in keys]

    def replies(
        self, generator: Generator, requests: Sequence[Request], progress: Progress | None = None
    ) -> list[Reply]:
        """A generator's replies in the order of the requests.

        Raises:
            StoreError: a kept reply is none of a generator.
        """
        records = self.collect(
            [request.key(generator.name) for request in requests],
            lambda places: (
                (number, asdict(reply))
                for number, reply in generator.replies([requests[place] for place in places])
            ),
            progress,
        )
        try:
            return [Reply(**record) for record in records]
        except TypeError as error:
            raise StoreError(
                f"{self.path} holds replies in another form.", have=str(error), fix="Remove the file."
            ) from error

    def _lines(self) -> Iterator[dict[str, Any]]:
        """The lines that are replies."""
        for line in Lines(self.path).read():
            if isinstance(line, dict) and isinstance(line.get("key"), str) and "reply" in line:
                yield line
